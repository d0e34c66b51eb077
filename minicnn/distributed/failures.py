"""What happens when a rank fails: the others would wait for it, so the whole job ends, and says which it was."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from .communicator import Communicator
from .launching import MPICH, Place

# Variables with the open files by which MPICH's mpiexec sees that a process has ended.
CONTROL = ("PMI_FD", "HYDI_CONTROL_FD")
WATCH = """
trap '' INT
say() { sleep 1; echo "$0 $1" >&2; sleep 1; [ $left = group ] && kill -KILL 0; exit; }
left=$2
read started || say "ended while MPI started: another rank did not come to mc.distributed.init within $1 s, or it was \
killed"
[ "$started" = end ] || read end || say "ended without a word: it was killed, as Linux does when memory runs out, or \
crashed"
"""


def end_with_name(ranks: Communicator) -> None:
    """From now on an exception that nothing catches, in any thread, is printed and then ends all ranks."""
    show, show_of_thread = sys.excepthook, threading.excepthook

    def end(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        show(kind, error or kind(), trace)
        ranks.abort(sentence(kind, error))

    def end_of_thread(arguments: threading.ExceptHookArgs) -> None:
        show_of_thread(arguments)
        if arguments.exc_type is not SystemExit:
            ranks.abort(sentence(arguments.exc_type, arguments.exc_value))

    sys.excepthook, threading.excepthook = end, end_of_thread


def sentence(kind: type[BaseException], error: BaseException | None) -> str:
    """An exception as a line says it: "Kind: message"."""
    said = str(error) if error is not None else ""
    return f"{kind.__name__}: {said}" if said else kind.__name__


def kill_rank() -> None:
    """End this process by SIGKILL, and with it what it has forked, for which mpiexec would wait."""
    if _leads_group():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def _leads_group() -> bool:
    """Whether this process's group is its own, as MPICH's mpiexec starts ranks; else a shell may be in it too."""
    return os.getpgrp() == os.getpid()


class Watcher:
    """A small process beside a rank that says its name if it is killed, when the rank itself can say nothing: while MPI
    starts, and as long as it `speaks`, also later.

    MPICH's mpiexec names only the process, and at once kills all the others, so that none of them could tell. But it
    takes a process for ended only when the files by which it speaks with it are closed: the watcher holds them open
    until it has spoken. It notices the end of the rank by the end of its input. Other launchers name a rank that is
    killed, and a watcher is not needed once MPI has started.

    What a rank has forked outlives it, and mpiexec would wait for the end of that: of ranks that live it kills whole
    process groups, of one that is dead the watcher does.
    """

    def __init__(self, here: Place, timeout: float) -> None:
        self.speaks = here.launcher == MPICH
        files = [int(os.environ[name]) for name in CONTROL if name in os.environ]
        name = f"rank {here.rank} (process {os.getpid()} on {os.environ.get('PMI_HOSTNAME', platform.node())})"
        command = ["/bin/sh", "-c", WATCH, name, f"{timeout:g}", "group" if _leads_group() else "alone"]
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=files)
        os.register_at_fork(after_in_child=self._forget)

    def says_started(self) -> None:
        """MPI has started."""
        if self.speaks:
            self._tell("started")
        else:
            self.dismiss()

    def dismiss(self) -> None:
        """The rank ends by itself, and has said what there is to say."""
        self._tell("end")
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def _forget(self) -> None:
        """In a process that the rank has forked, such as a worker of multiprocessing: it may outlive the rank, whose
        end the watcher would not notice while its input is open there."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process = None

    def _tell(self, word: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.write(f"{word}\n".encode())
                self._process.stdin.flush()
            except BrokenPipeError:  # it was killed
                self._process = None


@contextmanager
def ended_after(timeout: float) -> Iterator[None]:
    """A call into a library that waits for other ranks, and cannot be given a limit: after `timeout` seconds this
    process ends. The library may hold Python's lock meanwhile, so the system has the clock."""
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)  # which ends the process
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
