"""Formulas as MathML, which browsers draw themselves: nothing is fetched from anywhere, and no script runs.

latex2mathml translates, and what browsers would draw badly is put right. What it does not know it hands on as it
came, with its backslash; here that is a warning, which the site's command turns into an error.
"""

import itertools
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


MINUS = "\N{MINUS SIGN}"
NAMESPACE = "http://www.w3.org/1998/Math/MathML"
ElementTree.register_namespace("", NAMESPACE)


def mathml(latex: str, display: str) -> str:
    """The formula as a <math> element; display: "inline" or "block". Raises ValueError for what is not understood."""
    try:
        formula = ElementTree.fromstring(convert(latex, display=display))
    except ElementTree.ParseError as error:
        raise ValueError(f"no MathML comes from {latex!r}: {error}") from None
    if "\\" in "".join(formula.itertext()):
        raise ValueError(f"latex2mathml does not know a command in {latex!r}")
    for row in list(formula.iter()):
        _mark_signs(row)
        _group_matrices(row)
    return ElementTree.tostring(formula, encoding="unicode")


def _is(element: ElementTree.Element, tag: str) -> bool:
    return element.tag == f"{{{NAMESPACE}}}{tag}"


def _mark_signs(row: ElementTree.Element) -> None:
    """A minus behind another operator is a sign, close to its number; browsers see that at the beginning alone."""
    parts = [part for part in row if not _is(part, "mspace")]
    for part in parts:
        if part.text == "∞":
            part.tag = f"{{{NAMESPACE}}}mi"  # a number, which latex2mathml takes for an operator
    for before, part in itertools.pairwise(parts):
        if _is(part, "mo") and part.text == MINUS and _is(before, "mo") and before.text not in (")", "]", "}", "|"):
            part.set("form", "prefix")


def _group_matrices(row: ElementTree.Element) -> None:
    """A matrix and its brackets become a row of their own, else brackets grow as high as the highest matrix beside."""
    for left, matrix, right in list(zip(row, row[1:], row[2:], strict=False)):
        if _is(matrix, "mtable") and _is(left, "mo") and _is(right, "mo"):
            group = ElementTree.Element(f"{{{NAMESPACE}}}mrow")
            row.insert(list(row).index(left), group)
            for part in (left, matrix, right):
                row.remove(part)
                group.append(part)


def _visit(translator: Any, node: nodes.Element, display: str) -> None:
    try:
        translator.body.append(mathml(node.astext(), display))
    except ValueError as error:
        logger.warning("%s", error, location=node)
    raise nodes.SkipNode


def visit_inline(translator: Any, node: nodes.Element) -> None:
    """A formula within a line."""
    _visit(translator, node, "inline")


def visit_block(translator: Any, node: nodes.Element) -> None:
    """A formula on lines of its own, which scrolls where the page is too narrow."""
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    try:
        _visit(translator, node, "block")
    finally:
        translator.body.append("</div>\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
