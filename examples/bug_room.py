"""The bug room: one line of the engine is wrong. Which?

    python examples/bug_room.py

puts one of ten famous bugs into the engine, drawn at random, tells what people
complain about who have it, and opens a Python prompt in that engine. Find it,
with mc.gradcheck or an experiment of your own:

    >>> mc.gradcheck(lambda x: F.max_pool2d(x, 2), [normal(1, 6, 6, 1)])

hint() says a little more each time, solve() tells all: what it was, where the
right line stands, and which check shows it. The same from outside the prompt:

    python examples/bug_room.py --list                the ten complaints
    python examples/bug_room.py --bug 3               the prompt, with bug 3
    python examples/bug_room.py --bug 3 --script my_experiment.py
    python examples/bug_room.py --bug 3 --hint        all hints
    python examples/bug_room.py --bug 3 --solve

The bug lives in this one process. No file of the engine is changed.
"""

import argparse
import code
import random
import runpy
import textwrap
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import script

import minicnn as mc
from minicnn import data, models, nn, optim
from minicnn import functional as F
from minicnn.study.bug_room import BUGS, Bug, normal

WIDTH = 80


def parse_arguments() -> argparse.Namespace:
    """What is to be done, with which bug."""
    parser = script.option_parser(__doc__)
    parser.add_argument("--bug", type=int, choices=range(1, len(BUGS) + 1), metavar="N",
                        help=f"which, from 1 to {len(BUGS)} (default: drawn at random)")  # fmt: skip
    doing = parser.add_mutually_exclusive_group()
    doing.add_argument("--list", action="store_true", help="what people complain about, bug by bug")
    doing.add_argument("--script", metavar="FILE", help="run this Python file in the engine with the bug")
    doing.add_argument("--hint", action="store_true", help="where to look")
    doing.add_argument("--solve", action="store_true", help="what it was, and which check shows it")
    settings = parser.parse_args()
    if settings.bug is None and (settings.script or settings.hint or settings.solve):
        parser.error("say which bug is meant, with --bug N")
    if settings.script and not Path(settings.script).is_file():
        parser.error(f"--script expected a Python file, and there is no {settings.script}")
    return settings


def paragraph(text: str, indent: int = 0, first: str = "") -> str:
    """Text in lines of 80 columns; `first` stands in the indentation of the first one."""
    return textwrap.fill(text, WIDTH, initial_indent=first.rjust(indent), subsequent_indent=" " * indent)


def complaints() -> str:
    """All of them, numbered."""
    return "\n\n".join(paragraph(bug.complaint, 4, f"{number}. ") for number, bug in enumerate(BUGS, 1))


def hints(bug: Bug) -> str:
    """All of them, the vaguest first."""
    return "\n".join(paragraph(hint, 3, f"{number}. ") for number, hint in enumerate(bug.hints, 1))


def solution(bug: Bug) -> str:
    """What it was, where the right line stands, and the check that shows it, tried out with the bug and without."""
    says = textwrap.indent(bug.symptom(), "  | ", lambda line: True)
    bug.check()  # on the whole engine it must pass, or the next line would be a lie
    parts = [
        f"Bug {BUGS.index(bug) + 1}: {bug.title}",
        paragraph(bug.explanation, 2),
        f"  {bug.place()} has\n\n{long_line(bug.right)}\n\n  where the bug had\n\n{long_line(bug.wrong)}",
        f"  The check that shows it:\n\n{textwrap.indent(bug.check_source(), '      ')}",
        f"  With the bug in the engine it says:\n\n{says}",
        "  Without it, it passes.",
    ]
    return "\n\n".join(parts)


def long_line(line: str) -> str:
    """A line of code, indented; broken where it does not fit the page."""
    return textwrap.fill(line, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 10, break_long_words=False)


class Session:
    """A Python prompt in an engine with a bug, and what can be called in it."""

    def __init__(self, bug: Bug) -> None:
        self.bug, self.hints_given, self.bug_room = bug, 0, ExitStack()

    def hint(self) -> None:
        """Say a little more than the last time."""
        if self.hints_given == len(self.bug.hints):
            print("That was the last hint. solve() tells all.")
            return
        print(paragraph(self.bug.hints[self.hints_given]))
        self.hints_given += 1

    def solve(self) -> None:
        """Take the bug out of the engine, and tell all."""
        self.bug_room.close()
        print(solution(self.bug))
        print("\nIt is out of the engine now: your experiments should all be right.")

    def open(self) -> None:
        """The prompt; the bug is gone when it is left."""
        banner = "\n".join([
            "One line of the engine is wrong now. Somebody complains:", "",
            paragraph(self.bug.complaint, 4), "",
            paragraph("Find it: mc, np, nn, F, optim, models, data and normal(*shape) are at hand. hint() helps, "
                      "solve() tells, Ctrl-D leaves."),
        ])  # fmt: skip
        names = {"mc": mc, "np": np, "nn": nn, "F": F, "optim": optim, "models": models, "data": data,
                 "normal": normal}  # fmt: skip
        with self.bug_room:
            self.bug_room.enter_context(self.bug.injected())
            code.interact(
                banner, local={**names, "hint": self.hint, "solve": self.solve}, exitmsg="The engine is whole."
            )


def main() -> None:
    settings = parse_arguments()
    bug = random.choice(BUGS) if settings.bug is None else BUGS[settings.bug - 1]
    if settings.list:
        print(complaints())
    elif settings.hint:
        print(hints(bug))
    elif settings.solve:
        print(solution(bug))
    elif settings.script:
        with bug.injected():
            runpy.run_path(settings.script, run_name="__main__")
    else:
        Session(bug).open()


if __name__ == "__main__":
    main()
