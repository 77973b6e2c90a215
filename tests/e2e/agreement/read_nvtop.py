"""Runs nvtop in a terminal of its own and reads off the screen what it shows, for so many seconds."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

import pyte

ROWS, COLUMNS = 60, 200
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}

DEVICE = re.compile(
    r"Device (?P<index>\d+) \[[^\]]*\] PCIe GEN (?P<generation>\d+)@ ?(?P<width>\d+)x"
    r" RX: (?P<rx>[\d.]+) (?P<rx_unit>\w+)/s TX: (?P<tx>[\d.]+) (?P<tx_unit>\w+)/s"
)
CLOCKS = re.compile(
    r"GPU (?P<graphics>\d+)MHz MEM (?P<mem>\d+)MHz TEMP +(?P<temperature>\d+).C FAN +\S+ POW +(?P<power>\d+) / (?P<limit>\d+) W"
)
BARS = re.compile(
    r"GPU\[\|* *(?P<gpu>\d+)%\] MEM\[\|* *(?P<used>[\d.]+)(?P<used_unit>[KMG]i)/(?P<total>[\d.]+)(?P<total_unit>[KMG]i)\]"
)
PROCESS = re.compile(
    r"^ *(?P<pid>\d+) +\S+ +(?P<index>\d+) +Compute +(?:(?P<sm>\d+)%|N/A) +(?P<memory>\d+)MiB +\d+% "
)


def gpus(lines):
    """What stands on the screen, by index; GPUs stand side by side, in their order."""
    devices, clocks, bars = ([m for line in lines for m in kind.finditer(line)] for kind in (DEVICE, CLOCKS, BARS))
    if not devices or not len(devices) == len(clocks) == len(bars):
        return {}
    found = {}
    for device, clock, bar in zip(devices, clocks, bars):
        found[int(device["index"])] = {
            "generation": int(device["generation"]),
            "width": int(device["width"]),
            # It takes NVML's thousands of bytes for kibibytes.
            "pcie_rx": float(device["rx"]) * UNITS[device["rx_unit"]] / 1024 * 1000,
            "pcie_tx": float(device["tx"]) * UNITS[device["tx_unit"]] / 1024 * 1000,
            **{key: int(clock[key]) for key in ("graphics", "mem", "temperature", "power", "limit")},
            "gpu": int(bar["gpu"]),
            "used_and_reserved": float(bar["used"]) * UNITS[bar["used_unit"]],
            "total": float(bar["total"]) * UNITS[bar["total_unit"]],
            "processes": {},
        }
    for row in filter(None, map(PROCESS.match, lines)):
        process = {"memory": int(row["memory"]) << 20}
        if row["sm"]:
            process["sm"] = int(row["sm"])
        gpu = found.get(int(row["index"]))
        if gpu is not None:
            gpu["processes"][row["pid"]] = process
    return found


def watch(terminal, seconds):
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    end, drawn, out = time.time() + seconds, None, {}
    while time.time() < end:
        if select.select([terminal], [], [], 0.05)[0]:
            stream.feed(os.read(terminal, 65536))
            drawn = time.time()
        # What is on the screen between two bursts of output is whole; without a burst it is of earlier.
        elif drawn is not None:
            for index, reading in gpus(screen.display).items():
                out.setdefault(index, []).append({"time": drawn, **reading})
            drawn = None
    if not out:
        sys.exit("nothing to read on nvtop's screen:\n" + "\n".join(filter(str.strip, screen.display)))
    return out


seconds, program = float(sys.argv[1]), sys.argv[2]
pid, terminal = pty.fork()
if pid == 0:
    time.sleep(0.2)  # until the terminal has its size
    os.environ["TERM"] = "xterm"
    os.execv(program, [program, "--no-color", "--no-plot", "--delay", "5"])
try:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    print(json.dumps([{"index": index, "readings": rows} for index, rows in sorted(watch(terminal, seconds).items())]))
finally:
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
