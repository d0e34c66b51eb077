"""Every kernel of the contract, reference room against cpu room, and against PyTorch where it has the operation.

The fast room has to be worth its code on every shape: a row holds where cpu takes at most 1.05 times as long as the
reference, or at most 20 microseconds longer. Rows that do not hold are marked, listed again at the end, and with
--strict they make the exit status 1. A row that does not hold at first is measured once more, with three times the
rounds, and the second measurement counts (not with --quick, whose figures show only that it runs).

Matrix products and convolutions have a line for each contender below their row, the convolution's algorithms by name
among them. The convolutions of whole networks are too many for the slow reference: they are raced against PyTorch.

With --device cuda the cuda room is raced against PyTorch on the GPU, cuBLAS and the cpu room, on more and larger
shapes, and compared with the limits of the card: no row holds or fails there. PyTorch's convolutions race with its
autotuner (torch.backends.cudnn.benchmark) off, and as "tuned" with it on. The file of --json is written row by row: a
run that was cut off goes on with --add. A row whose contenders disagree or fail is named with the reason, and the
others are measured; the exit status is 1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

import cli
import plots
import report
from harness import Pace

WIDTHS = (25, 8, 8, 7, 8, 8, 7, 1)
HEAD = ("shape", "ref", "cpu", "cpu/ref", "nchw", "nhwc", "cpu/tor", "")
DETAILS = ("  contender", "time", "GFLOP/s", "of peak", "error", "ulps", "", "")
MEAN_WIDTHS = (38, 6, 9, 9, 9)
MEANS = ("geometric means", "rows", "cpu/ref", "cpu/torch", "of peak")
EPILOGUE = """\
columns:
  ref, cpu, nchw, nhwc    median time of a call; nchw and nhwc are PyTorch in
                          its default memory layout and in channels_last; the
                          conversion is not timed. What knows no layout stands
                          below nchw.
  cpu/ref, cpu/tor        median over the rounds of the ratio of times; below 1
                          the cpu room is faster. Of PyTorch's layouts the
                          faster one counts.
  !                       the row does not hold
  GFLOP/s                 10**9 multiplications and additions a second, counted
                          as the plain sums have them
  of peak                 share of what all threads can do together on numbers
                          in their first-level caches, measured at the start
  error                   largest difference from the same sums in float64,
                          over the largest number
  ulps                    median difference, in units of the last binary digit

columns with --device cuda:
  cpu, cuda, torch        median time of a call; torch: PyTorch's fastest
  cpu/cu, cu/tor          ratios of times
  GB/s                    bytes of all arguments and results over the time
  limit                   share of what the card does at best, measured at the
                          start: the time that the operations need, or the
                          bytes, if that is longer. What a cache holds may
                          exceed 100 %, and float32 made of three TF32 products
                          too.
  tf32                    factors have 10 binary digits behind the point; of
                          PyTorch's flags cudnn.allow_tf32 and
                          cuda.matmul.allow_tf32 both are on there, and off
                          in the lines without

means:
  short                   calls that PyTorch does in less than 10 microseconds;
                          with --device cuda: whose limit is less than that
  throughput over         with --device cuda: that of the cuda room over the
                          other's, above 1 where the cuda room is faster; nchw
                          and nhwc: PyTorch in its default layout and in
                          channels_last, torch: its fastest, cublas: cuBLAS (by
                          way of CuPy)
  share of the copy's     of kernels that compute little, on arrays that no
  GB/s                    cache holds: their GB/s over those of a copy

shapes:
  128x14x14x6->16 5x5     images N x H x W x C, filters, window; s2: stride 2,
                          g144: 144 groups, d2: dilation 2
  128x400->120            N x inputs -> outputs

examples:
  python benchmarks/bench_kernels.py --list               names of all rows
  python benchmarks/bench_kernels.py -k conv2d_forward    rows that contain that
  python benchmarks/bench_kernels.py -k pool -k 224x224   rows with one of both
  python benchmarks/bench_kernels.py -k resnet18 -k resnet50 -k vgg16
  python benchmarks/bench_kernels.py -k vgg16 --roofline vgg16.png
  python benchmarks/bench_kernels.py --device cuda -k resnet50-b64 --json a.json
  python benchmarks/bench_kernels.py --device cuda --json a.json --add
                                                all that the file lacks
"""


def main() -> int:
    """Read the options, measure, print, write. Returns the exit status."""
    options = _options()
    cli.start(options)
    chosen = [
        case
        for case in _cases(options.device)
        if not options.kernel or any(part in case.name for part in options.kernel)
    ]
    if not chosen:
        sys.exit(f"no kernel or shape contains {' or '.join(options.kernel)}: see --list")
    if options.list:
        print("\n".join(case.name for case in chosen))
        return 0
    if options.roofline and not any(case.multiply_adds for case in chosen):
        sys.exit("--roofline shows matrix products and convolutions: choose one of them too")
    if options.device == "cuda":
        import gpu_kernels

        return gpu_kernels.run(options, chosen)
    import roofs

    limits = roofs.measure(options.threads, options.quick)
    from kernel_rows import groups, ratios

    rows = _measured(chosen, options, limits.peak)
    described = report.machine(options.threads)
    means = _means(rows)
    print(f"\n{report.table(MEANS, [_mean_cells(mean) for mean in means], MEAN_WIDTHS)}")
    print(f"\npeak {limits.peak / 1e9:.0f} GFLOP/s, memory {limits.bandwidth / 1e9:.1f} GB/s")
    print(f"\n{report.describe(described)}\n\n{_verdict(rows)}")
    if options.json:
        settings = {"rounds": options.rounds, "quick": options.quick}
        content = {"machine": described, "settings": settings, "peak GFLOP/s": limits.peak / 1e9,
                   "memory GB/s": limits.bandwidth / 1e9, "means": means,
                   "rows": [row.as_json() for row in rows]}  # fmt: skip
        report.write_json(options.json, content)
    title = f"{described['processor']}, {described['threads']} threads, {described['precision']}"
    if options.plot:
        plots.draw_ratios(options.plot, {name: ratios(group) for name, group in groups(rows).items()}, title)
    if options.roofline:
        plots.draw_roofline(options.roofline, _points(rows), {"roofs": limits}, title)
    return 1 if options.strict and not all(row.holds for row in rows) else 0


def _options() -> argparse.Namespace:
    result = cli.parser(__doc__ or "", rounds=5)
    result.epilog = EPILOGUE
    result.add_argument("-k", "--kernel", action="append", metavar="TEXT", help="only rows whose kernel, shape or "
                        "network contains TEXT; may be given again for more")  # fmt: skip
    result.add_argument("--list", action="store_true", help="print the names of the rows and measure nothing")
    cli.add_device(result)
    result.add_argument("--precision", default="both", choices=["float32", "tf32", "both"], help="of products on a GPU "
                        "(default: both)")  # fmt: skip
    cli.add_add(result)
    result.add_argument("--strict", action="store_true", help="exit with status 1 where a row does not hold")
    result.add_argument("--roofline", type=cli.plot_path, metavar="PATH", help="draw speed over arithmetic "
                        "intensity below the roofs of this machine")  # fmt: skip
    options = result.parse_args()
    cli.check_add(result, options)
    return options


def _cases(device: str) -> list[Any]:
    if device == "cuda":
        from gpu_cases import cases
    else:
        from kernel_cases import cases
    return cases()


def _measured(chosen: list[Any], options: argparse.Namespace, peak: float) -> list[Any]:
    """Measure the cases one by one, printing each row as it comes."""
    from kernel_rows import measure

    pace = Pace(options.rounds, burst=0.002, patience=0, calls=1) if options.quick else Pace(options.rounds)
    rows: list[Any] = []
    for case in chosen:
        if not rows or rows[-1].case.kernel != case.kernel:
            print(f"\n{case.kernel}\n{report.table_line(HEAD, WIDTHS)}")
            if case.multiply_adds:
                print(report.table_line(DETAILS, WIDTHS))
        rows.append(measure(case, pace, peak, cli.has_torch(options), 1 if options.quick else 2))
        details = [(*line, "", "") for line in rows[-1].details()]
        print(report.table(rows[-1].cells(), details, WIDTHS), flush=True)
    return rows


def _means(rows: list[Any]) -> list[dict[str, Any]]:
    """For each group its geometric means: of the ratios, and of the share of the peak."""
    from kernel_rows import groups, mean_ratios

    means = []
    for name, group in groups(rows).items():
        mean: dict[str, Any] = {"rows": name, "count": len(group), **mean_ratios(group)}
        if group[0].case.multiply_adds:
            mean["of peak"] = statistics.geometric_mean(row.speed("cpu") / row.peak for row in group)
        means.append(mean)
    return means


def _mean_cells(mean: dict[str, Any]) -> tuple[str, ...]:
    ratios = [report.times(mean[key]) if key in mean else "-" for key in ("cpu/reference", "cpu/torch")]
    return mean["rows"], str(mean["count"]), *ratios, f"{100 * mean['of peak']:.0f} %" if "of peak" in mean else "-"


def _points(rows: list[Any]) -> dict[str, list[tuple[str, float, float]]]:
    """Of products and convolutions (kernel, operations a byte, operations a second): see plots.draw_roofline."""
    points: dict[str, list[tuple[str, float, float]]] = {"cpu room": [], "PyTorch": []}
    for row in rows:
        for label, name in (("cpu room", "cpu"), ("PyTorch", row.torch)):
            if row.case.multiply_adds and name:
                intensity = 2 * row.case.multiply_adds / (4 * row.case.numbers)
                points[label].append((row.case.kernel, intensity, row.speed(name)))
    return points


def _verdict(rows: list[Any]) -> str:
    """The rows that do not hold, and how many do."""
    raced = [row for row in rows if "cpu/reference" in row.ratios]
    failed = [row for row in raced if not row.holds]
    lines = [
        f"! {row.case.name}: {report.times(row.ratios['cpu/reference'])}, {report.duration(row.slower)} slower"
        for row in failed
    ]
    lines.append(
        f"{len(raced) - len(failed)} of {len(raced)} rows hold (cpu takes at most 1.05 times as long as the "
        f"reference, or at most 20 us longer); {len(failed)} do not; {sum(row.again for row in rows)} were measured "
        "again."
    )
    return "\n".join(map(report.filled, lines))


if __name__ == "__main__":
    sys.exit(main())
