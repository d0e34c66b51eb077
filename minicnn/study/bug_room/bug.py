"""What a bug is, and how it gets into the engine and out again."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = Path(__file__).parents[2]


def normal(*shape: int) -> Any:
    """An array of that shape, normally distributed; the same one at each call."""
    return np.random.default_rng(shape).standard_normal(shape)


@dataclass(frozen=True)
class Bug:
    """A famous mistake, that one function of the engine can make.

    title: what it is. complaint: what somebody reports who has it, without a word of the cause. hints: each says more
    than the one before. explanation: why it is wrong, and why it is often not noticed.
    owner, name: the class or module, and its attribute, which `replacement` takes the place of.
    wrong: the line of the replacement that matters.
    engine, right: the function of the engine in which the right line stands, and that line.
    check: the experiment that shows it: returns on a whole engine, raises AssertionError with the bug in it.
    """

    title: str
    complaint: str
    hints: tuple[str, ...]
    explanation: str
    owner: Any
    name: str
    replacement: Callable[..., Any]
    wrong: str
    engine: Callable[..., Any]
    right: str
    check: Callable[[], object]

    @contextmanager
    def injected(self) -> Iterator[None]:
        """`with bug.injected():` the engine has this bug; behind it, after an exception too, it is whole again.

        The engine is one for the whole process: other threads that compute meanwhile have the bug as well. Arrays on a
        GPU are not served, and what was imported by name before (`from minicnn.functional import batch_norm`) stays
        as it was.
        """
        kept = vars(self.owner)[self.name]
        setattr(self.owner, self.name, self.replacement)
        try:
            yield
        finally:
            setattr(self.owner, self.name, kept)

    def place(self) -> str:
        """Where in the engine the right line stands: file and line, as they are now."""
        lines, first = inspect.getsourcelines(self.engine)
        number = first + next(k for k, line in enumerate(lines) if self.right in line)
        path = Path(inspect.getsourcefile(self.engine) or "")
        return f"{path.relative_to(PACKAGE.parent) if PACKAGE.parent in path.parents else path}:{number}"

    def check_source(self) -> str:
        """The check, as it is written, without its first line and its docstring."""
        return textwrap.dedent(inspect.getsource(self.check).partition('"""\n')[2]).rstrip()

    def symptom(self) -> str:
        """What the check says while the bug is in the engine."""
        with self.injected():
            try:
                self.check()
            except AssertionError as error:
                return str(error).strip()
        raise RuntimeError(f"the check of the bug {self.title!r} has not found it")
