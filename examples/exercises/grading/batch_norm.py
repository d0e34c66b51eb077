"""The tests of the exercise batch_norm."""

from types import ModuleType
from typing import Any

import numpy as np

from .answers import call, compare, slopes, unpacked

GRADIENTS = ("dx", "dgamma", "dbeta")


def test_by_hand(student: ModuleType) -> None:
    """by hand: three values of mean 0 and variance 1, gamma 2, eps 0"""
    x = np.array([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1) * np.sqrt(1.5)
    dy = np.array([1.0, 0.0, 0.0]).reshape(3, 1, 1, 1)
    got = call(student, "batch_norm_backward", dy, x, np.array([2.0]), np.zeros(1), np.ones(1), 0.0)
    # dy - 1/3 - x_hat * sum(dy * x_hat)/3, times gamma: 2 * (1 - 1/3 - 1/2), 2 * (0 - 1/3), 2 * (0 - 1/3 + 1/2).
    dx = np.array([1 / 3, -2 / 3, 1 / 3]).reshape(3, 1, 1, 1)
    _compare_all(got, (dx, np.array([-np.sqrt(1.5)]), np.array([1.0])))


def test_beta(student: ModuleType) -> None:
    """dbeta against the slopes of the definition"""
    _check(student, "dbeta")


def test_gamma(student: ModuleType) -> None:
    """dgamma against the slopes of the definition"""
    _check(student, "dgamma")


def test_input(student: ModuleType) -> None:
    """dx against the slopes of the definition, through mean and variance"""
    _check(student, "dx")


def test_a_large_eps(student: ModuleType) -> None:
    """dx with eps = 1, which is added to the variance before the root"""
    _check(student, "dx", eps=1.0)


def test_a_constant_gradient(student: ModuleType) -> None:
    """dx is 0 where dy is the same everywhere: the mean takes it out"""
    x, gamma = _numbers()
    got = call(student, "batch_norm_backward", np.ones_like(x), x, gamma, *moments(x), 1e-5)
    _compare_all(got, (np.zeros_like(x), np.zeros(2), np.full(2, x.size / 2)))


def test_float32(student: ModuleType) -> None:
    """float32 in, float32 out"""
    _check(student, "dx", dtype=np.float32)
    _check(student, "dgamma", dtype=np.float32)
    _check(student, "dbeta", dtype=np.float32)


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each channel, by the definition."""
    m = x.size // x.shape[3]
    mean = sum(x[place] for place in np.ndindex(x.shape[:3])) / m
    return mean, sum((x[place] - mean) ** 2 for place in np.ndindex(x.shape[:3])) / m


def batch_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float) -> np.ndarray:
    """The definition."""
    mean, var = moments(x)
    return gamma * (x - mean) / np.sqrt(var + eps) + beta


def _check(student: ModuleType, which: str, eps: float = 1e-5, dtype: type = np.float64) -> None:
    """Compare one of the three gradients, two images of 2 x 3 pixels and two channels."""
    (x, gamma), beta = _numbers(), np.array([0.3, -0.2])
    dy = np.random.default_rng(1).uniform(-2, 2, x.shape)
    expected = {
        "dx": lambda: slopes(lambda x: batch_norm(x, gamma, beta, eps), x, dy),
        "dgamma": lambda: slopes(lambda gamma: batch_norm(x, gamma, beta, eps), gamma, dy),
        "dbeta": lambda: slopes(lambda beta: batch_norm(x, gamma, beta, eps), beta, dy),
    }[which]()
    given = [array.astype(dtype) for array in (dy, x, gamma, *moments(x))]
    got = call(student, "batch_norm_backward", *given, eps)
    compare(which, unpacked(GRADIENTS, got)[GRADIENTS.index(which)], expected.astype(dtype))


def _compare_all(got: Any, expected: tuple[np.ndarray, ...]) -> None:
    for name, part, values in zip(GRADIENTS, unpacked(GRADIENTS, got), expected, strict=True):
        compare(name, part, values)


def _numbers() -> tuple[np.ndarray, np.ndarray]:
    """x (2, 2, 3, 2), far from mean 0 and variance 1, and gamma (2,)."""
    x = np.random.default_rng(0).uniform(-1, 1, (2, 2, 3, 2)) * [0.5, 3.0] + [2.0, -1.0]
    return x, np.array([1.5, -0.7])
