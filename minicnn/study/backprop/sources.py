"""The code behind a step, as it stands in the files now: its Function's, and that of its kernels in the three rooms.

Which kernels a Function calls is read from its source: the names of kernels that its `forward` and `backward` mention.
What a kernel does is its function, and in turn the functions of the room that it calls; in the room `cuda` the .cu
files that it launches. Files are parsed, not imported, so that the code for a GPU is found where there is none.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from ... import kernels
from ...kernels import reference
from ...ops.conv import Conv2d
from .recording import Recording, Step

ROOMS = ("reference", "cpu", "cuda")
LINES = 150  # of one kernel in one room, about: from there on what is called by what is called is left out

_KERNELS = Path(kernels.__file__).parent
_PACKAGE = Path(__file__).parents[3]  # the folder in which `minicnn` lies


@dataclass(frozen=True)
class Source:
    """A piece of a file. path: from the repository's root, of a user's file only the name. line: where it begins."""

    title: str
    path: str
    line: int
    text: str
    language: str = "python"

    def html(self) -> str:
        """Highlighted with Pygments' short class names, without anything around it."""
        return _highlighted(self.text, self.language)


@cache
def _highlighted(text: str, language: str) -> str:
    try:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import get_lexer_by_name
    except ImportError as error:
        raise ImportError('the backprop page needs Pygments: pip install "minicnn[study]"') from error
    return str(highlight(text, get_lexer_by_name(language), HtmlFormatter(nowrap=True)))


@dataclass(frozen=True)
class Use:
    """A Source in a step. role: "forward", "backward" or "kernel"; of a kernel also its name, its room, and the
    direction that calls it."""

    source: Source
    role: str
    direction: str
    kernel: str | None = None
    room: str | None = None


def uses(recording: Recording, step: Step) -> list[Use]:
    """The sources of a step: its `forward` and `backward`, then each kernel in each room, its own function first.

    Where Python cannot find a source, as of a class typed into a console, there is none.
    """
    found = []
    for direction in ("forward", "backward"):
        method = getattr(type(step.operation), direction)
        source = of_function(method)
        if source is not None:
            found.append(Use(source, direction, direction))
    for direction in ("forward", "backward"):
        for name in kernel_names(getattr(type(step.operation), direction), step.settings()):
            for room in ROOMS:
                found += [Use(s, "kernel", direction, name, room) for s in _kernel(room, name, recording, step)]
    return found


def description(function: type) -> str:
    """What a class says that it does: its docstring, or that of the function to which it refers with see `name`."""
    text = inspect.getdoc(function) or ""
    named = re.search(r"see `(\w+)`", text, re.IGNORECASE)
    other = getattr(inspect.getmodule(function), named[1], None) if named else None
    return inspect.getdoc(other) or text if other is not None else text


def of_function(function: Callable[..., Any]) -> Source | None:
    """The source of a function of Python's; None where there is no file to read it from."""
    function = inspect.unwrap(function)
    try:
        lines, line = inspect.getsourcelines(function)
        path = Path(inspect.getsourcefile(function) or "")
    except (OSError, TypeError):
        return None
    return Source(function.__qualname__, _shown(path), line, textwrap.dedent("".join(lines)).rstrip())


def _shown(path: Path) -> str:
    """A path as a reader may see it: nothing of the machine's folders."""
    for folder, name in ((_KERNELS, "kernels"), (_PACKAGE / "minicnn", "minicnn")):
        if path.is_relative_to(folder):
            return f"{name}/{path.relative_to(folder).as_posix()}"
    return path.name


# Which kernels


def kernel_names(function: Callable[..., Any], settings: dict[str, Any]) -> list[str]:
    """The kernels that a function names, itself or in the functions that it calls, each once.

    A name that is put together from a setting, f"{activation}_backward", is that of the setting's value.
    """
    known, found = set(reference.__all__), []
    waiting, seen = [function], {function}
    while waiting:
        current = waiting.pop(0)
        source = of_function(current)
        if source is None:
            continue
        for node in ast.walk(ast.parse(source.text)):
            if isinstance(node, ast.Attribute):
                found.append(node.attr)
            elif isinstance(node, ast.JoinedStr):
                found.append(_put_together(node, settings))
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called = getattr(current, "__globals__", {}).get(node.func.id)
                if isinstance(called, FunctionType) and called not in seen:
                    seen.add(called)
                    waiting.append(called)
    return [name for name in dict.fromkeys(found) if name in known]


def _put_together(text: ast.JoinedStr, settings: dict[str, Any]) -> str:
    parts = []
    for part in text.values:
        if isinstance(part, ast.FormattedValue):
            name = part.value.attr if isinstance(part.value, ast.Attribute) else getattr(part.value, "id", "")
            parts.append(str(settings.get(name)))
        else:
            parts.append(str(getattr(part, "value", "")))
    return "".join(parts)


# What a kernel does


class _File:
    """A file of a room, parsed: its functions, and what it takes from other files of the room."""

    def __init__(self, room: str, stem: str) -> None:
        self.room, self.stem = room, stem
        self.path = _KERNELS / room / f"{stem}.py"
        self.lines = self.path.read_text().splitlines()
        body = ast.parse("\n".join(self.lines)).body
        self.functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
        self.names: dict[str, tuple[str, str]] = {}  # that stand for (file, function); of a whole file (file, "")
        self.constants: dict[str, Any] = {}
        for node in body:
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                here = [
                    (a.asname or a.name, (node.module, a.name) if node.module else (a.name, "")) for a in node.names
                ]
                self.names.update(
                    (name, place) for name, place in here if (_KERNELS / room / f"{place[0]}.py").exists()
                )
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                self.constants.update((t.id, node.value.value) for t in node.targets if isinstance(t, ast.Name))

    def source(self, name: str) -> Source:
        """A function with its decorators, and the comment that ends with them."""
        node = self.functions[name]
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        return Source(name, _shown(self.path), first, "\n".join(self.lines[first - 1 : node.end_lineno]))

    def mentions(self, name: str) -> Iterator[tuple[str, str]]:
        """The functions of the room that a function mentions, as (file, function): those of its own file first."""
        nodes = list(ast.walk(self.functions[name]))
        names = [node.id for node in nodes if isinstance(node, ast.Name)]
        yield from ((self.stem, n) for n in names if n in self.functions)
        yield from (self.names[n] for n in names if n in self.names and n not in self.functions)
        for node in nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self.names:
                yield self.names[node.value.id][0], node.attr

    def launches(self, name: str) -> list[str]:
        """The .cu files that a function names."""
        nodes = list(ast.walk(self.functions[name]))
        texts = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        texts += [str(self.constants.get(n.id)) for n in nodes if isinstance(n, ast.Name)]
        return [
            f"{t}.cu" for t in dict.fromkeys(texts) if t.isidentifier() and (_KERNELS / self.room / f"{t}.cu").exists()
        ]


def _file(room: str, stem: str) -> _File:
    return _parsed(room, stem, (_KERNELS / room / f"{stem}.py").stat().st_mtime_ns)


@cache
def _parsed(room: str, stem: str, changed: int) -> _File:
    """A file as it was when it was last changed."""
    return _File(room, stem)


def _kernel(room: str, name: str, recording: Recording, step: Step) -> list[Source]:
    """A kernel's function in a room, that of the algorithm which serves this step, and what these call in the room."""
    work = _conv2d_work(room, name, recording, step) if isinstance(step.operation, Conv2d) else None
    places = [_file(room, "__init__").names[name], *([work] if work else [])]
    found: list[Source] = []
    files: list[str] = []
    for number, (stem, function) in enumerate(places):  # grows while it is walked
        file = _file(room, stem)
        if function not in file.functions or sum(s.text.count("\n") for s in found) > LINES:
            continue
        found.append(file.source(function))
        files += file.launches(function) if room == "cuda" else []
        if number or not work:  # else it mentions every algorithm, of which `work` is the one
            new = (place for place in file.mentions(function) if not place[0].startswith("_"))
            places += [place for place in dict.fromkeys(new) if place not in places]
    return found + [_whole(room, file) for file in dict.fromkeys(files)]


def _whole(room: str, name: str) -> Source:
    path = _KERNELS / room / name
    return Source(name, _shown(path), 1, path.read_text().rstrip(), "cuda")


_DIRECTIONS = {
    "conv2d_forward": "forward",
    "conv2d_backward_input": "input_gradient",
    "conv2d_backward_weight": "weight_gradient",
}


def _conv2d_work(room: str, kernel: str, recording: Recording, step: Step) -> tuple[str, str] | None:
    """Of a convolution's kernel, which chooses among algorithms: (file, function) of the one chosen for this step."""
    if kernel not in _DIRECTIONS:
        return None
    stride, padding, dilation, groups, algorithm = step.operation.geometry  # type: ignore[attr-defined]
    w_shape, y_shape = (recording.tensors[i].value.shape for i in (step.inputs[1], step.output))
    if room == "reference":
        name = algorithm if algorithm in ("implicit_gemm", "winograd", "winograd_f2") else "im2col"
        return (
            ("winograd", name.removesuffix("_f2") + kernel[6:])
            if "winograd" in name
            else ("conv2d", f"_{name}{kernel[6:]}")
        )
    conv2d = importlib.import_module(f"{kernels.__name__}.{room}.conv2d")
    algorithm = algorithm if algorithm in conv2d.ALGORITHMS else "auto"
    if room == "cuda":
        way = conv2d._way(algorithm, w_shape, conv2d.Where(stride, padding, dilation, groups))
    else:
        way = conv2d._way(_DIRECTIONS[kernel], algorithm, w_shape, y_shape, stride, padding, dilation, groups)
    stem = way.__name__.rpartition(".")[2] if isinstance(way, ModuleType) else "conv2d_winograd"
    return stem, _DIRECTIONS[kernel]
