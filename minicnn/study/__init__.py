"""What makes a network visible.

`model_summary` prints its table, and `audit` holds it against what was published. `backprop_page` shows a sample's
backward pass step by step, `graph_svg` the operations. `plots` draws filters, feature maps and training, and
`python -m minicnn.study` makes each picture in one command. `diagnose` says what keeps a network from learning, and
`anomaly` where its first NaN was made. `gradient_check` says where a gradient is wrong and why,
`bug_room` puts bugs into the engine, and `digit_pad` serves a page on which a network reads what is drawn.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backprop.drawing import graph_svg
    from .backprop.page import backprop_page
    from .diagnosis.diagnosing import diagnose

__all__ = ["backprop_page", "diagnose", "graph_svg"]

_MODULES = {
    "backprop_page": "backprop.page",
    "diagnose": "diagnosis.diagnosing",
    "graph_svg": "backprop.drawing",
}


def __getattr__(name: str) -> Any:
    """These functions are imported when they are first asked for: `import minicnn` does not wait for them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
