"""Which algorithm of convolution the cpu room should choose by itself on this machine.

Winograd's, the direct one and the implicit matrix product are raced on convolutions from few to many channels and
filters, in all three directions. The limits of the table in kernels/cpu/conv2d_rules.py are those with which the
algorithms that the rule chooses take least time: in the geometric mean over the shapes, over the fastest one.
"""

from __future__ import annotations

import argparse
import itertools
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cli
import harness
import report
from harness import Contender, Pace

TABLE = Path(__file__).parent.parent / "kernels" / "cpu" / "conv2d_rules.py"
DIRECTIONS = ("forward", "input_gradient", "weight_gradient")
TOLERANCE = 1e-4  # of the largest number: Winograd's sums in float32
WIDTHS = (30, 16, 12, 12, 10)
EPILOGUE = """\
examples:
  python benchmarks/choose_conv2d.py           measure, and print the table
  python benchmarks/choose_conv2d.py --write   write it into the rule's file
"""


class Shape(NamedTuple):
    """N images H x H x C, O filters K x K."""

    N: int
    H: int
    C: int
    O: int
    K: int
    stride: int

    def __str__(self) -> str:
        tail = f" s{self.stride}" if self.stride > 1 else ""
        return f"{self.N}x{self.H}x{self.H}x{self.C}->{self.O} {self.K}x{self.K}{tail}"

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        size = (self.H - 1) // self.stride + 1
        return self.N, size, size, self.O


# Few channels and filters, and few outputs, decide about Winograd; rows of the window and filters about the direct way.
SHAPES = [
    Shape(16, 28, C, O, 3, 1)
    for C, O in itertools.product((1, 3, 4, 8, 12, 16, 24, 32, 64), (4, 8, 12, 16, 24, 32, 64))
]
SHAPES += [Shape(N, H, C, C, 3, 1) for N, H, C in itertools.product((1, 4, 16), (2, 4, 7, 14), (64, 256))]
SHAPES += [
    Shape(8, 32, C, O, K, stride)
    for C, O, (K, stride) in itertools.product((1, 3, 6, 12, 24, 48, 128), (6, 16, 32, 64, 128), ((5, 1), (3, 2)))
]
Times = dict[str, dict[Shape, dict[str, float]]]  # direction, shape, algorithm: seconds


def main() -> int:
    """Read the options, measure, print, write. Returns the exit status."""
    options = _options()
    cli.start(options)
    pace = Pace(options.rounds, 0.002, 0) if options.quick else Pace(options.rounds, 0.01)
    print(report.table(("", "", "winograd", "direct", "implicit"), [], WIDTHS))
    times: Times = {direction: {} for direction in DIRECTIONS}
    for shape in SHAPES[::25] if options.quick else SHAPES:
        for direction in DIRECTIONS:
            seconds = times[direction][shape] = _race(shape, direction, pace)
            names = ("winograd", "direct", "implicit_gemm")
            cells = [report.duration(seconds[name]) if name in seconds else "-" for name in names]
            print(report.table_line((str(shape), direction, *cells), WIDTHS), flush=True)
    described = report.machine(options.threads)
    chosen = {direction: _best_limits(times[direction]) for direction in DIRECTIONS}
    table = _as_text(chosen, f"{described['processor']}, {described['threads']} threads")
    print(f"\n{table}\n\n{report.describe(described)}")
    if options.json:
        content = {
            "machine": described,
            "limits": {direction: limits for direction, (limits, _) in chosen.items()},
            "seconds": {d: {str(shape): seconds for shape, seconds in each.items()} for d, each in times.items()},
        }
        report.write_json(options.json, content)
    if options.write:
        text = re.sub(r"(# begin:[^\n]*\n).*?(# end\n)", rf"\g<1>{table}\n\g<2>", TABLE.read_text(), flags=re.S)
        report.write(TABLE, text.encode())
    return 0


def _options() -> argparse.Namespace:
    result = cli.parser(__doc__ or "", rounds=3)
    result.epilog = EPILOGUE
    result.add_argument("--write", action="store_true", help="write the table into kernels/cpu/conv2d_rules.py")
    return result.parse_args()


def _race(shape: Shape, direction: str, pace: Pace) -> dict[str, float]:
    """Seconds of each algorithm that serves the shape; "direct" has the input gradient of "implicit_gemm"."""
    contenders = {name: Contender(lambda call=call: call()) for name, call in _calls(shape, direction)}
    race = harness.race(contenders, pace, lambda results: harness.agree(results, TOLERANCE))
    return {name: race.seconds(name) for name in contenders}


def _calls(shape: Shape, direction: str) -> Iterator[tuple[str, Any]]:
    import numpy as np

    from minicnn.kernels import cpu
    from minicnn.kernels.geometry import output_sizes

    rng = np.random.default_rng(0)
    N, H, C, O, K, stride = shape
    P = K // 2
    where = ((stride, stride), ((P, P), (P, P)), (1, 1))
    x, w = rng.standard_normal((N, H, H, C), np.float32), rng.standard_normal((K, K, C, O), np.float32)
    dy = rng.standard_normal((N, *output_sizes(x.shape, (K, K), *where), O), np.float32)
    names = ["winograd"] * ((K, stride) == (3, 1)) + ["direct"] * (direction != "input_gradient") + ["implicit_gemm"]
    for name in names:
        rest = (*where, 1, name)
        yield (
            name,
            {
                "forward": lambda rest=rest: cpu.conv2d_forward(x, w, None, *rest, None),
                "input_gradient": lambda rest=rest: cpu.conv2d_backward_input(dy, w, x.shape, *rest),
                "weight_gradient": lambda rest=rest: cpu.conv2d_backward_weight(dy, x, w.shape, *rest),
            }[direction],
        )


def _best_limits(times: dict[Shape, dict[str, float]]) -> tuple[dict[str, tuple[int, ...]], float]:
    """The limits of the rule that lose least, and how much that is: 1 is to choose the fastest everywhere."""
    from minicnn.kernels.cpu.conv2d_rules import saved

    channels, filters = sorted({shape.C for shape in times}), sorted({shape.O for shape in times})
    products = sorted({saved(shape.y_shape) for shape in times if shape.stride == 1})
    rows = sorted({0} | {shape.K * shape.C for shape in times})
    limits: dict[str, tuple[int, ...]] = {"winograd": (channels[0], filters[0], products[0]), "direct": (0, 0)}
    # One algorithm's limits after the other's, until neither changes any more.
    choices = {"winograd": list(itertools.product(channels, filters, products)),
               "direct": list(itertools.product(rows, [0, *filters]))}  # fmt: skip
    before = None
    while before != limits:
        before = dict(limits)
        for name, values in choices.items():
            limits[name] = min(values, key=lambda value: _loss(times, {**limits, name: value}))
    return limits, _loss(times, limits)


def _loss(times: dict[Shape, dict[str, float]], limits: dict[str, tuple[int, ...]]) -> float:
    """The geometric mean of what these limits choose over the fastest."""
    from minicnn.kernels.cpu.conv2d_rules import LIMITS, choose

    LIMITS["tried"] = limits
    ratios = []
    for shape, seconds in times.items():
        possible = {"depthwise": False, "winograd": "winograd" in seconds}
        name = choose("tried", (shape.K, shape.K, shape.C, shape.O), shape.y_shape, 1, possible)
        ratios.append(seconds.get(name, seconds["implicit_gemm"]) / min(seconds.values()))
    return statistics.geometric_mean(ratios)


def _as_text(chosen: dict[str, tuple[dict[str, tuple[int, ...]], float]], machine: str) -> str:
    """The table as it stands in the rule's file."""
    lines = [f"# {machine}; beside each line: the time of what it chooses over that of the fastest, geometric mean"]
    lines += ["LIMITS = {"]
    for direction, (limits, loss) in chosen.items():
        entries = ", ".join(f'"{name}": {pair}' for name, pair in limits.items())
        lines += [f'    "{direction}": {{{entries}}},  # {loss:.3f}']
    return "\n".join([*lines, "}"])


if __name__ == "__main__":
    sys.exit(main())
