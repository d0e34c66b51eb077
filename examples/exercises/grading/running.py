"""Running the tests of an exercise on a student's file, in a process of its own: it may loop, exit or crash."""

from __future__ import annotations

import faulthandler
import importlib
import importlib.util
import multiprocessing
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

import numpy as np

from .answers import Mistake

PASS, FAIL, BLANK = "pass", "FAIL", "blank"
Test = Callable[[ModuleType], None]


@dataclass(frozen=True)
class Result:
    """What came of a test: its title, PASS, FAIL or BLANK (nothing written yet), and what is to be said about it."""

    title: str
    verdict: str
    message: str = ""


class Unusable(Exception):
    """The student's file cannot be imported; no test can run."""


def tests_of(exercise: str) -> list[Test]:
    """The tests of an exercise, in the order in which they stand in its file."""
    module = importlib.import_module(f".{exercise}", __package__)
    return [value for name, value in vars(module).items() if name.startswith("test_")]


def title(test: Test) -> str:
    """The first line of its docstring."""
    return (test.__doc__ or test.__name__).splitlines()[0]


def load(path: Path) -> ModuleType:
    """The student's file as a module. Raises Unusable, which says where, for one that Python cannot run."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except SyntaxError as error:
        if error.filename != str(path):
            raise Unusable(_told(error, path)) from error
        raise Unusable(_pointed_at(error)) from error
    except BaseException as error:
        raise Unusable(_told(error, path)) from error
    return module


def run_test(test: Test, student: ModuleType, path: Path) -> Result:
    """One test, in this process."""
    try:
        with np.errstate(all="ignore"):  # what overflows shows in the values, which are compared
            test(student)
    except Mistake as mistake:
        return Result(title(test), FAIL, str(mistake))
    except NotImplementedError:
        return Result(title(test), BLANK)
    except BaseException as error:  # sys.exit() too
        return Result(title(test), FAIL, _told(error, path))
    return Result(title(test), PASS)


def grade(exercise: str, path: Path, seconds: float) -> Iterator[Result]:
    """The result of each test of an exercise, as soon as it is there; a test may take that many seconds.

    Raises Unusable for a file that cannot be imported.
    """
    tests, done = tests_of(exercise), 0
    while done < len(tests):
        for result in _in_child(exercise, done, path, seconds):
            yield result
            done += 1


def _in_child(exercise: str, first: int, path: Path, seconds: float) -> Iterator[Result]:
    """The results of the tests from `first` on, until the child has done all or died; its death is a result too."""
    receive, send = multiprocessing.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        stuck = Path(folder) / "stuck"
        arguments = (exercise, first, path, seconds, stuck, send)
        child = multiprocessing.get_context("spawn").Process(target=_child, args=arguments, daemon=True)
        child.start()
        send.close()  # now the child alone holds that end: when it dies, receiving ends
        loaded, position = False, first
        try:
            while position < len(tests_of(exercise)):
                message = receive.recv()
                if isinstance(message, Unusable):
                    raise message
                loaded = True
                if isinstance(message, Result):
                    yield message
                    position += 1
        except EOFError:
            child.join()
            death = _cause_of_death(stuck, path, seconds, child.exitcode)
            if not loaded:
                raise Unusable(death) from None
            yield Result(title(tests_of(exercise)[position]), FAIL, death)
        finally:
            child.kill()
            child.join()


def _child(exercise: str, first: int, path: Path, seconds: float, stuck: Path, send: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word: the parent speaks
    with stuck.open("w") as file:
        # Writes where Python is and ends this process, even out of a loop in C that nothing else would stop.
        faulthandler.dump_traceback_later(seconds, exit=True, file=file)
        try:
            student = load(path)
        except Unusable as error:
            send.send(error)
            return
        send.send("loaded")
        for test in tests_of(exercise)[first:]:
            faulthandler.dump_traceback_later(seconds, exit=True, file=file)
            result = run_test(test, student, path)
            sys.stdout.flush()  # what the student prints comes before the verdict
            send.send(result)
        faulthandler.cancel_dump_traceback_later()


# What is said, in words of the student's file.


def _cause_of_death(stuck: Path, path: Path, seconds: float, status: int | None) -> str:
    """Of a child that has ended without an answer: where it hung, or its exit status."""
    mark = f'File "{path}", line '
    lines = [line.partition(mark)[2] for line in stuck.read_text().splitlines() if mark in line]
    if lines:
        number = int(lines[0].split()[0])  # the innermost call comes first
        return f"no answer after {seconds:g} s, an endless loop? It was in line {number}:\n{_line(path, number)}"
    return f"Python ended without an answer, with status {status}"


def _told(error: BaseException, path: Path) -> str:
    """An exception, with the student's own line that it came from."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    number = _line_number(error, path)
    return f"{what}\nin line {number}: {_line(path, number)}" if number else what


def _line_number(error: BaseException, path: Path) -> int | None:
    """The innermost line of the student's file that the exception passed; None if it passed none."""
    numbers = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return numbers[-1] if numbers else None


def _line(path: Path, number: int) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[number - 1].strip() if number <= len(lines) else ""


def _pointed_at(error: SyntaxError) -> str:
    """A syntax error as Python shows it: the line, and a mark below the place."""
    told = "".join(traceback.format_exception_only(error)).splitlines()
    return "\n".join([f"line {error.lineno}: {told[-1]}", *told[1:-1]])
