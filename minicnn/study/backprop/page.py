"""The backprop page: one HTML file that shows a network's own backward pass on one sample, step by step."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from ... import functional as F
from ..._files import PathLike, check_place, write_whole
from ..._tensor import Tensor
from ...nn import Module
from .document import document
from .drawing import WEB, svg
from .layout import diagram_of_document, place
from .recording import Loss, record

Array = Any

STYLES = ("colours.css", "graph.css", "page.css", "node.css", "explanation.css", "phone.css")
# In the order in which they need each other.
SCRIPTS = (
    "recording.js", "timeline.js", "graph.js", "pictures.js", "sheet.js", "layers.js", "pooling.js", "products.js",
    "window.js", "explanation.js", "numbers.js", "code.js", "panel.js", "main.js",
)  # fmt: skip


def backprop_page(
    model: Module,
    x: Array | Tensor,
    label: Any,
    path: PathLike,
    loss: Loss = F.cross_entropy,
    title: str | None = None,
) -> dict[str, Any]:
    """Run one sample through a network and back, and write a page that shows each step and each number.

    model: any Module, in the mode that it is in; it is left as it was.
    x: one sample, (H, W, C) or with an axis N of 1; label: the number of its class, or what `loss` takes.
    path: where the HTML goes. One file, which works from disk and asks the network for nothing.
    loss: called with the model's result and the label, returns a Tensor of one element.
    title: what the page calls the network; None for the name of its class.

    The page shows the graph with both passes on one time line; for each Function its formulas, its source code as it
    is installed, its values and gradients; and for a cell of a gradient the products that made it. Numbers are the
    engine's own. Large tensors are sampled, so that the file of a ResNet-18 can still be opened.

    Returns the recording as the page holds it; see `document`. Raises as `record` does; OSError, before anything is
    computed, where the file cannot be written; ImportError where the extra "study" is missing.
    """
    check_place(path, "the backprop page")
    recording = document(record(model, x, label, loss))
    recording["model"] = title or recording["model"]
    write_whole(path, page_of(recording).encode(), "the backprop page")
    return recording


def page_of(recording: dict[str, Any]) -> str:
    """The page's HTML, from what `document` made of a recording.

    Text of the model's (its names, its labels) is escaped on its way in. Beyond that the page's own policy lets the
    browser run no script but those of this package, each known by its hash, and fetch nothing.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise ImportError('the backprop page needs Jinja2: pip install "minicnn[study]"') from error
    read = Environment(loader=FileSystemLoader(WEB), autoescape=True, undefined=StrictUndefined)
    scripts = [(WEB / name).read_text(encoding="utf-8") for name in SCRIPTS]
    drawing = place(diagram_of_document(recording))
    label = f"Computation graph of {recording['model']}"
    return read.get_template("page.html.j2").render(
        recording=recording,
        style=Markup("\n".join((WEB / name).read_text(encoding="utf-8") for name in STYLES) + _code_style()),
        graph=Markup(svg(drawing, label, 'class="graph"')),
        data=Markup(_json(recording)),
        scripts=[Markup(script) for script in scripts],
        allowed=Markup(" ".join(f"'sha256-{_hash(script)}'" for script in scripts)),
    )


def _json(recording: dict[str, Any]) -> str:
    """JSON that can stand in a <script>: without a "<", no text in it can end the element or open a comment."""
    return json.dumps(recording, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _code_style() -> str:
    """Colours for the listings, light and dark."""
    try:
        from pygments.formatters import HtmlFormatter
    except ImportError as error:
        raise ImportError('the backprop page needs Pygments: pip install "minicnn[study]"') from error
    light = HtmlFormatter(style="friendly", nobackground=True).get_style_defs(".listing")
    dark = HtmlFormatter(style="github-dark", nobackground=True).get_style_defs(".listing")
    return f"\n{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
