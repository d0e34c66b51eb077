"""One operation, every room and every algorithm: who is fast, how near to the limit, and how exact.

The contenders get the same arrays. Each first result is compared with the reference room's in float64; who agrees is
timed, in turns by bursts as in bench_kernels.py, and set against what this machine can do at best, which is measured in
the same run. Who cannot take part, fails, is wrong or is stopped is shown with the reason.

The case is one of the benchmarks' by its name (--list), or a shape: --shape and what the kernel needs beside it. With
--device cuda or auto the rooms of the CPU race too: --device cpu leaves the GPU out.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import cli
import report
from harness import Pace

PATIENCE = 10.0  # seconds
EPILOGUE = """\
columns:
  median, lower, upper    time of a call: median and quartiles over the rounds
  GFLOP/s, GB/s           operations of the definition, and bytes of the
                          minimum, over the median time
  limit                   share of what the machine does at best: the time
                          that the operations need, or the bytes, if that is
                          longer. What a cache holds may exceed 100 %, and an
                          algorithm that saves operations, as Winograd's, too.

counted:
  operations              of the formulas in kernels/reference: + - * / and
                          comparisons one each, exp, log, sqrt, tanh too;
                          windows in full, whatever an algorithm saves; none
                          on integers
  bytes                   every argument read once, every result written once

ULPs:
  Units in the last place of float32, from the float64 result of the reference.
  plain                   of the exact number itself. Where a sum cancels, few
                          digits are left to count in, and the figure is large
                          by no fault of the kernel.
  of terms                of the sum of the absolute values of the terms that
                          the definition adds up there (|x * w| in a
                          convolution): what rounding errors are made of.
                          Judge by these.
  A contender takes part if no number is off by more than 1e-4 of the largest
  sum of terms.

examples:
  python benchmarks/race.py conv2d_forward:resnet18-3x3-64
  python benchmarks/race.py conv2d_forward --shape 32x56x56x64 --filters 64 \\
      --kernel 3 --padding 1 --html race.html --png race.png
  python benchmarks/race.py max_pool2d_backward --shape 8x112x112x64 \\
      --kernel 3 --stride 2 --padding 1
  python benchmarks/race.py linear_forward --shape 128x9216 --outputs 128
  python benchmarks/race.py softmax_forward --shape 128x1000
  python benchmarks/race.py conv2d_forward --list
"""


def main() -> int:
    """Read the options, measure, print, write. Returns the exit status: 1 where a contender is wrong."""
    options = _options()
    if options.list:
        return _list(options.operation)
    case = _case(options)
    cli.start(options)
    import race_report

    outcome = _raced(case, options)
    described = _machine(options, outcome)
    print(f"{race_report.describe(outcome)}\n\n{report.describe(described)}")
    if options.json:
        settings = {"rounds": options.rounds, "quick": options.quick, "patience": options.patience}
        limits = {f"{name} {what}": value for name, roofs in outcome.limits.items() for what, value in (
            ("peak GFLOP/s", roofs.peak / 1e9), ("memory GB/s", roofs.bandwidth / 1e9))}  # fmt: skip
        content = {"machine": described, "settings": settings, "limits": limits, "rows": [outcome.as_json()]}
        report.write_json(options.json, content)
    if options.png:
        import plots

        plots.draw_race(options.png, outcome, f"{described['processor']}, {described['threads']} threads, float32")
    if options.html:
        import race_page

        report.write(options.html, race_page.page(outcome, described).encode())
    return int(any(runner.wrong for runner in outcome.runners))


def _options() -> argparse.Namespace:
    result = cli.race_parser(__doc__ or "", rounds=9)
    result.epilog = EPILOGUE
    result.add_argument("operation", nargs="?", metavar="KERNEL[:CASE]", help="a kernel of the contract, as "
                        "conv2d_forward, and behind a colon one of the benchmarks' cases")  # fmt: skip
    result.add_argument("--list", action="store_true", help="print the cases, of this kernel or of all")
    cli.add_device(result, "auto")
    result.add_argument("--patience", type=_seconds, default=PATIENCE, metavar="S", help="seconds for each contender: "
                        "who needs more for all rounds gets fewer, and NumPy is stopped in its first call (default: "
                        "%(default)g)")  # fmt: skip
    result.add_argument("--png", type=lambda text: cli.drawn_path(text, (".png",), "matplotlib", "plots"),
                        metavar="PATH", help="draw times, errors and roofline (needs matplotlib)")  # fmt: skip
    result.add_argument("--html", type=lambda text: cli.drawn_path(text, (".html",), "jinja2", "study"),
                        metavar="PATH", help="write a page with all of it, one file (needs jinja2)")  # fmt: skip
    shape = result.add_argument_group("shape")
    shape.add_argument("--shape", type=_shape, metavar="NxHxWxC", help="of x, in both directions")
    shape.add_argument("--filters", type=cli.positive, metavar="O", help="of a convolution")
    shape.add_argument("--outputs", type=cli.positive, metavar="O", help="of a fully connected layer; rows and "
                       "columns that adaptive pooling leaves")  # fmt: skip
    shape.add_argument("--kernel", type=cli.positive, metavar="K", help="side of the window")
    shape.add_argument("--stride", type=cli.positive, metavar="S", help="default: 1, of pooling K")
    shape.add_argument("--padding", type=_not_negative, metavar="P", help="on all four sides (default: 0)")
    shape.add_argument("--dilation", type=cli.positive, metavar="D", help="default: 1")
    shape.add_argument("--groups", type=cli.positive, metavar="G", help="default: 1")
    options = result.parse_args()
    if not options.operation and not options.list:
        result.error("which kernel? --list shows all of them with their cases")
    return options


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(cli.positive(size) for size in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected sizes such as 32x56x56x64, got {text!r}") from None


def _not_negative(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


def _case(options: argparse.Namespace) -> Any:
    """What the command line names; ends the script with a sentence where it names nothing."""
    import race_cases

    try:
        return race_cases.chosen(options.operation, options)
    except race_cases.Unknown as error:
        sys.exit(report.filled(str(error)))


def _list(operation: str | None) -> int:
    import race_cases

    from minicnn.kernels import reference

    kernels = [name for name in reference.__all__ if operation in (None, name)]
    if not kernels:
        sys.exit(report.filled(race_cases.no_kernel(str(operation))))
    print("\n".join(f"{kernel}:{name}" for kernel in kernels for name in race_cases.names(kernel)))
    return 0


def _raced(case: Any, options: argparse.Namespace) -> Any:
    """Measure the machine's limits and the case, saying what is under way."""
    import race_run
    import roofs

    with_torch = cli.has_torch(options)
    if options.device == "cuda":
        import gpu_roofs
        import gpu_settings

        gpu_settings.require()
    print(f"{case.name}\n", flush=True)
    limits = {"cpu": roofs.measure(options.threads, options.quick)}
    if options.device == "cuda":
        limits["cuda"] = gpu_roofs.measure(with_torch).roofs()["float32"]
    pace = Pace(options.rounds, burst=0.002, patience=0, calls=1) if options.quick else Pace(options.rounds)
    try:
        return race_run.run(case, pace, limits, with_torch, options.patience)
    except MemoryError as error:
        sys.exit(report.filled(f"{case.name} is too large for this machine's memory: {error}"))


def _machine(options: argparse.Namespace, outcome: Any) -> dict[str, Any]:
    described = report.machine(options.threads)
    if "cuda" in outcome.limits:
        import gpu_settings

        described |= report.gpu() | gpu_settings.describe_torch(gpu_settings.torch_device(options))
    return described


if __name__ == "__main__":
    sys.exit(main())
