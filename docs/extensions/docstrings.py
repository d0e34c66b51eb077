"""The engine's docstrings, which are plain text, as reStructuredText.

They are written for whoever reads the source: a sentence, then lines such as "x: (N, H, W, C)" for the arguments,
indented formulas, and `code` in single backquotes. Here a line that begins with names and a colon becomes an item of
a list, an indented paragraph and one with "Forward:" keep their lines, and a name that has an entry of its own becomes
a link to it.
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
    "minicnn.kernels.reference": "reference", "minicnn": "mc",
}  # fmt: skip

_ITEM = re.compile(r"(?!Forward|Backward)([A-Za-z_]\w*(?:, [A-Za-z_]\w*)*): ")
_SENTENCE = re.compile(r"(Raises|Returns|Source: |Results? )")


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
    paragraphs = (_paragraph(part.split("\n"), owner) for part in re.split(r"\n\s*\n", text))
    return [line for paragraph in paragraphs for line in (*paragraph, "")]


def _paragraph(lines: list[str], owner: str) -> Iterator[str]:
    if lines[0].startswith((" ", "Forward")):
        yield from (".. code-block:: none", "", *textwrap.indent(textwrap.dedent("\n".join(lines)), "    ").split("\n"))
        return
    for piece in _pieces(lines):
        item = _ITEM.match(piece)
        if item:
            yield f"* ``{item[1]}``: {_inline(piece[item.end() :], owner)}"
        else:
            yield from ("", _inline(piece, owner), "")


def _pieces(lines: list[str]) -> list[str]:
    """The items and sentences of a paragraph, each in one line."""
    pieces: list[str] = []
    for line in lines:
        begins = not line.startswith(" ") and (_ITEM.match(line) or _SENTENCE.match(line))
        if begins or not pieces:
            pieces.append(line.strip())
        else:
            pieces[-1] += " " + line.strip()
    return pieces


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
