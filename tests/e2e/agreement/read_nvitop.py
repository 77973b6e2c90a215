"""Reads the GPUs with nvitop's own classes, in the units of the charts, for so many seconds."""

import json
import sys
import time

from nvitop import Device


def process(process):
    read = {"memory": process.gpu_memory(), "sm": process.gpu_sm_utilization()}
    try:
        with open(f"/proc/{process.pid}/cmdline") as file:
            read["title"] = file.read().split("\0")[0].split(" ")[0] or None
    except OSError:
        pass  # It has ended meanwhile.
    return read


def read(device):
    memory = device.memory_info()
    clocks = device.clock_infos()
    pcie = device.pcie_throughput()
    return {
        "time": time.time(),
        "gpu": device.gpu_utilization(),
        "memory_bus": device.memory_utilization(),
        "encoder": device.encoder_utilization(),
        "decoder": device.decoder_utilization(),
        "used": memory.used,
        "free": memory.free,
        "total": device.memory_total(),
        "bar1_used": device.bar1_memory_used(),
        "bar1_free": device.bar1_memory_free(),
        "temperature": device.temperature(),
        "power": device.power_usage() / 1000,
        "limit": device.power_limit() / 1000,
        "graphics": clocks.graphics,
        "sm": clocks.sm,
        "mem": clocks.memory,
        "video": clocks.video,
        "p0": int(device.performance_state() == "P0"),
        # NVML's kilobytes are thousands here, as nvitop passes them on.
        "pcie_tx": pcie.tx * 1000,
        "pcie_rx": pcie.rx * 1000,
        "uncorrected": device.total_volatile_uncorrected_ecc_errors(),
        "mig": int(device.mig_mode() == "Enabled"),
        "shared": int(device.compute_mode() == "Default"),
        "energy": device.total_energy_consumption(),
        "processes": {pid: process(p) for pid, p in device.processes().items()},
    }


devices = Device.all()
out = [{"uuid": device.uuid(), "readings": []} for device in devices]
end = time.time() + float(sys.argv[1])
while time.time() < end:
    for gpu, device in zip(out, devices):
        gpu["readings"].append(read(device))
    time.sleep(0.25)
print(json.dumps(out))
