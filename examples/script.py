"""What all scripts beside this file share: minicnn itself, the options for the device, faults as one sentence."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

try:
    import minicnn as mc
except ImportError as error:
    sys.exit(
        str(error)
        if "checkout" in str(error)
        else f"{error}: install minicnn first, with `pip install -e .` in the folder above examples/"
    )


def option_parser(docstring: str | None) -> argparse.ArgumentParser:
    """A parser that opens its help with a script's first lines, and ends it with the others."""
    description, _, rest = (docstring or "").partition("\n\n")
    return argparse.ArgumentParser(
        description=description, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )


class EpochLine(mc.train.Callback):
    """Prints what came of each epoch where nobody sees the Trainer's bar: in a log, or under mpiexec."""

    @mc.train.only_looks
    def on_epoch_end(self, trainer: mc.Trainer, record: Mapping[str, float]) -> None:
        if trainer.is_main and not sys.stderr.isatty():
            right, tests = 100 * record["accuracy"], 100 * record["val_accuracy"]
            print(f"epoch {trainer.epoch}: loss {record['loss']:.4f}, accuracy {right:.2f} %, "
                  f"on the test {tests:.2f} %, {record['seconds']:.1f} s", flush=True)  # fmt: skip


def add_device(parser: argparse.ArgumentParser) -> None:
    """The option --device; see `chosen_device`."""
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to compute: cuda is "
                        "an NVIDIA GPU; auto takes one if it can be used (default: auto)")  # fmt: skip


def add_precision(parser: argparse.ArgumentParser) -> None:
    """The option --precision; see `set_precision`."""
    parser.add_argument("--precision", default="float32", choices=["float32", "tf32", "float16"], help="on a GPU: tf32 "
                        "rounds the factors of products to 10 binary digits, float16 is mixed precision, with half the "
                        "memory for images and what is made of them (default: float32)")  # fmt: skip


def chosen_device(device: str) -> str:
    """ "cpu" or "cuda", of what --device says."""
    if device != "auto":
        return device
    return "cuda" if mc.cuda_available() else "cpu"


def set_precision(precision: str, device: str) -> None:
    """Round the factors of products on a GPU, or do not, as --precision says; ValueError for less on the CPU."""
    if device == "cpu" and precision != "float32":
        raise ValueError(f"--precision {precision} is for a GPU, and this is the device cpu: use float32")
    mc.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def storage(precision: str) -> str:
    """The Trainer's precision, of what --precision says: TF32 is a matter of the products alone."""
    return "float16" if precision == "float16" else "float32"


def need_matplotlib() -> None:
    """ImportError where it is missing: said at the beginning, and not when a training is done."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError('the pictures need matplotlib: pip install "minicnn[plots]"')


@contextmanager
def faults_in_one_sentence(script: str) -> Iterator[None]:
    """End the script with a sentence for every fault that its user can make. script: its __file__."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError, OSError, ImportError, MemoryError) as error:
        sys.exit(f"{Path(script).name}: {error}")
