"""What each ONNX operator that `import_onnx` knows means here: what the translations do, backwards."""

from __future__ import annotations

import operator

import numpy as np

from ... import functional as F
from ..reader import Meaning
from . import arithmetic, layers, movement

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
    "Add": arithmetic.both(operator.add, np.add, trained=True),
    "Sub": arithmetic.both(operator.sub, np.subtract, trained=False),
    "Mul": arithmetic.both(operator.mul, np.multiply, trained=True),
    "Div": arithmetic.both(operator.truediv, arithmetic.quotient, trained=False),
    "Sum": arithmetic.add_all,
    "Pow": arithmetic.power,
    "Neg": layers.each(operator.neg, np.negative),
    "Exp": layers.each(lambda x: x.exp(), np.exp),
    "Log": layers.each(lambda x: x.log(), np.log),
    "Sqrt": layers.each(lambda x: x.sqrt(), np.sqrt),
    "ReduceSum": arithmetic.reduced("sum"),
    "ReduceMean": arithmetic.reduced("mean"),
    "ReduceMax": arithmetic.reduced("max"),
    "Reshape": movement.reshape,
    "Flatten": movement.flatten,
    "Transpose": movement.transpose,
    "Squeeze": movement.squeeze,
    "Unsqueeze": movement.unsqueeze,
    "Concat": movement.concat,
    "Split": movement.split,
    "Slice": movement.slice_,
    "Gather": movement.gather,
    "Pad": movement.pad,
    "Resize": movement.resize,
    "Upsample": movement.resize,
    "Identity": arithmetic.identity,
    "Cast": arithmetic.cast,
    "Shape": arithmetic.shape_of,
    "Constant": arithmetic.literal,
    "ConstantOfShape": arithmetic.constant_of_shape,
}
