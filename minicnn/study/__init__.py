"""What makes a network visible.

`model_summary` prints its table, and `audit` holds it against what was published. `backprop_page` shows a sample's
backward pass step by step, `graph_svg` the operations. `plots` draws filters, feature maps and training, and
`python -m minicnn.study` makes each picture in one command. `diagnose` says what keeps a network from learning, and
`anomaly` where its first NaN was made. `gradient_check` says where a gradient is wrong and why,
`bug_room` puts bugs into the engine, and `digit_pad` serves a page on which a network reads what is drawn.
"""

from typing import TYPE_CHECKING

from .._first_use import on_first_use

if TYPE_CHECKING:
    from .backprop.drawing import graph_svg
    from .backprop.page import backprop_page
    from .diagnosis.diagnosing import diagnose

__all__ = ["backprop_page", "diagnose", "graph_svg"]

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "backprop_page": "backprop.page",
        "diagnose": "diagnosis.diagnosing",
        "graph_svg": "backprop.drawing",
    },
)
