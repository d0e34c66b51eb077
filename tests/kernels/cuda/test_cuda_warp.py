"""Warping in the CUDA room against the reference."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from warps import assert_warps_agree, problems

from minicnn.kernels import cuda
from minicnn.kernels.cuda import _grid

# The emulator is the same for all examples: nothing of one is left in it for the next.
SETTINGS = settings(
    deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SETTINGS
@given(problem=problems())
def test_warping_is_the_reference(emulator, problem):
    assert_warps_agree(cuda, problem)


@pytest.mark.parametrize("shape", [(2, 3, 300, 1), (1, 4, 9, 1030), (2, 3, 70, 67)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_several_blocks_for_columns_and_more_channels_than_a_block_takes_at_once(emulator, monkeypatch, shape, dtype):
    monkeypatch.setattr(_grid, "MOST_ROWS", 2)
    rng = np.random.default_rng(0)
    x = rng.integers(256, size=shape).astype(dtype)
    matrices = np.eye(2, 3) + 0.1 * rng.standard_normal((shape[0], 2, 3))
    assert_warps_agree(cuda, (x, matrices, rng.standard_normal((*shape[:3], 2)), "reflect", 0.0))
