"""Optimizers, which turn gradients into steps, and schedules, which change the learning rate from epoch to epoch."""

from .adadelta import Adadelta
from .optimizer import Optimizer
from .schedule import CosineAnnealingLR, MultiStepLR, Schedule
from .sgd import SGD

__all__ = ["SGD", "Adadelta", "CosineAnnealingLR", "MultiStepLR", "Optimizer", "Schedule"]
