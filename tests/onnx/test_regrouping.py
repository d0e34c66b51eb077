"""A reshape in another order of axes gives the same elements."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minicnn.onnx.regrouping import regroup


@st.composite
def cases(draw):
    """A shape, the order in which a file sees it, and another shape of as many elements; the first axis stays."""
    shape = (1, *draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    axes = (0, *draw(st.permutations(range(1, len(shape)))))
    factors = [p for n in (shape[a] for a in axes) for p in {1: (1,), 4: (2, 2), 6: (2, 3)}.get(n, (n,))]
    if draw(st.booleans()):
        factors = draw(st.permutations(factors))
    cuts = sorted(draw(st.sets(st.integers(1, len(factors) - 1)))) if len(factors) > 1 else []
    wanted = [math.prod(factors[a:b]) for a, b in zip([0, *cuts], [*cuts, len(factors)], strict=True)]
    return shape, axes, (1, *wanted)


@given(cases())
def test_regrouped_data_is_the_reshape(case):
    shape, axes, wanted = case
    data = np.arange(math.prod(shape)).reshape(shape)
    plan = regroup(shape, axes, wanted)
    got = data.transpose(plan.order).reshape(plan.shape).transpose(plan.axes)
    expected = data.transpose(axes).reshape(wanted)
    assert got.shape == expected.shape
    assert plan.axes[0] == 0
    if plan.as_it_lies:
        assert len(wanted) == 2
        np.testing.assert_array_equal(got, data.reshape(wanted))
    else:
        np.testing.assert_array_equal(got, expected)


def test_groups_of_channels_are_cut_at_the_end():
    cut = regroup((1, 4, 5, 6), (0, 3, 1, 2), (1, 2, 3, 4, 5))
    assert (cut.order, cut.shape, cut.axes) == ((0, 1, 2, 3), (1, 4, 5, 2, 3), (0, 3, 4, 1, 2))
    joined = regroup((1, 4, 5, 2, 3), (0, 4, 3, 1, 2), (1, 6, 4, 5))  # the groups as the inner axis
    assert (joined.order, joined.shape, joined.axes) == ((0, 1, 2, 4, 3), (1, 4, 5, 6), (0, 3, 1, 2))


def test_flattened_images_stay_as_they_lie():
    assert regroup((1, 4, 5, 6), (0, 3, 1, 2), (1, 120)).as_it_lies
    assert not regroup((1, 1, 1, 6), (0, 3, 1, 2), (1, 6)).as_it_lies
    assert not regroup((1, 4, 5, 6), (0, 1, 2, 3), (1, 120)).as_it_lies
