"""A contender in a process of its own, where no thread pool meets another's and all memory is its own.

`measure` starts the process and reads what it prints; run as a script this file is that process.

Peak memory is what the process holds at most during the steps (VmHWM in /proc/self/status, reset by a 5 in
/proc/self/clear_refs when the network stands), above what it held before there was a network (VmRSS): images, weights,
gradients, the optimizer's state, what is kept for the backward pass, scratch. A step of LeNet-5 with one image comes
before both, so that the library itself, which its first step loads, is not counted.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cli
import harness
import report
from harness import Pace
from networks import Task, work


def measure(task: Task, name: str, threads: int, pace: Pace, compare: bool = True) -> dict[str, Any]:
    """One burst: {"compared": what must agree, "seconds": of a call, "bytes": peak memory or None, "numba threads"}.

    compare: whether "compared" is wanted; it takes some steps.
    """
    said = json.dumps(
        {"task": asdict(task), "name": name, "threads": threads, "pace": asdict(pace), "compare": compare}
    )
    environment = {**os.environ, **dict.fromkeys(cli.THREAD_VARIABLES, str(threads))}
    done = subprocess.run([sys.executable, __file__, said], check=True, stdout=subprocess.PIPE, env=environment)
    return dict(json.loads(done.stdout))


def _main() -> None:
    said = json.loads(sys.argv[1])
    cli.set_threads(said["threads"], said["name"].startswith("torch"))
    task = Task(**said["task"])
    work(Task("lenet5", 1, 28, task.inference), said["name"]).call()
    before = _memory("VmRSS")
    contender = work(task, said["name"])
    _give_back()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    compared = contender.compared().tolist() if said["compare"] else None
    seconds = harness.burst(harness.Contender(contender.call), Pace(**said["pace"]))
    peak = _memory("VmHWM")
    grown = None if before is None or peak is None else peak - before
    described = report.machine(said["threads"])
    print(json.dumps({"compared": compared, "seconds": seconds, "bytes": grown,
                      "numba threads": described["numba threads"]}))  # fmt: skip


def _give_back() -> None:
    """Return to the system what building the network needed and has freed: glibc keeps some for later."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _memory(field: str) -> int | None:
    """A line of /proc/self/status in bytes; None on a system that has no such file."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return None


if __name__ == "__main__":
    _main()
