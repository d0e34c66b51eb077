"""Pictures of a network and its training: `from minicnn.study import plots`.

Each function returns a matplotlib Figure, and writes it as a PNG if it is given a path. Figures are made with
matplotlib's object interface and drawn by Agg: no window, no global state, safe in threads and servers. Each is one
command too: `python -m minicnn.study --help`; that of `learning_rate_curve` is examples/find_learning_rate.py.
"""

from .attribution import grad_cam, saliency
from .classical import classical_filters
from .curves import error_curves, gradient_norms, learning_curves
from .histograms import activation_histograms
from .learning_rates import learning_rate_curve
from .predictions import confusion_heatmap, worst_mistakes
from .receptive import receptive_fields
from .tiles import feature_maps, filter_grid

__all__ = [
    "activation_histograms",
    "classical_filters",
    "confusion_heatmap",
    "error_curves",
    "feature_maps",
    "filter_grid",
    "grad_cam",
    "gradient_norms",
    "learning_curves",
    "learning_rate_curve",
    "receptive_fields",
    "saliency",
    "worst_mistakes",
]
