"""The GPU of a benchmark: whether there is one, how exactly the libraries multiply there, and what is said of it.

TF32 keeps 10 binary digits of a factor behind the point instead of float32's 23. Each library has a switch of its own,
which holds for the whole process: minicnn's and PyTorch's are their public ones, CuPy reads the type of a product
(`set_compute_type`) at every call of cuBLAS.
"""

from __future__ import annotations

import argparse
import gc
import sys
from typing import Any

import cli
import numpy as np
import report
from elsewhere import Elsewhere, Kept

import minicnn as mc
from minicnn.device import check_device

PRECISIONS = ("float32", "tf32")


def require() -> None:
    """End the script with a sentence where there is no GPU."""
    try:
        check_device("cuda")
    except RuntimeError as error:
        sys.exit(f"--device cuda: {error}")


def start(options: argparse.Namespace) -> None:
    """A GPU, and PyTorch's autotuner off in this process; ends the script where there is none."""
    require()
    if torch_device(options) is not None:
        set_autotuner(False)


def torch_device(options: argparse.Namespace) -> str | None:
    """Where PyTorch computes if it takes part: it must be installed, and see the GPU too."""
    if not cli.has_torch(options):
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else None


def set_precision(precision: str, with_torch: bool) -> None:
    """The precision, one of PRECISIONS, of matrix products and convolutions in all libraries."""
    import cupy

    tf32 = precision == "tf32"
    mc.set_float32_matmul_precision("high" if tf32 else "highest")
    linalg = cupy._core._routines_linalg
    linalg.set_compute_type(np.float32, linalg.COMPUTE_TYPE_TF32 if tf32 else linalg.COMPUTE_TYPE_DEFAULT)
    if with_torch:
        set_torch_precision(precision)


def set_torch_precision(precision: str) -> None:
    """The same of PyTorch alone."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def set_autotuner(on: bool) -> None:
    """Whether PyTorch tries all algorithms of cuDNN at the first call of a shape; else a heuristic picks one."""
    import torch

    torch.backends.cudnn.benchmark = on


def tuned(torch: str | None) -> Elsewhere | None:
    """A process where PyTorch's autotuner is on; None without PyTorch, or, with a sentence, where none can be had."""
    if torch is None:
        return None
    try:
        return Elsewhere(_tune, torch)
    except RuntimeError as error:
        print(report.filled(f"! without PyTorch's autotuner, whose process cannot work: {error}"), flush=True)
        return None


def _tune(kept: Kept, device: str) -> None:
    """Before any memory is measured there: a first array brings the GPU's driver in."""
    import torch

    set_autotuner(True)
    torch.zeros(1, device=device)


def finish() -> None:
    """Wait until the GPU has done what minicnn and CuPy asked for."""
    import cupy

    cupy.cuda.get_current_stream().synchronize()


def give_back(torch: str | None) -> None:
    """Give the GPU back the memory that CuPy and PyTorch keep for later: neither knows that the other needs it."""
    import cupy

    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    give_back_torch(torch)


def give_back_torch(device: str | None) -> None:
    """The same of PyTorch alone."""
    if device == "cuda":
        from torch.cuda import empty_cache

        empty_cache()


def precisions(options: argparse.Namespace) -> tuple[str, ...]:
    """Those of --precision."""
    return PRECISIONS if options.precision == "both" else (options.precision,)


def describe(options: argparse.Namespace) -> dict[str, Any]:
    """What is said of the GPU beside `report.machine`."""
    torch = describe_torch(torch_device(options))
    return report.gpu() | torch | {"precision": " and ".join(precisions(options))}


def describe_torch(device: str | None) -> dict[str, Any]:
    """Versions and settings of PyTorch on the GPU."""
    if device is None:
        return {"torch gpu": "does not take part"}
    import torch

    return {
        "torch cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "torch tf32": "cudnn.allow_tf32 and cuda.matmul.allow_tf32 on for tf32 alone",
        "cudnn autotune": "on" if torch.backends.cudnn.benchmark else "off, on for tuned alone",
    }
