"""One row of `bench_kernels.py --device cuda`: who races on the GPU, whether they agree, and what is kept of it.

    cpu            minicnn's cpu room, on arrays in the CPU's memory; not where a call would take it seconds
    cuda           minicnn's cuda room; cuda im2col, ..: convolution's algorithms by their names, where they serve, in
                   the first of the precisions
    cublas         CuPy's matrix product, and for a linear layer the sum with the bias, which is a kernel of its own
    torch nchw     PyTorch, in both memory layouts; plain "torch" for what knows no layout
    ... tuned      a convolution of PyTorch with its autotuner on, in a process of its own (elsewhere.py)
    ... tf32       the same with factors rounded to TF32; for matrix products and convolutions alone

All arrays are on the GPU before the clock runs, and all results are compared on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gpu_settings
import harness
import kernel_rows
import numpy as np
import report
from conv_cases import Case, each
from elsewhere import Elsewhere, Kept
from harness import Contender, Pace, Race
from kernel_rows import SHORT, Error
from roofs import Roofs
from work import bytes_of

from minicnn.device import to_device
from minicnn.kernels import cpu, cuda
from minicnn.kernels.cuda.conv2d import ALGORITHMS

Array = Any

CPU_WORK = 2e10  # multiply-adds from which on the CPU takes no part
# A factor that is rounded to TF32 is off by up to 2**-11 of itself, one that is cut off by up to 2**-10, and a product
# of two by twice that; in a sum of many the errors cancel in part. Libraries do not say which of the two they do.
TOLERANCES = {"float32": kernel_rows.TOLERANCE, "tf32": 2.0**-9}
ENDS = {"float32": "", "tf32": " tf32"}  # of the contenders' names
LAYOUTS = ("torch nchw", "torch nhwc", "torch nchw tuned", "torch nhwc tuned")


@dataclass(frozen=True)
class Field:
    """Who takes part: products in these precisions, PyTorch on this device or not at all, and where it is tuned."""

    precisions: tuple[str, ...]
    torch: str | None
    tuned: Elsewhere | None = None


@dataclass(frozen=True)
class GpuRow:
    """What was measured of one case; moved: bytes of all arguments and results; limits: of "cpu", "float32", "tf32"."""

    case: Case
    race: Race
    errors: dict[str, Error]
    moved: int
    limits: Mapping[str, Roofs]

    @property
    def ours(self) -> str:
        """The contender that the table shows: the cuda room, in float32 if that was asked for."""
        return next(name for name in ("cuda", "cuda tf32") if name in self.race.bursts)

    def torch(self, end: str) -> str | None:
        """The fastest of PyTorch's; end: "" or " tf32"."""
        layouts = [name for name in ("torch", *LAYOUTS) if f"{name}{end}" in self.race.bursts]
        return min((f"{name}{end}" for name in layouts), key=self.race.seconds, default=None)

    @property
    def ratios(self) -> dict[str, float]:
        """Time of the cuda room over those of the others in its precision ("torch": PyTorch's fastest)."""
        found = {}
        for end in ENDS.values():
            names = {f"{label}{end}": f"{label}{end}" for label in (*LAYOUTS, "cublas")}
            for label, other in {f"torch{end}": self.torch(end), **names}.items():
                if f"cuda{end}" in self.race.bursts and other in self.race.bursts:
                    found[f"cuda{end}/{label}"] = self.race.ratio(f"cuda{end}", other)
        if "cpu" in self.race.bursts:
            found[f"cpu/{self.ours}"] = self.race.ratio("cpu", self.ours)
        return found

    def limit(self, name: str) -> float:
        """Seconds that the contender needs at least, to compute or to move the bytes."""
        roofs = self.limits["cpu" if name == "cpu" else _precision(name)]
        return roofs.seconds(2 * self.case.multiply_adds, self.moved)

    def share(self, name: str) -> float:
        """Of its limit, what the contender reaches; of arrays that a cache holds it may be more than 1."""
        return self.limit(name) / self.race.seconds(name)

    @property
    def short(self) -> bool:
        """Whether it says more of calls than of kernels: the GPU could be done before Python asks again."""
        return self.limit(self.ours) < SHORT

    def bandwidth(self, name: str) -> float:
        """Bytes a second, each argument read once and each result written once."""
        return self.moved / self.race.seconds(name)

    def speed(self, name: str) -> float:
        """Floating-point operations a second, as kernel_rows.Row counts them."""
        return 2 * self.case.multiply_adds / self.race.seconds(name)

    def cells(self) -> tuple[str, ...]:
        """The row as the table shows it."""
        torch = self.torch(ENDS[_precision(self.ours)])
        keys = f"cpu/{self.ours}", f"{self.ours}/torch{ENDS[_precision(self.ours)]}"
        ratios = [report.times(self.ratios[key]) if key in self.ratios else "-" for key in keys]
        cpu, ours, theirs = (self._time(name) for name in ("cpu", self.ours, torch))
        return self.case.shape, cpu, ours, ratios[0], *self._shares(self.ours), theirs, ratios[1]

    def details(self) -> Iterator[tuple[str, ...]]:
        """For a matrix product or convolution a line for each contender: time, speed, share of the limit, errors."""
        for name, error in self.errors.items():
            speed = f"{self.speed(name) / 1e12:.3g}"
            errors = f"{error.relative:.1e}", f"{error.ulps:.2f}" if error.ulps < 1000 else "> 999"
            yield f"  {name}", self._time(name), speed, "", *self._shares(name), *errors

    def _shares(self, name: str) -> tuple[str, str]:
        """Bandwidth in GB/s, and share of the limit."""
        return f"{self.bandwidth(name) / 1e9:.0f}", f"{100 * self.share(name):.0f} %"

    def _time(self, name: str | None) -> str:
        return report.duration(self.race.seconds(name)) if name in self.race.bursts else "-"

    def as_json(self) -> dict[str, Any]:
        """The row as the JSON file keeps it."""
        contenders = self.race.as_json()
        for name, kept in contenders.items():
            kept |= {"GB/s": self.bandwidth(name) / 1e9, "of limit": self.share(name)}
        for name, error in self.errors.items():
            contenders[name] |= {"TFLOP/s": self.speed(name) / 1e12, "error": error.relative, "ulps": error.ulps}
        return {
            "kernel": self.case.kernel,
            "shape": self.case.shape,
            "networks": self.case.networks,
            "multiply-adds": self.case.multiply_adds,
            "bytes": self.moved,
            "short": self.short,
            "contenders": contenders,
            "ratios": self.ratios,
        }


def measure(case: Case, pace: Pace, limits: Mapping[str, Roofs], field: Field) -> GpuRow:
    """Race all contenders. Raises harness.Disagreement where they do not compute the same."""
    arguments = case.arguments(np.random.default_rng(0))
    tolerance = lambda name: TOLERANCES[_precision(name)]  # noqa: E731
    agree = kernel_rows.Exact(case, arguments, tolerance) if case.multiply_adds else kernel_rows.Alike()
    results: dict[str, Any] = {}

    def compare(first: dict[str, Any]) -> None:
        agree(first)
        results.update(first)

    race = harness.race(dict(contenders(case, arguments, field)), pace, compare)
    result = next(results[name] for name in results if name.startswith("cuda"))
    return GpuRow(case, race, agree.errors, bytes_of(arguments) + bytes_of(result), limits)


def contenders(case: Case, arguments: tuple[Any, ...], field: Field) -> Iterator[tuple[str, Contender]]:
    """Everybody that can do this, with arrays of its own where they are written into."""
    if case.multiply_adds < CPU_WORK:
        yield "cpu", kernel_rows.in_room(cpu, case, arguments)
    there = on_gpu(arguments)
    layouts: dict[str, Contender] = {}
    if field.torch:
        from kernel_torch import counterparts

        layouts = counterparts(case, arguments, field.torch)
    for precision in field.precisions if case.multiply_adds else ("float32",):
        prepare = partial(gpu_settings.set_precision, precision, field.torch is not None)
        known = dict(by_library(case, there)) | {f"torch {name}".rstrip(): its for name, its in layouts.items()}
        if precision == field.precisions[0]:
            known |= dict(_algorithms(case, there))
        for name, contender in known.items():
            yield f"{name}{ENDS[precision]}", replace(contender, prepare=prepare)
    if field.tuned and case.kernel.startswith("conv2d"):
        for name in field.tuned.ask(tune, case.name, field.precisions, field.torch):
            yield name, field.tuned.contender(name)


def tune(kept: Kept, name: str, precisions: tuple[str, ...], device: str) -> list[str]:
    """Keep the convolution of that name in PyTorch's layouts, in the process where its autotuner is on; their names."""
    import gpu_cases
    from kernel_torch import counterparts

    kept.clear()
    gpu_settings.give_back_torch(device)
    case = next(case for case in gpu_cases.cases() if case.name == name)
    layouts = counterparts(case, case.arguments(np.random.default_rng(0)), device)
    for precision in precisions:
        prepare = partial(gpu_settings.set_torch_precision, precision)
        for layout, contender in layouts.items():
            kept[f"torch {layout} tuned{ENDS[precision]}"] = replace(contender, prepare=prepare)
    return list(kept)


def on_gpu(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments, with copies of all arrays on the GPU."""
    return tuple(each(a, lambda a: to_device(a, "cuda")) for a in arguments)


def by_library(case: Case, arguments: tuple[Any, ...]) -> Iterator[tuple[str, Contender]]:
    """The cuda room and cuBLAS, on arrays that are on the GPU."""
    kernel, written = getattr(cuda, case.kernel), case.written(arguments)
    yield "cuda", waited_for(lambda: kernel(*arguments), written)
    if case.kernel in _CUBLAS:
        yield "cublas", waited_for(partial(_CUBLAS[case.kernel], *arguments))


def _algorithms(case: Case, arguments: tuple[Any, ...]) -> Iterator[tuple[str, Contender]]:
    """A convolution's, by their names."""
    kernel = getattr(cuda, case.kernel)
    for algorithm, by_name in kernel_rows.by_algorithm(case, arguments, ALGORITHMS):
        if kernel_rows.accepts(kernel, by_name):
            yield f"cuda {algorithm}", waited_for(partial(kernel, *by_name))


def waited_for(call: Callable[[], Any], written: tuple[Array, ...] = ()) -> Contender:
    """What asks the GPU for its results, or for those in the arrays `written`."""
    return Contender(call, lambda result: _here(written or result), gpu_settings.finish)


def _here(result: Any) -> Any:
    return tuple(map(_here, result)) if isinstance(result, tuple) else to_device(result, "cpu")


def _linear_forward(x: Array, w: Array, b: Array, activation: None) -> Array:
    y = x @ w
    y += b
    return y


_CUBLAS: dict[str, Callable[..., Array]] = {
    "linear_forward": _linear_forward,
    "linear_backward_input": lambda dy, w: dy @ w.T,
    "linear_backward_weight": lambda dy, x: x.T @ dy,
}


def _precision(name: str) -> str:
    return "tf32" if name.endswith(ENDS["tf32"]) else "float32"
