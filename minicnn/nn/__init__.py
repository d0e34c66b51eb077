"""Layers, and the Module that holds them: `from minicnn import nn`."""

from . import init
from .activation import LogSoftmax, ReLU, ReLU6, Sigmoid, Softmax, Tanh
from .containers import ModuleList, Sequential
from .conv import Conv2d
from .dropout import Dropout
from .linear import Linear
from .module import Module, observe
from .norm import BatchNorm2d, LocalResponseNorm
from .parameter import Parameter
from .pool import AdaptiveAvgPool2d, AvgPool2d, GlobalAvgPool2d, MaxPool2d, SumPool2d
from .shape import Flatten, Upsample
from .sync_norm import SyncBatchNorm

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "SumPool2d",
    "SyncBatchNorm",
    "Tanh",
    "Upsample",
    "init",
    "observe",
]
