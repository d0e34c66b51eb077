"""Compile every kernel of the cpu room now instead of at its first use: `python -m minicnn.warmup`.

A kernel is compiled when it is first called with arrays of a dtype, and kept on disk: in `__pycache__` beside its file,
or, where that folder cannot be written, in Numba's cache folder of the user (Linux: ~/.cache/numba); the environment
variable NUMBA_CACHE_DIR names another one. So a first training run waits for its kernels, and later ones do not. Here
each is called once, on arrays just large enough for several threads: for an image of a container, or before a
measurement.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = Any
Call = tuple[str, tuple[Any, ...]]
Draw = Callable[..., Array]  # draw(*shape): an array of that shape

ONCE, NONE = (1, 1), ((0, 0), (0, 0))
# C, O, K, groups of a convolution that an algorithm computes, where that is not any of 3x3: one filter a channel, and
# pixels as rows of a linear layer.
CONVOLUTIONS = {"depthwise": [(4, 4, 3, 4)], "implicit_gemm": [(3, 2, 3, 1), (3, 2, 1, 1)]}


class Outcome(NamedTuple):
    """What a warm-up did: kernels compiled, kernels that were on disk already, where they lie now, seconds."""

    compiled: int
    found: int
    folder: Path | None
    seconds: float


def warm_up(dtype: str = "float32", shown: bool = False) -> Outcome:
    """Compile every kernel of the cpu room for "float32" or "float64", unless it is on disk already.

    shown: whether to draw a progress bar, if standard error is a terminal. The folder in the result is None where no
    folder could be written, so that the kernels are lost when the process ends.

    Raises ValueError for another dtype.
    """
    if dtype not in ("float32", "float64"):
        raise ValueError(f'warm_up expected "float32" or "float64", got {dtype!r}')
    from tqdm import tqdm  # here, as below: `import minicnn` should wait for neither

    from .kernels import cpu
    from .kernels.cpu._jit import cache_statistics

    started = time.perf_counter()
    with tqdm(list(_calls(np.dtype(dtype))), unit=" kernels", leave=False, disable=None if shown else True) as bar:
        for name, arguments in bar:
            bar.set_postfix_str(name)
            getattr(cpu, name)(*arguments)
    return Outcome(*cache_statistics(), time.perf_counter() - started)


def _calls(dtype: np.dtype[Any]) -> Iterator[Call]:
    """Kernels and arguments that reach every compiled function of the room, in every variant that networks need."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> Array:
        return rng.random(shape, dtype)

    yield from _convolutions(draw)
    yield from _linears(draw)
    yield from _pools(draw)
    yield from _normalisations(draw)
    yield from _elements(draw)
    yield from _losses(draw)
    for images in (np.zeros((2, 28, 28, 1), np.uint8), draw(2, 28, 28, 1)):
        yield "warp", (images, np.zeros((2, 2, 3)), None, "nearest", 0.0)


def _convolutions(draw: Draw) -> Iterator[Call]:
    from .kernels.cpu.conv2d import ALGORITHMS

    for algorithm in ALGORITHMS:
        for C, O, K, groups in CONVOLUTIONS.get(algorithm, [(3, 2, 3, 1)]):
            x, w, b = draw(8, 64, 64, C), draw(K, K, C // groups, O), draw(O)
            sides = ((K // 2, K // 2), (K // 2, K // 2))
            where = (ONCE, sides, ONCE, groups, algorithm)
            yield "conv2d_forward", (x, w, b, *where, "relu")
            yield "conv2d_backward_input", (draw(8, 64, 64, O), w, x.shape, *where)
            yield "conv2d_backward_weight", (draw(8, 64, 64, O), x, w.shape, *where)
    yield "im2col", (draw(4, 64, 64, 3), (3, 3), ONCE, NONE, ONCE)
    yield "col2im", (draw(4 * 62 * 62, 3 * 3 * 3), (4, 64, 64, 3), (3, 3), ONCE, NONE, ONCE)


def _linears(draw: Draw) -> Iterator[Call]:
    for N in (1, 2, 64):  # one sample, few, and as many as fill a tile
        x, w, dy = draw(N, 256), draw(256, 256), draw(N, 256)
        yield "linear_forward", (x, w, draw(256), "relu")
        yield "linear_backward_input", (dy, w)
        yield "linear_backward_weight", (dy, x)
    yield "bias_backward", (draw(512, 256),)


def _pools(draw: Draw) -> Iterator[Call]:
    x, dy = draw(4, 128, 128, 3), draw(4, 64, 64, 3)
    where = ((2, 2), (2, 2), NONE)
    yield "max_pool2d_forward", (x, *where, False)
    yield "max_pool2d_backward", (dy, np.zeros(dy.shape, np.int32), x.shape, *where)
    yield "sum_pool2d_forward", (x, *where, False)
    yield "sum_pool2d_backward", (dy, x.shape, *where)
    yield "adaptive_avg_pool2d_forward", (draw(4, 256, 256, 3), (64, 64))
    yield "adaptive_avg_pool2d_backward", (dy, x.shape)


def _normalisations(draw: Draw) -> Iterator[Call]:
    x, dy, channels = draw(4, 128, 128, 3), draw(4, 128, 128, 3), [draw(3) + 1 for _ in range(4)]
    yield "batch_norm_forward", (x, *channels[:2], 1e-5, x, "relu")
    yield "batch_norm_backward", (dy, x, *channels, 1e-5, "relu")
    yield "batch_norm_inference_forward", (x, *channels, 1e-5, x, "relu")
    yield "batch_norm_inference_backward", (dy, x, *channels, 1e-5, "relu")
    yield "local_response_norm_forward", (x, 5, 1e-4, 0.75, 2.0)
    yield "local_response_norm_backward", (dy, x, 5, 1e-4, 0.75, 2.0)


def _elements(draw: Draw) -> Iterator[Call]:
    for name in ("relu", "relu6", "tanh", "sigmoid", "softmax", "log_softmax"):
        yield f"{name}_forward", (draw(512, 256),)
        yield f"{name}_backward", (draw(512, 256), draw(512, 256))
    yield "dropout_forward", (draw(512, 256), 0.5, 0, 0, 0, 0)
    yield "philox4x32", (np.zeros((1024, 4), np.uint32), np.zeros(2, np.uint32))
    parameters = [[draw(512, 256)] for _ in range(4)]
    steps = [np.zeros((), draw(1).dtype)]
    yield "sgd_update", (*parameters[:3], 0.1, 0.9, False, 0.0)
    yield "lion_update", (*parameters[:3], 0.1, 0.9, 0.99, 0.0)
    yield "lars_update", (*parameters[:3], 0.1, 0.9, 0.0, 0.001)
    yield "adagrad_update", (*parameters[:3], 0.1, 1e-10, 0.0)
    yield "rmsprop_update", (*parameters[:3], None, None, 0.1, 0.99, 1e-8, 0.0, 0.0)
    yield "adadelta_update", (*parameters, 1.0, 0.95, 1e-6, 0.0)
    yield "adam_update", (*parameters, steps, 0.1, 0.9, 0.999, 1e-8, 0.0, False)


def _losses(draw: Draw) -> Iterator[Call]:
    dloss = np.ones((), draw(1).dtype)
    for target in (np.zeros(512, np.int64), draw(512, 256)):
        yield "cross_entropy_forward", (draw(512, 256), target)
        yield "cross_entropy_backward", (dloss, draw(512, 256), target)
    for name in ("mean_squared_error", "half_squared_error"):
        yield f"{name}_forward", (draw(512, 256), draw(512, 256))
        yield f"{name}_backward", (dloss, draw(512, 256), draw(512, 256))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m minicnn.warmup", description=__doc__.split("\n\n")[0])
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="default: %(default)s")
    outcome = warm_up(parser.parse_args().dtype, shown=True)
    print(f"{outcome.compiled} compiled functions made, {outcome.found} found on disk, in {outcome.seconds:.1f} s")
    if outcome.folder is None:
        print("no folder for them can be written: set NUMBA_CACHE_DIR to one, or every process compiles anew")
    else:
        print(f"they lie in {outcome.folder}")


if __name__ == "__main__":
    main()
