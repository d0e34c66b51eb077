"""minicnn: a deep-learning engine for convolutional networks, written from scratch to be read and to be fast.

import minicnn as mc
from minicnn import nn, optim, data, models
from minicnn import functional as F
"""

from typing import TYPE_CHECKING

try:
    from . import kernels
except ImportError as error:
    # `from . import` names the package when the folder is not there, and the module when its own imports fail.
    if error.name not in (__name__, f"{__name__}.kernels"):
        raise
    raise ImportError(
        "minicnn was found in a checkout that is not installed: run `pip install -e .` in that folder, or leave it.",
        name=error.name,
    ) from None

from . import autograd, device, functional, nn, optim
from ._first_use import on_first_use
from ._function import Function, no_grad
from ._random import seed
from ._tensor import Tensor, tensor
from .device import cuda_available
from .kernels import set_float32_matmul_precision, set_threads

if TYPE_CHECKING:
    from . import data, distributed, graph, models, study, train
    from .graph.inference import optimize_for_inference
    from .onnx.export import export_onnx
    from .onnx.importing import import_onnx
    from .study.anomaly.detecting import detect_anomaly
    from .study.gradient_check.check import gradcheck
    from .study.model_summary import summary
    from .train.trainer import Trainer

__version__ = "0.1.0"
__all__ = [
    "Function",
    "Tensor",
    "Trainer",
    "autograd",
    "cuda_available",
    "data",
    "detect_anomaly",
    "device",
    "distributed",
    "export_onnx",
    "functional",
    "gradcheck",
    "graph",
    "import_onnx",
    "kernels",
    "models",
    "nn",
    "no_grad",
    "optim",
    "optimize_for_inference",
    "seed",
    "set_float32_matmul_precision",
    "set_threads",
    "study",
    "summary",
    "tensor",
    "train",
]

# What a script may do without. `mc.models` and `from minicnn import models` find it all the same.
__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "Trainer": "train.trainer",
        "data": ".",
        "detect_anomaly": "study.anomaly.detecting",
        "distributed": ".",
        "export_onnx": "onnx.export",
        "gradcheck": "study.gradient_check.check",
        "graph": ".",
        "import_onnx": "onnx.importing",
        "models": ".",
        "optimize_for_inference": "graph.inference",
        "study": ".",
        "summary": "study.model_summary",
        "train": ".",
    },
)
