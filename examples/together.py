"""What the training scripts beside this file do where mpiexec has started several of them: --distributed."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
from collections.abc import Iterator

import script

import minicnn as mc

TIMEOUT = 3600.0  # seconds: the others wait while rank 0 downloads, and while it reports


def add_option(parser: argparse.ArgumentParser) -> None:
    """The options --distributed and --timeout."""
    parser.add_argument("--distributed", action="store_true", help="train on all ranks together that mpiexec or srun "
                        "has started, in the manner of `mpiexec -n 4 python ...`; they share each batch")  # fmt: skip
    parser.add_argument("--timeout", type=float, default=TIMEOUT, metavar="SECONDS", help="with --distributed: how "
                        "long a rank waits for the others before it ends the job, also while rank 0 alone downloads "
                        f"or reports (default: {TIMEOUT:g})")  # fmt: skip


def ranks(settings: argparse.Namespace) -> mc.distributed.Communicator | None:
    """With --distributed the ranks of this job; scripts that do not train have no such option."""
    if not getattr(settings, "distributed", False):
        return None
    return mc.distributed.init(script.chosen_device(settings.device), settings.timeout)


@contextlib.contextmanager
def begun(settings: argparse.Namespace) -> Iterator[None]:
    """The ranks have found each other, rank 0 alone prints, and those of one machine share its cores."""
    communicator = ranks(settings)
    own = None if communicator is None else cores(communicator)  # all ranks call it, whoever has --threads
    threads = own if settings.threads is None else settings.threads
    if threads is not None:
        mc.set_threads(threads)
    if communicator is None or communicator.size == 1:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(sys.stdout if communicator.is_main else nowhere):
        try:
            yield
        except Exception as error:  # the others would wait for this rank
            communicator.abort(f"{type(error).__name__}: {error}")


def cores(communicator: mc.distributed.Communicator) -> int:
    """How many processor cores this rank has: those it is bound to, divided among the ranks bound to the same ones."""
    bound = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    place = platform.node(), sorted(bound)
    return max(1, len(bound) // communicator.gather(place).count(place))


@contextlib.contextmanager
def main_first(settings: argparse.Namespace) -> Iterator[None]:
    """What rank 0 downloads or draws the others find: they wait for it."""
    communicator = ranks(settings)
    if communicator is not None and not communicator.is_main:
        communicator.barrier()
    try:
        yield
    finally:  # if it has failed, the others fail likewise
        if communicator is not None and communicator.is_main:
            communicator.barrier()


def end_others(trainer: mc.Trainer) -> None:
    """Only rank 0 goes on from here: it reports, and the others' ends wait for its own, up to --timeout."""
    if not trainer.is_main:
        sys.exit()
