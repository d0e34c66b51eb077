"""Contenders in a process of their own: PyTorch with its autotuner on.

What PyTorch has once picked for a convolution, by a heuristic or by trying all algorithms, it keeps for that shape
until the process ends, whatever torch.backends.cudnn.benchmark says later. So the two cannot race each other in one
process. The other one waits for its turn, and takes its own time: what is sent between the two is not timed.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from functools import partial
from typing import Any

import harness
from harness import Contender, Pace

Kept = dict[str, Any]


class Elsewhere:
    """The process; it ends with this one. `begin` and its arguments are what is asked of it first (see `ask`)."""

    def __init__(self, begin: Callable[..., Any], *arguments: Any) -> None:
        self._begin = begin, arguments
        self._line: Any = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a GPU that is in use does not survive a fork
        self._line, other = context.Pipe()
        context.Process(target=_serve, args=(other,), daemon=True).start()
        other.close()
        begin, arguments = self._begin
        self.ask(begin, *arguments)

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """function(kept, *arguments), called there; `kept` is a dict that stays from call to call.

        Raises RuntimeError with what the function raised, or where the process has ended; then the next call starts
        another one, which has kept nothing.
        """
        if self._line is None:
            self._start()
        try:
            self._line.send((function, arguments))
            answer, trouble = self._line.recv()
        except (EOFError, OSError) as error:
            self._line = None
            raise RuntimeError("the process of PyTorch's autotuner has ended") from error
        if trouble:
            raise RuntimeError(trouble)
        return answer

    def contender(self, name: str) -> Contender:
        """The one that was kept there under this name."""
        return Contender(partial(self.ask, _first, name), timed=partial(self.ask, _burst, name))


def _serve(line: Any) -> None:
    """Answer until nobody asks any more."""
    kept: Kept = {}
    while True:
        try:
            function, arguments = line.recv()
        except EOFError:
            return
        try:
            answer = function(kept, *arguments), ""
        except Exception as error:  # whatever it is: who asked is told
            answer = None, f"{type(error).__name__}: {error}"
        line.send(answer)


def _first(kept: Kept, name: str) -> Any:
    return kept[name].first()


def _burst(kept: Kept, name: str, pace: Pace) -> float:
    return harness.burst(kept[name], pace)
