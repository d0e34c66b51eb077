"""The initialisers against the moments that their papers prescribe."""

import math

import numpy as np
import pytest

from minicnn.nn import init

LINEAR = (400, 150)
CONV = (3, 5, 16, 96)

# name -> the variance the paper asks for, from (fan_in, fan_out)
VARIANCES = {
    "lecun_uniform": lambda i, o: 1 / i,
    "lecun_normal": lambda i, o: 1 / i,
    "xavier_uniform": lambda i, o: 2 / (i + o),
    "xavier_normal": lambda i, o: 2 / (i + o),
    "kaiming_uniform": lambda i, o: 2 / i,
    "kaiming_normal": lambda i, o: 2 / i,
}


def draw(name, shape, seed=0):
    return getattr(init, name)(shape, np.random.default_rng(seed))


def fans_by_counting(shape):
    """How many inputs reach one output and how many outputs one input reaches, counted on the weight itself."""
    w = np.ones(shape)
    return int(w[..., 0].sum()), int(np.moveaxis(w, -2, 0)[0].sum())


@pytest.mark.parametrize("shape", [(7, 3), (3, 5, 4, 6), (1, 1, 1, 1)])
def test_fans_count_the_weights_of_one_output_and_of_one_input(shape):
    assert init.fans(shape) == fans_by_counting(shape)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (1, 2, 3, 4, 5)])
def test_fans_refuse_other_shapes(shape):
    with pytest.raises(ValueError, match="expected a weight"):
        init.fans(shape)


@pytest.mark.parametrize("shape", [LINEAR, CONV], ids=["linear", "conv"])
@pytest.mark.parametrize("name", VARIANCES)
def test_moments_are_the_papers(name, shape):
    w = draw(name, shape).astype(np.float64)
    variance = VARIANCES[name](*fans_by_counting(shape))
    kurtosis = 1.8 if name.endswith("uniform") else 3.0
    # Five standard errors: sqrt(v / n) of the mean, v * sqrt((kurtosis - 1) / n) of the variance, at most
    # v**2 * sqrt(96 / n) of the fourth moment.
    assert abs(w.mean()) < 5 * math.sqrt(variance / w.size)
    assert abs(w.var() / variance - 1) < 5 * math.sqrt((kurtosis - 1) / w.size)
    assert abs((w**4).mean() / variance**2 - kurtosis) < 5 * math.sqrt(96 / w.size)


@pytest.mark.parametrize("name", [name for name in VARIANCES if name.endswith("uniform")])
def test_uniform_draws_fill_their_interval_and_stay_in_it(name):
    limit = math.sqrt(3 * VARIANCES[name](*fans_by_counting(LINEAR)))
    w = draw(name, LINEAR)
    assert 0.999 * limit < w.max() <= limit * (1 + 1e-6)
    assert -0.999 * limit > w.min() >= -limit * (1 + 1e-6)


@pytest.mark.parametrize("name", VARIANCES)
def test_the_generator_decides_the_draw(name):
    assert draw(name, LINEAR).dtype == np.float32
    np.testing.assert_array_equal(draw(name, LINEAR, 3), draw(name, LINEAR, 3))
    assert not np.array_equal(draw(name, LINEAR, 3), draw(name, LINEAR, 4))


def test_zeros_ones_constant_normal():
    rng = np.random.default_rng(0)
    for initializer, value in ((init.zeros, 0), (init.ones, 1), (init.constant(-2.5), -2.5), (init.normal(0), 0)):
        w = initializer((2, 3), rng)
        assert w.dtype == np.float32
        np.testing.assert_array_equal(w, np.full((2, 3), value, np.float32))
    w = init.normal(0.01)(LINEAR, rng)
    assert abs(w.std() / 0.01 - 1) < 5 / math.sqrt(2 * w.size)


@pytest.mark.parametrize(
    "make", [lambda: init.normal(-1.0), lambda: init.constant(math.nan), lambda: init.normal(math.inf)]
)
def test_wrong_values_are_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()


def test_a_constant_must_be_a_number():
    with pytest.raises(TypeError, match="number"):
        init.constant("1")
