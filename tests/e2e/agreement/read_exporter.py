"""Runs nvitop-exporter and scrapes it for so many seconds; values in the units of the charts."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

MIB = 1 << 20
# Names without their units, and what makes them the charts' units.
GPU = {
    "gpu_utilization_Percentage": ("gpu", 1),
    "gpu_memory_utilization_Percentage": ("memory_bus", 1),
    "gpu_encoder_utilization_Percentage": ("encoder", 1),
    "gpu_decoder_utilization_Percentage": ("decoder", 1),
    "gpu_memory_total_MiB": ("total", MIB),
    "gpu_memory_used_MiB": ("used", MIB),
    "gpu_memory_free_MiB": ("free", MIB),
    "gpu_clock_graphics_MHz": ("graphics", 1),
    "gpu_clock_sm_MHz": ("sm", 1),
    "gpu_clock_memory_MHz": ("mem", 1),
    "gpu_clock_video_MHz": ("video", 1),
    "gpu_power_usage_W": ("power", 1),
    "gpu_power_limit_W": ("limit", 1),
    "gpu_temperature_C": ("temperature", 1),
    # NVML's thousands of bytes divided by 1024.
    "gpu_pcie_tx_throughput_MiBps": ("pcie_tx", 1024 * 1000),
    "gpu_pcie_rx_throughput_MiBps": ("pcie_rx", 1024 * 1000),
    "gpu_nvlink_total_tx_throughput_MiBps": ("nvlink_tx", MIB),
    "gpu_nvlink_total_rx_throughput_MiBps": ("nvlink_rx", MIB),
}
PROCESS = {
    "process_gpu_memory_MiB": ("memory", MIB),
    "process_gpu_sm_utilization_Percentage": ("sm", 1),
}


def scrape(url, out):
    page = urllib.request.urlopen(url, timeout=5).read().decode()
    now = time.time()
    readings = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            uuid = sample.labels.get("uuid")
            if not uuid or sample.value != sample.value:
                continue
            reading = readings.setdefault(uuid, {"time": now, "processes": {}})
            if sample.name in GPU:
                key, factor = GPU[sample.name]
                reading[key] = sample.value * factor
            elif sample.name in PROCESS:
                key, factor = PROCESS[sample.name]
                reading["processes"].setdefault(sample.labels["pid"], {})[key] = sample.value * factor
    for uuid, reading in readings.items():
        out.setdefault(uuid, []).append(reading)


seconds, port = float(sys.argv[1]), sys.argv[2]
exporter = subprocess.Popen(
    [os.path.join(os.path.dirname(sys.executable), "nvitop-exporter")]
    + ["--bind-address", "127.0.0.1", "--port", port, "--interval", "0.25"],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
try:
    out, end, last = {}, time.time() + seconds, None
    while time.time() < end:
        try:
            scrape(f"http://127.0.0.1:{port}/metrics", out)
        except OSError as error:
            # It is still starting.
            last, end = error, min(end + 0.5, end + seconds)
        time.sleep(0.25)
    if not out:
        sys.exit(f"nvitop-exporter told nothing: {last}")
    print(json.dumps([{"uuid": uuid, "readings": rows} for uuid, rows in sorted(out.items())]))
finally:
    exporter.send_signal(signal.SIGTERM)
    exporter.wait(10)
