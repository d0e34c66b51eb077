"""The tests of the exercise adadelta."""

import math
from types import ModuleType

import numpy as np

from .answers import Mistake, compare, function

NAMES = ("w", "square_average", "update_average")


def test_first_step_by_hand(student: ModuleType) -> None:
    """by hand: the first step with g = 2, lr = 1, rho = 1/2, eps = 1"""
    # square_average = 4/2, delta = sqrt(0 + 1) / sqrt(2 + 1) * 2, update_average = delta^2 / 2.
    _check(_after(student, [1.0], [[2.0]], 1.0, 0.5, 1.0), [[1 - 2 / math.sqrt(3)], [2.0], [2 / 3]])


def test_rho(student: ModuleType) -> None:
    """by hand: rho = 3/4 keeps three quarters of an average"""
    # square_average = 4/4, delta = sqrt(0 + 3) / sqrt(1 + 3) * 2 = sqrt(3), update_average = 3/4.
    _check(_after(student, [0.0], [[2.0]], 1.0, 0.75, 3.0), [[-math.sqrt(3)], [1.0], [0.75]])


def test_learning_rate(student: ModuleType) -> None:
    """lr scales the step alone: the averages do not see it"""
    _check(_after(student, [1.0], [[2.0]], 0.1, 0.5, 1.0), [[1 - 0.2 / math.sqrt(3)], [2.0], [2 / 3]])


def test_no_gradient(student: ModuleType) -> None:
    """g = 0 leaves the weight where it is"""
    _check(_after(student, [1.0, -2.0], [[0.0, 0.0]], 1.0, 0.95, 1e-6), [[1.0, -2.0], [0.0, 0.0], [0.0, 0.0]])


def test_many_steps(student: ModuleType) -> None:
    """twenty steps of the paper's rho and eps, gradients of either sign"""
    gradients = np.random.default_rng(0).uniform(-1, 1, (20, 3)) * [0.01, 1, 100]
    w = [0.5, -1.0, 2.0]
    expected = [adadelta(w[i], gradients[:, i], 1.0, 0.95, 1e-6) for i in range(3)]
    _check(_after(student, w, gradients.tolist(), 1.0, 0.95, 1e-6), np.transpose(expected).tolist())


def test_two_axes(student: ModuleType) -> None:
    """a weight matrix: every element by itself"""
    w, dw = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[2.0, 0.0], [-2.0, 2.0]])
    averages = np.zeros((2, 2)), np.zeros((2, 2))
    function(student, "adadelta_update")(w, dw, *averages, 1.0, 0.5, 1.0)
    compare("w", w, np.array([[1.0, 2.0], [3.0, 4.0]]) - np.array([[1, 0], [-1, 1]]) * 2 / math.sqrt(3))


def adadelta(w: float, gradients: np.ndarray, lr: float, rho: float, eps: float) -> tuple[float, float, float]:
    """The definition for one weight: its value and its two averages after a step for each gradient."""
    square_average = update_average = 0.0
    for g in gradients:
        square_average = rho * square_average + (1 - rho) * g**2
        delta = math.sqrt(update_average + eps) / math.sqrt(square_average + eps) * g
        update_average = rho * update_average + (1 - rho) * delta**2
        w -= lr * delta
    return w, square_average, update_average


def _after(
    student: ModuleType, w: list[float], gradients: list[list[float]], lr: float, rho: float, eps: float
) -> tuple[np.ndarray, ...]:
    """The weight and its two averages after the student's steps."""
    arrays = np.array(w), np.zeros(len(w)), np.zeros(len(w))
    for gradient in gradients:
        dw = np.array(gradient)
        returned = function(student, "adadelta_update")(arrays[0], dw, *arrays[1:], lr, rho, eps)
        if returned is not None:
            raise Mistake("adadelta_update expected to write in place and return nothing, but it returned something")
        if dw.tolist() != gradient:
            raise Mistake("adadelta_update wrote into dw: work on an array of your own")
    return arrays


def _check(got: tuple[np.ndarray, ...], expected: list[list[float]]) -> None:
    for name, array, values in zip(NAMES, got, expected, strict=True):
        compare(f"{name} (in place)", array, np.array(values))
