"""The tests of the exercise softmax_cross_entropy."""

import math
from types import ModuleType

import numpy as np

from .answers import call, compare, slopes

NAME = "cross_entropy_backward"


def test_by_hand(student: ModuleType) -> None:
    """by hand: one row of two equal logits, both with probability 1/2"""
    got = call(student, NAME, 1.0, np.zeros((1, 2)), np.array([0]))
    compare("dlogits", got, np.array([[-0.5, 0.5]]))


def test_three_classes_by_hand(student: ModuleType) -> None:
    """by hand: one row with the probabilities 1/6, 2/6 and 3/6"""
    got = call(student, NAME, 1.0, np.log([[1.0, 2.0, 3.0]]), np.array([1]))
    compare("dlogits", got, np.array([[1 / 6, -4 / 6, 3 / 6]]))


def test_mean_over_the_batch(student: ModuleType) -> None:
    """the loss is a mean: four equal rows receive a quarter each"""
    got = call(student, NAME, 1.0, np.zeros((4, 2)), np.array([0, 1, 1, 0]))
    compare("dlogits", got, np.array([[-1.0, 1.0], [1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]]) / 8)


def test_definition(student: ModuleType) -> None:
    """slopes of the definition: five rows, three classes"""
    logits, labels = np.random.default_rng(0).uniform(-3, 3, (5, 3)), np.array([2, 0, 1, 1, 2])
    expected = slopes(lambda logits: cross_entropy(logits, labels), logits, np.array(1.0))
    compare("dlogits", call(student, NAME, 1.0, logits, labels), expected)


def test_later_gradient(student: ModuleType) -> None:
    """dloss = 3: the chain rule multiplies"""
    got = call(student, NAME, 3.0, np.zeros((1, 3)), np.array([2]))
    compare("dlogits", got, np.array([[1.0, 1.0, -2.0]]))


def test_large_logits(student: ModuleType) -> None:
    """logits of 1000 and -1000: e^1000 overflows, the gradient does not"""
    logits = np.array([[1000.0, 0.0, 0.0], [-1000.0, -1000.0, -2000.0]])
    got = call(student, NAME, 1.0, logits, np.array([1, 0]))
    compare("dlogits", got, np.array([[0.5, -0.5, 0.0], [-0.25, 0.25, 0.0]]))


def test_float32(student: ModuleType) -> None:
    """float32 in, float32 out"""
    got = call(student, NAME, 1.0, np.zeros((2, 2), np.float32), np.array([1, 1]))
    compare("dlogits", got, np.array([[0.25, -0.25], [0.25, -0.25]], np.float32))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The definition, for logits that are not large."""
    costs = [
        -math.log(math.exp(row[label]) / sum(math.exp(z) for z in row))
        for row, label in zip(logits, labels, strict=True)
    ]
    return np.array(sum(costs) / len(costs))
