"""Formulas as MathML, which browsers draw themselves: nothing is fetched from anywhere, and no script runs.

latex2mathml translates. What it does not know it hands on as it came, with its backslash; here that is a warning, which
the site's command turns into an error.
"""

from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def mathml(latex: str, display: str) -> str:
    """The formula as a <math> element; display: "inline" or "block". Raises ValueError for what is not understood."""
    markup = convert(latex, display=display)
    try:
        words = "".join(ElementTree.fromstring(markup).itertext())
    except ElementTree.ParseError as error:
        raise ValueError(f"no MathML comes from {latex!r}: {error}") from None
    if "\\" in words:
        raise ValueError(f"latex2mathml does not know a command in {latex!r}: {words}")
    return markup


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
