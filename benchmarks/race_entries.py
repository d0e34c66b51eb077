"""Who takes part in a race: every room, its algorithms, and the libraries that do the same.

    reference      minicnn's reference room, NumPy; of a convolution every algorithm by its name
    cpu            its cpu room, which chooses the algorithm; cpu winograd, ..: those by their names
    torch          PyTorch on the CPU; torch nchw, torch nhwc: in both memory layouts
    cuda, cublas, torch gpu ..     the same on the GPU where there is one, in float32

An entry is a name and what makes the contender: that is where the reason comes from if there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import gpu_rows
import gpu_settings
from conv_cases import Case
from harness import Contender
from kernel_rows import by_algorithm, by_kernel, in_room

import minicnn as mc
from minicnn.device import check_device
from minicnn.kernels import cpu, cuda, reference
from minicnn.kernels.cpu.conv2d import ALGORITHMS as CPU_ALGORITHMS
from minicnn.kernels.cuda.conv2d import ALGORITHMS as CUDA_ALGORITHMS
from minicnn.kernels.reference.conv2d import ALGORITHMS as REFERENCE_ALGORITHMS

Entries = Iterator[tuple[str, Callable[[], Contender]]]


class Absent(Exception):
    """A contender that this machine does not have."""


def entries(case: Case, arguments: tuple[Any, ...], with_torch: bool, with_gpu: bool = True) -> Entries:
    """Everybody's name, and what makes the contender or raises the reason why there is none."""
    yield from _on_cpu(case, arguments)
    if with_torch:
        yield from _torch(case, arguments, "cpu")
    else:
        yield "torch", partial(_absent, "PyTorch is not installed, or was left out by --no-torch")
    if with_gpu and mc.cuda_available():
        yield from _on_gpu(case, arguments, with_torch)
    else:
        yield "cuda", _no_gpu


def _on_cpu(case: Case, arguments: tuple[Any, ...]) -> Entries:
    """Both rooms; the reference's "auto" is one of its algorithms by name."""
    known = [("reference", reference, REFERENCE_ALGORITHMS), ("cpu", cpu, CPU_ALGORITHMS)]
    for name, room, algorithms in known:
        ways = list(by_algorithm(case, arguments, algorithms))
        if room is cpu or not ways:
            yield name, partial(in_room, room, case, arguments)
        for algorithm, by_name in ways:
            yield f"{name} {algorithm}", partial(by_kernel, getattr(room, case.kernel), by_name, ())


def _torch(case: Case, arguments: tuple[Any, ...], device: str) -> Entries:
    from kernel_torch import counterparts

    name = "torch" if device == "cpu" else "torch gpu"
    try:
        layouts = counterparts(case, arguments, device)
    except Exception as error:
        yield name, partial(_absent, f"{type(error).__name__}: {error}")
        return
    for layout, contender in layouts.items():
        yield f"{name} {layout}".rstrip(), partial(_same, contender)
    if not layouts:
        yield name, partial(_absent, "PyTorch has no operation that computes the same")


def _on_gpu(case: Case, arguments: tuple[Any, ...], with_torch: bool) -> Entries:
    there = gpu_rows.on_gpu(arguments)
    prepare = partial(gpu_settings.set_precision, "float32", with_torch)
    for name, contender in gpu_rows.by_library(case, there):
        yield name, partial(replace, contender, prepare=prepare)
    for algorithm, by_name in by_algorithm(case, there, CUDA_ALGORITHMS):
        contender = gpu_rows.waited_for(partial(getattr(cuda, case.kernel), *by_name))
        yield f"cuda {algorithm}", partial(replace, contender, prepare=prepare)
    if with_torch:
        for name, enter in _torch(case, arguments, "cuda"):
            yield name, lambda enter=enter: replace(enter(), prepare=prepare)


def _same(contender: Contender) -> Contender:
    return contender


def _no_gpu() -> Contender:
    check_device("cuda")
    return _absent("it was left out by --device cpu")


def _absent(reason: str) -> Contender:
    raise Absent(reason)
