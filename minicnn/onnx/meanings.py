"""Every operator of ONNX that `import_onnx` knows, with what it means here: the counterpart of `translations`."""

from __future__ import annotations

import operator

import numpy as np

from .. import functional as F
from . import array_meanings as arrays
from . import layer_meanings as layers
from .reader import Meaning

MEANINGS: dict[str, Meaning] = {
    "Conv": layers.conv,
    "Gemm": layers.gemm,
    "MatMul": layers.matmul,
    "BatchNormalization": layers.batch_normalization,
    "LRN": layers.local_response_norm,
    "MaxPool": layers.max_pool,
    "AveragePool": layers.average_pool,
    "GlobalMaxPool": layers.global_max_pool,
    "GlobalAveragePool": layers.global_average_pool,
    "Relu": layers.each(F.relu),
    "Tanh": layers.each(F.tanh),
    "Sigmoid": layers.each(F.sigmoid),
    "Clip": layers.clip,
    "Softmax": layers.over_classes(F.softmax),
    "LogSoftmax": layers.over_classes(F.log_softmax),
    "Dropout": layers.dropout,
    "Add": arrays.both(operator.add, np.add, trained=True),
    "Sub": arrays.both(operator.sub, np.subtract, trained=False),
    "Mul": arrays.both(operator.mul, np.multiply, trained=True),
    "Div": arrays.both(operator.truediv, arrays.quotient, trained=False),
    "Sum": arrays.add_all,
    "Pow": arrays.power,
    "Neg": layers.each(operator.neg, np.negative),
    "Exp": layers.each(lambda x: x.exp(), np.exp),
    "Log": layers.each(lambda x: x.log(), np.log),
    "Sqrt": layers.each(lambda x: x.sqrt(), np.sqrt),
    "ReduceSum": arrays.reduced("sum"),
    "ReduceMean": arrays.reduced("mean"),
    "ReduceMax": arrays.reduced("max"),
    "Reshape": arrays.reshape,
    "Flatten": arrays.flatten,
    "Transpose": arrays.transpose,
    "Squeeze": arrays.squeeze,
    "Unsqueeze": arrays.unsqueeze,
    "Concat": arrays.concat,
    "Split": arrays.split,
    "Slice": arrays.slice_,
    "Gather": arrays.gather,
    "Pad": arrays.pad,
    "Resize": arrays.resize,
    "Upsample": arrays.resize,
    "Identity": arrays.identity,
    "Cast": arrays.cast,
    "Shape": arrays.shape_of,
    "Constant": arrays.literal,
    "ConstantOfShape": arrays.constant_of_shape,
}
