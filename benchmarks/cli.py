"""The options that the benchmarks share, and as many threads as they ask for.

Nothing heavy is imported at the top: BLAS and OpenMP read the number of threads when they are loaded, so `start` must
be able to set it before NumPy is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import report

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
VARYING = ("precision", "numba threads")  # from run to run on one machine
PLOT_SUFFIXES = (".png", ".svg", ".pdf")


def plain_parser(description: str, threads: int | None = None) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark, also of one that times nothing in turns.

    threads: the default of --threads; None for all cores.
    """
    result = argparse.ArgumentParser(
        description=wrapped(description), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = "%(default)s" if threads else "%(default)s, all cores"
    result.add_argument("--threads", type=positive, default=threads or report.cores(), metavar="N",
                        help=f"threads of Numba, BLAS and PyTorch alike (default: {default})")  # fmt: skip
    return result


def parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options of every race that draws its ratios; `rounds` is the default of --rounds."""
    result = race_parser(description, rounds)
    result.add_argument("--plot", type=plot_path, metavar="PATH",
                        help="draw a picture of the results (png, svg, pdf; needs matplotlib)")  # fmt: skip
    return result


def race_parser(description: str, rounds: int, threads: int | None = None) -> argparse.ArgumentParser:
    """A parser with the options that all races share; `rounds` is the default of --rounds, `threads` of --threads."""
    result = plain_parser(description, threads)
    result.add_argument("--rounds", type=positive, metavar="N",
                        help=f"rounds of one burst a contender (default: {rounds}, with --quick 2)")  # fmt: skip
    result.add_argument("--quick", action="store_true", help="short bursts and 2 rounds: shows that it runs, no more")
    result.add_argument("--no-torch", action="store_true", help="leave PyTorch out, even where it is installed")
    result.add_argument(
        "--json", type=output_path, metavar="PATH", help="write the machine and every round to a JSON file"
    )
    result.set_defaults(default_rounds=rounds)
    return result


def wrapped(description: str) -> str:
    """Its paragraphs in lines as wide as a terminal."""
    return "\n\n".join(textwrap.fill(paragraph, report.WIDTH) for paragraph in description.split("\n\n"))


def add_device(parser: argparse.ArgumentParser, default: str = "cpu") -> None:
    """Add the option --device; the result is "cpu" or "cuda"."""
    parser.add_argument("--device", type=_device, default=default, choices=["cpu", "cuda"], metavar="{cpu,cuda,auto}",
                        help="auto is an NVIDIA GPU if there is one, else the cpu (default: %(default)s)")  # fmt: skip


def add_add(parser: argparse.ArgumentParser) -> None:
    """Add the option --add, for a GPU that may be gone in the middle of a run; see `check_add` and `earlier`."""
    parser.add_argument("--add", action="store_true", help="on a GPU, keep what the file of --json has and measure "
                        "only what it lacks: so a run that was cut off goes on")  # fmt: skip


def check_add(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the script where --add has nothing to add to."""
    if options.add and not (options.device == "cuda" and options.json):
        parser.error("--add goes with --device cuda and --json")


def earlier(options: argparse.Namespace, content: dict[str, Any]) -> dict[str, Any] | None:
    """What the file has that --add adds to; ends the script if another machine or other settings wrote it."""
    if not options.add or not options.json.exists():
        return None
    found: dict[str, Any] = json.loads(options.json.read_text())
    machines = [{k: v for k, v in each["machine"].items() if k not in VARYING} for each in (found, content)]
    if not report.same_machine(*machines) or found["settings"] != json.loads(json.dumps(content["settings"])):
        sys.exit(f"--add: {options.json} is of another machine or of other settings: give another --json")
    return found


def _device(text: str) -> str:
    if text != "auto":
        return text
    from minicnn import cuda_available

    return "cuda" if cuda_available() else "cpu"


def start(options: argparse.Namespace) -> None:
    """Give every thread pool `options.threads` threads; starts the script anew where NumPy was loaded with others."""
    wanted = {name: str(options.threads) for name in THREAD_VARIABLES}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})
    options.rounds = options.rounds or (2 if options.quick else options.default_rounds)
    set_threads(options.threads, has_torch(options))


def set_threads(threads: int, with_torch: bool) -> None:
    """Give minicnn's kernels and PyTorch so many threads; ends the script where there are not so many."""
    from minicnn import kernels

    try:
        kernels.set_threads(threads)
    except ValueError as error:
        sys.exit(f"--threads {threads}: {error}")
    if with_torch:
        import torch

        torch.set_num_threads(threads)


def has_torch(options: argparse.Namespace) -> bool:
    """Whether PyTorch takes part."""
    return not options.no_torch and find_spec("torch") is not None


def positive(text: str) -> int:
    """A whole number of at least 1, from the command line."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def output_path(text: str) -> Path:
    """A path that can be written to: better known before minutes of measuring than after."""
    path = Path(text)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} cannot be written: its folder must exist and be writable")
    return path


def plot_path(text: str) -> Path:
    """The path of a picture, from the command line."""
    return drawn_path(text, PLOT_SUFFIXES, "matplotlib", "plots")


def drawn_path(text: str, suffixes: Sequence[str], package: str, extra: str) -> Path:
    """The path of a file that ends in one of these and that a package writes, which an extra of minicnn installs."""
    if Path(text).suffix not in suffixes:
        raise argparse.ArgumentTypeError(f"{text} must end in one of {', '.join(suffixes)}")
    if find_spec(package) is None:
        raise argparse.ArgumentTypeError(f"{package} is not installed: pip install 'minicnn[{extra}]'")
    return output_path(text)
