"""What a benchmark says of itself: the machine, numbers in a table, a JSON file.

Nothing heavy is imported at the top, as in `cli`, which begins before NumPy is loaded.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import textwrap
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "numba", "torch")
WIDTH = 80
BUSY = 0.5  # processes that wanted a core in the minute before this one did
_LOAD = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else "unknown"

STAT = Path("/proc/stat")


def processor_ticks() -> tuple[int, int] | None:
    """Ticks of all processors since the system began, and how many of them the hypervisor gave to other machines; None
    where the system does not say. Source: proc(5), /proc/stat, the line `cpu`."""
    try:
        ticks = [int(field) for field in STAT.read_text().split("\n", 1)[0].split()[1:9]]  # user ... softirq, steal
    except (OSError, ValueError):
        return None
    return (sum(ticks), ticks[7]) if len(ticks) == 8 else None


_TICKS = processor_ticks()


# The machine


def machine(threads: int, precision: str = "float32") -> dict[str, Any]:
    """What a figure means nothing without: processor, cores, system, versions, threads, precision, load.

    "load" is how many processes wanted a core in the minute before the start. Where others are at work figures are
    worth little: threads that wait for one whose core was taken lose far more time than their share. "stolen" is how
    much of the processors' time the hypervisor has given to other machines since the start.
    """
    return {
        "processor": _processor(),
        "cores": cores(),
        "system": _system(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "blas": _blas(),
        "numba threads": _threading_layer(),
        "threads": threads,
        "precision": precision,
        "load": _LOAD,
        "stolen": stolen(),
    }


def same_machine(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether figures of both may stand in one table: all that `machine` says agrees, but for what others did to it."""
    passing = {"load", "stolen"}
    return {k: v for k, v in one.items() if k not in passing} == {k: v for k, v in other.items() if k not in passing}


def stolen() -> str:
    """See `machine`."""
    now = processor_ticks()
    if now is None or _TICKS is None or now[0] == _TICKS[0]:
        return "unknown"
    return f"{100 * (now[1] - _TICKS[1]) / (now[0] - _TICKS[0]):.1f} %"


def gpu() -> dict[str, Any]:
    """Name, memory, driver and CUDA of the GPU that CuPy uses."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "gpu": properties["name"].decode(),
        "gpu memory": f"{properties['totalGlobalMem'] / 1e9:.0f} GB",
        "cuda driver": cupy.cuda.runtime.driverGetVersion(),
        "cupy": cupy.__version__,
    }


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(described: Mapping[str, Any]) -> str:
    """The machine as lines of `name  value`, with a warning where it was busy."""
    lines = [f"{name:<14} {value}"[:WIDTH] for name, value in described.items()]
    if isinstance(described["load"], float) and described["load"] > BUSY:
        lines.append("note: the machine was busy before the start; measure again when it is quiet")
    return "\n".join(lines)


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    with contextlib.suppress(OSError):
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.machine()}"
    return f"{platform.system()} {platform.release()}, {platform.machine()}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _blas() -> str:
    import numpy as np

    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"


def _threading_layer() -> str:
    """Numba's thread pool, which is known from its first parallel loop on."""
    import numba

    try:
        return str(numba.threading_layer())
    except ValueError:
        return "not started"


# What comes out


def duration(seconds: float) -> str:
    """Three digits and a unit, at most eight characters: "12.3 us"."""
    unit, size = next((u, s) for u, s in (("s", 1.0), ("ms", 1e-3), ("us", 0.0)) if seconds >= 0.9995 * s)
    size = size or 1e-6
    number = seconds / size
    return f"{number:.{0 if number >= 99.95 else 1 if number >= 9.995 else 2}f} {unit}"


def times(ratio: float) -> str:
    """A ratio in at most six characters: "0.0123", "0.987", "12.3"."""
    return f"{ratio:.{4 if ratio < 0.0995 else 3 if ratio < 9.995 else 1 if ratio < 999.5 else 0}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    """Columns side by side, one space apart: the first flush left, the others flush right; a long cell is cut."""
    return "\n".join(table_line(row, widths) for row in (head, *rows))


def table_line(row: Sequence[str], widths: Sequence[int]) -> str:
    """One line of such a table."""
    cells = [f"{cell[:width]:<{width}}" if i == 0 else f"{cell[:width]:>{width}}"
             for i, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
    return " ".join(cells).rstrip()


def filled(text: str) -> str:
    """The sentences in lines as wide as a terminal, those behind the first one set in."""
    return textwrap.fill(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same in Markdown."""
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON; at any moment the file is the old one or the new one, both whole."""
    write(path, (json.dumps(content, indent=1) + "\n").encode())


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path` by way of a file beside it."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
