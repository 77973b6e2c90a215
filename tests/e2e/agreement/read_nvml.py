"""Reads the GPUs with nvidia-ml-py, four times a second for so many seconds."""

import json
import sys
import time

import pynvml as n


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def process(row):
    read = {"memory": row.usedGpuMemory or 0}
    try:
        with open(f"/proc/{row.pid}/cmdline") as file:
            read["title"] = file.read().split("\0")[0].split(" ")[0] or None
    except OSError:
        pass  # It has ended meanwhile.
    return read


def read(device):
    memory = n.nvmlDeviceGetMemoryInfo(device, version=n.nvmlMemory_v2)
    use = n.nvmlDeviceGetUtilizationRates(device)
    bar1 = n.nvmlDeviceGetBAR1MemoryInfo(device)
    clock = lambda kind: n.nvmlDeviceGetClockInfo(device, kind)
    return {
        "time": time.time(),
        "gpu": use.gpu,
        "memory_bus": use.memory,
        "used": memory.used,
        "free": memory.free,
        "reserved": memory.reserved,
        "total": memory.total,
        "bar1_used": bar1.bar1Used,
        "bar1_free": bar1.bar1Free,
        "temperature": n.nvmlDeviceGetTemperature(device, n.NVML_TEMPERATURE_GPU),
        "power": n.nvmlDeviceGetPowerUsage(device) / 1000,
        "limit": n.nvmlDeviceGetEnforcedPowerLimit(device) / 1000,
        "graphics": clock(n.NVML_CLOCK_GRAPHICS),
        "sm": clock(n.NVML_CLOCK_SM),
        "mem": clock(n.NVML_CLOCK_MEM),
        "video": clock(n.NVML_CLOCK_VIDEO),
        "p0": int(n.nvmlDeviceGetPerformanceState(device) == 0),
        "encoder": n.nvmlDeviceGetEncoderUtilization(device)[0],
        "decoder": n.nvmlDeviceGetDecoderUtilization(device)[0],
        "generation": n.nvmlDeviceGetCurrPcieLinkGeneration(device),
        "width": n.nvmlDeviceGetCurrPcieLinkWidth(device),
        "generation_max": n.nvmlDeviceGetMaxPcieLinkGeneration(device),
        "width_max": n.nvmlDeviceGetMaxPcieLinkWidth(device),
        "replays": n.nvmlDeviceGetPcieReplayCounter(device),
        "corrected": n.nvmlDeviceGetTotalEccErrors(device, 0, 0),
        "uncorrected": n.nvmlDeviceGetTotalEccErrors(device, 1, 0),
        "energy": n.nvmlDeviceGetTotalEnergyConsumption(device),
        "processes": {
            row.pid: process(row)
            for row in n.nvmlDeviceGetComputeRunningProcesses(device)
        },
    }


n.nvmlInit()
devices = [n.nvmlDeviceGetHandleByIndex(i) for i in range(n.nvmlDeviceGetCount())]
out = [{"uuid": text(n.nvmlDeviceGetUUID(d)), "readings": []} for d in devices]
end = time.time() + float(sys.argv[1])
while time.time() < end:
    for gpu, device in zip(out, devices):
        gpu["readings"].append(read(device))
    time.sleep(0.25)
print(json.dumps(out))
