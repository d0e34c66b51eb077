"""The engine's docstrings, which are plain text, as reStructuredText.

They are written for whoever reads the source: a sentence, then paragraphs such as "x: (N, H, W, C). w: (in, out)." for
the arguments, indented formulas, and `code` in single backquotes. Here a paragraph that begins with names and a colon
becomes a list; an indented one, and one from "Forward" or "Backward" on, keeps its lines; and a name that has an entry
of its own becomes a link to it.
"""

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any

from sphinx.application import Sphinx

# The modules that have a page, and how the text calls them. What several export has its entry in the first of them.
MODULES = {
    "minicnn.functional": "F", "minicnn.nn": "nn", "minicnn.nn.init": "init", "minicnn.optim": "optim",
    "minicnn.data": "data", "minicnn.train": "train", "minicnn.graph": "graph", "minicnn.kernels": "kernels",
    "minicnn.kernels.reference": "reference", "minicnn.study": "study", "minicnn.study.plots": "plots", "minicnn": "mc",
}  # fmt: skip

_NAMES = r"(?!Forward|Backward)[A-Za-z_]\w*(?:, [A-Za-z_]\w*)*: "
_ITEM = re.compile(rf"(Results? )?({_NAMES[:-2]}): ")
# Where a line goes over to something else: "w: (in, out). b: (out,) or None. Returns (N, out)".
_NEXT = re.compile(rf"(?<=[.;)]) (?=(?:Results? )?{_NAMES}|Raises |Returns |Source: )")


@cache
def entries() -> dict[str, str]:
    """The full name of each entry of the API reference, by each of the names that a docstring may use."""
    found: dict[str, str] = {}
    homes: dict[int, str] = {}
    for module, short in MODULES.items():
        imported = importlib.import_module(module)
        for name in getattr(imported, "__all__", ()):
            thing = getattr(imported, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                home = homes.setdefault(id(thing), f"{module}.{name}")
                found.setdefault(name, home)
                found[f"{short}.{name}"] = home
    return found


def as_rst(lines: list[str], owner: str) -> list[str]:
    """A docstring in reStructuredText. owner: the full name of what it belongs to."""
    text = inspect.cleandoc("\n".join(lines))
    return [line for kept, part in _parts(text) for line in (*(_kept(part) if kept else _paragraph(part, owner)), "")]


def _parts(text: str) -> list[tuple[bool, str]]:
    """The paragraphs, and whether they keep their lines: formulas and code do, blank lines within them included."""
    parts: list[tuple[bool, str]] = []
    pieces = re.split(r"(\n\s*\n|\n(?=Forward|Backward))", text)
    for gap, part in zip(["", *pieces[1::2]], pieces[::2], strict=True):
        kept = part.startswith((" ", "Forward", "Backward"))
        if kept and parts and parts[-1][0]:
            parts[-1] = (True, parts[-1][1] + gap + part)
        else:
            parts.append((kept, part))
    return parts


def _kept(part: str) -> list[str]:
    return [".. code-block:: none", "", *textwrap.indent(textwrap.dedent(part), "    ").split("\n")]


def _paragraph(part: str, owner: str) -> Iterator[str]:
    text = " ".join(line.strip() for line in part.split("\n"))
    # Only a paragraph that begins with an item is a list: in prose a colon may stand behind any word.
    for piece in _NEXT.split(text) if _ITEM.match(text) else [text]:
        item = _ITEM.match(piece)
        if item:
            yield f"* {item[1] or ''}``{item[2]}``: {_inline(piece[item.end() :].rstrip(';'), owner)}"
        else:
            yield from ("", _inline(piece, owner), "")


def _inline(text: str, owner: str) -> str:
    """Text with its code marked and everything else taken as it is."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(
        _code(part, owner) if i % 2 else re.sub(r"([\\*_|`<])", r"\\\1", part) for i, part in enumerate(parts)
    )


def _code(code: str, owner: str) -> str:
    target = entries().get(code.split("(")[0])
    if target is None or target == owner:
        return rf"``{code}``\ "
    return rf":py:obj:`{code} <{target}>`\ "


def _process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_rst(lines, name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
