"""One sample's way through a network and back, kept and explained.

recording    runs the sample and keeps every value and gradient
checking     sampled gradients against central differences
products     which products made one gradient; `terms`, `window_terms` and `layer_terms` find them
formulas     the mathematics of each operation, both directions
sources      the code of each operation, and of its kernels in the three rooms
document     all of it as one dictionary, from which the page is made; its `arrays`, of which large ones are sampled
layout       where each operation stands in the picture of the graph
drawing      that picture as SVG
page         the page: `web/` holds its template, styles and scripts
"""

from .recording import Recording, record

__all__ = ["Recording", "record"]
