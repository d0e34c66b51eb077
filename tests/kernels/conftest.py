"""What the tests of the kernels share: the rooms, and a derivative that is exact to the last digits."""

import importlib

import numpy as np
import pytest


@pytest.fixture(params=["reference", "cpu"])
def room(request):
    """Each room that runs without a GPU."""
    return importlib.import_module(f"minicnn.kernels.{request.param}")


@pytest.fixture(scope="session")
def gradient():
    """gradient(f, x, dy): the gradient of <dy, f(x)> in x, one element of x after another.

    f must be written so that it takes complex numbers. A complex step has no difference of near numbers in it,
    f(x + ih) = f(x) + ih f'(x) + O(h^2), so that with h = 1e-30 the derivative comes out in full float64 precision.
    """

    def complex_step(f, x, dy):
        dx = np.empty(x.shape)
        for i in np.ndindex(x.shape):
            moved = x.astype(complex)
            moved[i] += 1e-30j
            dx[i] = np.sum(dy * np.imag(f(moved))) / 1e-30
        return dx

    return complex_step
