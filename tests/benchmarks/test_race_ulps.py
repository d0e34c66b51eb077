"""Errors in units in the last place: of numbers built by np.nextafter, and of terms added up by loops."""

import numpy as np
import pytest

from minicnn.kernels import reference


@pytest.fixture
def ulps():
    import ulps

    return ulps


def case_of(kernel, name):
    """One of the benchmarks' cases and its arguments."""
    import race_cases

    case = race_cases.named(kernel, name)
    return case, case.arguments(np.random.default_rng(0))


def judged(ulps, kernel, arguments):
    """Exact results and sums of terms of a kernel on these arguments."""
    from conv_cases import Case

    case = Case(kernel, "", lambda rng: arguments)
    exact = ulps.exact_results(case, arguments)
    return exact, ulps.sums_of_terms(case, arguments, exact)


@pytest.mark.parametrize("value", [1.0, 1.5, -1.5, 3e-20, 1e30, 0.1])
def test_a_number_some_steps_away_is_as_many_units_away(ulps, value):
    exact = np.array([np.float32(value)], np.float64)
    result = exact.astype(np.float32)
    for steps in range(1, 5):
        result = np.nextafter(result, np.float32(np.copysign(np.inf, value)))
        assert ulps.distance(result, exact, exact) == steps


def test_a_number_that_is_rounded_once_is_off_by_half_a_unit_at_most(ulps):
    exact = np.random.default_rng(0).standard_normal(10000)
    off = ulps.distance(exact.astype(np.float32), exact, exact)
    assert 0.49 < off.max() <= 0.5


def test_median_and_largest_are_over_all_numbers_of_all_results(ulps):
    one = np.ones(3)
    up = np.nextafter(np.float32(1), np.float32(2))
    results = np.float32([1, 1, up]), np.float32([up, up]), np.array([7])
    exact = one, one[:2], np.array([9])  # integers are compared elsewhere
    found = ulps.agreement(results, exact, (2 * one, 4 * one[:2], one))
    assert found.median == (0.25, 1)  # off by 0, 0 and 1 unit of 1, half a unit of 2; 1 unit of 1, a quarter of 4
    assert found.largest == (0.5, 1)
    assert ulps.agreement(results[:1], exact, (one, one, one)).largest == (1, 1)  # a library returned one alone


def test_what_a_cancelling_sum_leaves_is_judged_by_its_terms(ulps):
    x, w = np.float32([[1000, -999.9375]]), np.ones((2, 1), np.float32)
    (exact,), (terms,) = judged(ulps, "linear_forward", (x, w, None, None))
    assert exact == 0.0625
    assert terms == 1999.9375
    result = np.float32(exact + np.spacing(np.float32(1000)))  # as if one term had been rounded the wrong way
    assert ulps.distance(result, exact, exact) == 2.0**-14 / 2.0**-27  # units of 1000 and of 1 / 16: 8192
    assert ulps.distance(result, exact, terms) == 0.5


def test_the_terms_of_a_convolution_are_its_products_and_the_bias(ulps):
    case, arguments = case_of("conv2d_forward", "1x14x14x6-16-5x5")
    x, w, b = (array.astype(np.float64) for array in arguments[:3])
    (terms,) = ulps.sums_of_terms(case, arguments, ulps.exact_results(case, arguments))
    for i, j, o in ((0, 0, 0), (9, 9, 15), (4, 7, 3)):
        products = [abs(x[0, i + kh, j + kw, c] * w[kh, kw, c, o])
                    for kh in range(5) for kw in range(5) for c in range(6)]  # fmt: skip
        assert terms[0, i, j, o] == pytest.approx(abs(b[o]) + sum(products))


def test_the_terms_of_a_step_are_the_weight_and_all_that_is_subtracted(ulps):
    w, dw, velocity = (np.random.default_rng(i).standard_normal(5).astype(np.float32) for i in range(3))
    from conv_cases import Case

    arguments = [w], [dw], [velocity], 0.1, 0.9, False, 0.01
    case = Case("sgd_update", "", lambda rng: arguments, updates=(0, 2))
    new, speed = ulps.sums_of_terms(case, arguments, ())
    for i in range(5):
        expected = 0.9 * abs(float(velocity[i])) + abs(float(dw[i])) + 0.01 * abs(float(w[i]))
        assert speed[i] == pytest.approx(expected)
        assert new[i] == pytest.approx(abs(float(w[i])) + 0.1 * expected)


def test_the_terms_of_batch_norms_gradient(ulps):
    rng = np.random.default_rng(0)
    dy, x = (rng.standard_normal((4, 1)).astype(np.float32) for _ in range(2))
    gamma, beta, mean, var = (np.float32([v]) for v in (-2.0, 0.5, 0.25, 1.5))
    _, (dx, dgamma, dbeta) = judged(ulps, "batch_norm_backward", (dy, x, gamma, beta, mean, var, 0.5, None))
    hats = [abs(float(v) - 0.25) / np.sqrt(2.0) for v in x[:, 0]]
    sums = sum(abs(float(d)) for d in dy[:, 0]), sum(abs(float(d)) * hat for d, hat in zip(dy[:, 0], hats, strict=True))
    assert (dbeta, dgamma) == pytest.approx(sums)
    for i in range(4):
        inside = abs(float(dy[i, 0])) + sums[0] / 4 + hats[i] * sums[1] / 4
        assert dx[i, 0] == pytest.approx(2.0 / np.sqrt(2.0) * inside)


def test_the_terms_of_response_normalisations_gradient(ulps):
    rng = np.random.default_rng(0)
    dy, x = (rng.standard_normal((1, 1, 1, 6)).astype(np.float32) for _ in range(2))
    size, alpha, beta, k = 4, 0.5, 0.75, 2.0
    _, (terms,) = judged(ulps, "local_response_norm_backward", (dy, x, size, alpha, beta, k))
    d, v = (np.abs(a.astype(np.float64)).ravel() for a in (dy, x))
    seen = {c: [j for j in range(6) if c - 2 <= j <= c + 1] for c in range(6)}
    s = [k + alpha / size * sum(v[j] ** 2 for j in seen[c]) for c in range(6)]
    for j in range(6):
        others = sum(d[c] * v[c] / s[c] ** (beta + 1) for c in range(6) if j in seen[c])
        assert terms[0, 0, 0, j] == pytest.approx(d[j] / s[j] ** beta + 2 * alpha * beta / size * v[j] * others)


def test_the_terms_of_the_softmaxes(ulps):
    rng = np.random.default_rng(0)
    dy, x = (rng.standard_normal((1, 4)).astype(np.float32) for _ in range(2))
    d, v = (a.astype(np.float64)[0] for a in (dy, x))
    _, (forward,) = judged(ulps, "log_softmax_forward", (x,))
    logarithm = np.log(sum(np.exp(each - max(v)) for each in v))
    np.testing.assert_allclose(forward[0], [max(v) - each + logarithm for each in v])
    y = reference.softmax_forward(x)
    p = y.astype(np.float64)[0]
    _, (backward,) = judged(ulps, "softmax_backward", (dy, y))
    np.testing.assert_allclose(backward[0], [q * (abs(e) + sum(abs(d) * p)) for q, e in zip(p, d, strict=True)])
    logs = np.log(y)
    _, (backward,) = judged(ulps, "log_softmax_backward", (dy, logs))
    np.testing.assert_allclose(backward[0], [abs(e) + np.exp(q) * sum(abs(d)) for q, e in
                                             zip(logs.astype(np.float64)[0], d, strict=True)])  # fmt: skip


def _small(kernel):
    """The smallest case of a kernel that has more than a handful of numbers."""
    import race_cases

    return case_of(kernel, list(race_cases.names(kernel))[1])


@pytest.mark.parametrize("kernel", reference.__all__)
def test_no_number_is_larger_than_the_sum_of_its_terms(ulps, kernel):
    case, arguments = _small(kernel)
    exact = ulps.exact_results(case, arguments)
    terms = ulps.sums_of_terms(case, arguments, exact)
    assert len(exact) == len(terms)
    for number, whole in zip(exact, terms, strict=True):
        assert number.shape == whole.shape
        if number.dtype.kind == "f":
            assert number.dtype == whole.dtype == np.float64
            assert (np.abs(number) <= whole * (1 + 1e-12)).all()


def test_nothing_that_is_judged_writes_into_the_arguments(ulps):
    case, arguments = case_of("adadelta_update", "5x5x6x16")
    before = [array.copy() for array in (*arguments[0], *arguments[2])]
    ulps.sums_of_terms(case, arguments, ulps.exact_results(case, arguments))
    assert all(np.array_equal(a, b) for a, b in zip(before, (*arguments[0], *arguments[2]), strict=True))
