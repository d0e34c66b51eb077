"""What `race.py` races: one of the benchmarks' cases by its name, or a shape that is typed.

A case is named by words of its row, in any order and as many as tell it from the others: the network, the shapes, the
window. `conv2d_forward:resnet18-3x3-64` is the row "conv2d_forward 8x56x56x64->64 3x3" of ResNet-18.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import gpu_cases
import kernel_cases
import numpy as np
from conv_cases import Case, Convolution, Shape, columns

from minicnn.kernels import reference
from minicnn.ops.checks import check_pool_windows, check_windows

SHOWN = 8  # names at most in one error
# What is said of a shape on the command line, beside --shape: {option: the value without it}; None: it must be given.
CONVOLUTION = {"filters": None, "kernel": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
COLUMNS = {"kernel": None, "stride": 1, "padding": 0, "dilation": 1}
POOLING = {"kernel": None, "stride": 0, "padding": 0}
OPTIONS = tuple(dict.fromkeys((*CONVOLUTION, "outputs")))


class Unknown(Exception):
    """A kernel, a case or a shape that cannot be raced, said in a sentence."""


def chosen(text: str, options: argparse.Namespace) -> Case:
    """The case of "kernel:case", or of "kernel" and the options --shape and so on. Raises Unknown."""
    kernel, _, name = text.partition(":")
    if kernel not in reference.__all__:
        raise Unknown(no_kernel(kernel))
    given = [option for option in ("shape", *OPTIONS) if getattr(options, option) is not None]
    if name and given:
        raise Unknown(f"a case by name has its shape: leave out --{given[0]}, or the name {name!r}")
    if name:
        return named(kernel, name)
    if options.shape is None:
        raise Unknown(f"which shape? Give --shape, or a case: {_some(f'{kernel}:{each}' for each in names(kernel))}")
    return typed(kernel, options)


def no_kernel(name: str) -> str:
    """What is said of a name that the contract does not have."""
    return f"there is no kernel {name!r}: {_near(name, reference.__all__)}"


# Cases by name


def names(kernel: str) -> Iterator[str]:
    """For each case of the kernel a name that is its own, without a character that a shell reads."""
    return ("-".join(words) for words, _ in _labels(kernel))


def named(kernel: str, name: str) -> Case:
    """The case that has all words of the name; of several the one that has fewest others. Raises Unknown."""
    wanted = set(_words(name))
    found = [(len(set(words) - wanted), words, case) for words, case in _labels(kernel) if wanted <= set(words)]
    nearest = [(words, case) for others, words, case in found if others == min(found, key=lambda each: each[0])[0]]
    if len({case.shape for _, case in nearest}) > 1:
        raise Unknown(f"{name!r} is {len(nearest)} cases: {_some('-'.join(words) for words, _ in nearest)}")
    if not nearest:
        raise Unknown(f"{kernel} has no case {name!r}: {_near(name, list(names(kernel)))}")
    return nearest[0][1]


@cache
def _labels(kernel: str) -> list[tuple[list[str], Case]]:
    """Each case with its words; a layer of several networks once for each of them."""
    return [
        (_words(f"{network} {case.shape}"), case)
        for case in gpu_cases.cases()
        if case.kernel == kernel
        for network in case.networks or ("",)
    ]


def _words(text: str) -> list[str]:
    """resnet18, 8x56x56x64, 64, 3x3"""
    return [word for word in re.split(r"[\s>-]+", text) if word]


# Cases by shape


def typed(kernel: str, options: argparse.Namespace) -> Case:
    """The kernel on the shape of the options. Raises Unknown for a shape that does not fit it."""
    prefix = next(prefix for prefix in _MAKERS if kernel.startswith(prefix))
    axes, known, make = _MAKERS[prefix]
    for option in OPTIONS:
        if option not in known and getattr(options, option) is not None:
            takes = ", ".join(f"--{each}" for each in ("shape", *known))
            raise Unknown(f"{kernel} has no --{option}: it takes {takes}")
        if option in known and known[option] is None and getattr(options, option) is None:
            raise Unknown(f"{kernel} needs --{option}")
    if axes and len(options.shape) != len(axes):
        raise Unknown(f"{kernel} expected --shape {'x'.join(axes)}, got {len(options.shape)} axes: {options.shape}")
    values = {option: getattr(options, option) or default for option, default in known.items()}
    try:
        case = next(case for case in make(options.shape, **values) if case.kernel == kernel)
    except ValueError as error:
        raise Unknown(str(error)) from error
    # The benchmarks' own rows do not say their padding: it is known from their networks.
    return replace(case, shape=f"{case.shape} p{options.padding}") if options.padding else case


def _convolution(shape: Shape, filters: int, kernel: int, stride: int, padding: int, dilation: int, groups: int) -> Any:
    N, H, W, C = shape
    if C % groups or filters % groups:
        raise ValueError(f"groups must divide channels and filters, got {groups} of {C} and {filters}")
    return _fitting(Convolution(N, H, C, filters, kernel, stride, padding, groups, dilation, W=W)).cases()


def _columns(shape: Shape, kernel: int, stride: int, padding: int, dilation: int) -> Any:
    N, H, W, C = shape
    return columns([_fitting(Convolution(N, H, C, 1, kernel, stride, padding, dilation=dilation, W=W))])


def _fitting(c: Convolution) -> Convolution:
    stride, padding, dilation, *_ = c.geometry
    check_windows("the convolution", _empty(c.x_shape), (c.K, c.K), stride, padding, dilation)
    return c


def _pooling(shape: Shape, kernel: int, stride: int, padding: int) -> Any:
    stride = stride or kernel
    sides = (padding, padding)
    check_pool_windows(
        "the pooling", _empty(shape), (kernel, kernel), (stride, stride), (sides, sides), ceil_mode=False
    )
    return kernel_cases.pools([(shape, kernel, stride, padding)])


def _philox(shape: Shape) -> Any:
    if shape[1] != 4:
        raise ValueError(f"a counter of Philox has 4 words, got --shape {shape[0]}x{shape[1]}: use {shape[0]}x4")
    return kernel_cases.philoxes([shape[0]])


def _empty(shape: Shape) -> Any:
    """An array of that shape in a few bytes: the checks of the engine read no more of it."""
    return np.broadcast_to(np.float32(0), shape)


Maker = Callable[..., Iterable[Case]]
# By the beginning of a kernel's name: the axes of x (none: as many as one likes), the options, the cases of the shape.
_MAKERS: dict[str, tuple[tuple[str, ...], dict[str, int | None], Maker]] = {
    "conv2d": (("N", "H", "W", "C"), CONVOLUTION, _convolution),
    "im2col": (("N", "H", "W", "C"), COLUMNS, _columns),
    "col2im": (("N", "H", "W", "C"), COLUMNS, _columns),
    "linear": (("N", "I"), {"outputs": None}, lambda shape, outputs: kernel_cases.linears([(*shape, outputs)])),
    "bias": ((), {}, lambda shape: kernel_cases.biases([shape])),
    "max_pool2d": (("N", "H", "W", "C"), POOLING, _pooling),
    "avg_pool2d": (("N", "H", "W", "C"), POOLING, _pooling),
    "sum_pool2d": (("N", "H", "W", "C"), POOLING, _pooling),
    "adaptive_avg_pool2d": (
        ("N", "H", "W", "C"),
        {"outputs": None},
        lambda shape, outputs: kernel_cases.adaptive_pools([(shape, outputs)]),
    ),
    "batch_norm": (("N", "H", "W", "C"), {}, lambda shape: kernel_cases.batch_norms([shape])),
    "local_response_norm": (("N", "H", "W", "C"), {}, lambda shape: kernel_cases.local_response_norms([shape])),
    "softmax": (("N", "K"), {}, lambda shape: kernel_cases.softmaxes([shape])),
    "log_softmax": (("N", "K"), {}, lambda shape: kernel_cases.softmaxes([shape])),
    "cross_entropy": (("N", "K"), {}, lambda shape: kernel_cases.losses([shape])),
    "mean_squared_error": (("N", "K"), {}, lambda shape: kernel_cases.losses([shape])),
    "half_squared_error": (("N", "K"), {}, lambda shape: kernel_cases.losses([shape])),
    "dropout": ((), {}, lambda shape: kernel_cases.dropouts([shape])),
    "philox4x32": (("N", "4"), {}, _philox),
    "sgd_update": ((), {}, lambda shape: kernel_cases.updates([shape])),
    "lion_update": ((), {}, lambda shape: kernel_cases.updates([shape])),
    "lars_update": ((), {}, lambda shape: kernel_cases.updates([shape])),
    "adagrad_update": ((), {}, lambda shape: kernel_cases.updates([shape])),
    "rmsprop_update": ((), {}, lambda shape: kernel_cases.updates([shape])),
    "adadelta_update": ((), {}, lambda shape: kernel_cases.updates([shape])),
    "adam_update": ((), {}, lambda shape: kernel_cases.updates([shape])),
    "warp": (("N", "H", "W", "C"), {}, lambda shape: kernel_cases.warps([shape])),
    "": ((), {}, lambda shape: kernel_cases.activations([shape])),
}


def _near(name: str, known: list[str]) -> str:
    """The names that are spelled like this one, or some of all."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {_some(known)}"


def _some(known: Iterable[str]) -> str:
    every = list(known)
    more = f" and {len(every) - SHOWN} more (--list shows all)" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more
