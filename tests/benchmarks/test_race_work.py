"""Operations and bytes counted by hand, and by numbers that count what is done with them."""

import math

import numpy as np
import pytest

from minicnn.kernels import reference


@pytest.fixture
def work():
    import work

    return work


class Number:
    """A float that counts the operations on numbers of its kind."""

    done = 0

    def __init__(self, value=1.0):
        self.value = value

    def _count(self, value):
        Number.done += 1
        return Number(value)

    def __add__(self, other):
        return self._count(self.value + _value(other))

    def __sub__(self, other):
        return self._count(self.value - _value(other))

    def __mul__(self, other):
        return self._count(self.value * _value(other))

    def __truediv__(self, other):
        return self._count(self.value / _value(other))

    def __pow__(self, other):
        return self._count(self.value**other)

    def larger(self, other):
        return self._count(max(self.value, other.value))

    def sqrt(self):
        return self._count(math.sqrt(self.value))

    def exp(self):
        return self._count(math.exp(self.value))

    def log(self):
        return self._count(math.log(self.value))


def _value(other):
    return other.value if isinstance(other, Number) else other


def total(numbers, start=None):
    """A sum of n terms is n additions: it starts from zero, or from a bias."""
    result = Number(0.0) if start is None else start
    for number in numbers:
        result = result + number
    return result


def greatest(numbers):
    """The largest of n numbers in n comparisons: it starts from minus infinity."""
    result = Number(-math.inf)
    for number in numbers:
        result = result.larger(number)
    return result


def numbers(count):
    return [Number(1.0 + i) for i in range(count)]


def batch_norm_forward(x):
    m = len(x)
    mean = total(x) / m
    var = total([(value - mean) ** 2 for value in x]) / m
    root = (var + 1e-5).sqrt()
    return [(value - mean) / root * 2.0 + 1.0 for value in x]


def batch_norm_backward(x):
    m, gamma, mean, var = len(x), Number(), Number(), Number()
    root = (var + 1e-5).sqrt()
    x_hat = [(value - mean) / root for value in x]
    dy = numbers(m)
    dbeta, dgamma = total(dy), total([d * hat for d, hat in zip(dy, x_hat, strict=True)])
    scale, shift, slope = gamma / root, dbeta / m, dgamma / m
    return [scale * (d - shift - hat * slope) for d, hat in zip(dy, x_hat, strict=True)]


def softmax_forward(x):
    highest = greatest(x)
    e = [(value - highest).exp() for value in x]
    whole = total(e)
    return [value / whole for value in e]


def softmax_backward(y):
    dy = numbers(len(y))
    share = total([d * value for d, value in zip(dy, y, strict=True)])
    return [(d - share) * value for d, value in zip(dy, y, strict=True)]


def log_softmax_forward(x):
    highest = greatest(x)
    shifted = [value - highest for value in x]
    logarithm = total([value.exp() for value in shifted]).log()
    return [value - logarithm for value in shifted]


def log_softmax_backward(y):
    dy = numbers(len(y))
    whole = total(dy)
    return [d - value.exp() * whole for d, value in zip(dy, y, strict=True)]


def adadelta_update(ws):
    for w in ws:
        dw, square, update = numbers(3)
        g = dw + w * 0.1
        square = square * 0.9 + g * g * 0.1
        delta = (update + 1e-6).sqrt() / (square + 1e-6).sqrt() * g
        update = update * 0.9 + delta * delta * 0.1
        w = w - delta * 1.0


def adagrad_update(ws):
    for w in ws:
        dw, square = numbers(2)
        g = dw + w * 0.1
        square = square + g * g
        w = w - g * 0.1 / (square.sqrt() + 1e-10)


def rmsprop_update(ws):
    for w in ws:
        dw, square, average, velocity = numbers(4)
        g = dw + w * 0.1
        square = square * 0.9 + g * g * 0.1
        average = average * 0.9 + g * 0.1
        variance = (square - average * average).larger(Number(0.0))
        velocity = velocity * 0.9 + g / (variance.sqrt() + 1e-6)
        w = w - velocity * 0.1


def lion_update(ws):
    for w in ws:
        dw, average = numbers(2)
        direction = average * 0.9 + dw * 0.1
        w = w - (direction + w * 0.1) * 0.1
        average = average * 0.9 + dw * 0.1


def sgd_update(ws):
    for w in ws:
        dw, velocity = numbers(2)
        velocity = velocity * 0.9 + (dw + w * 0.1)
        w = w - velocity * 0.1


FORMULAS = [batch_norm_forward, batch_norm_backward, softmax_forward, softmax_backward, log_softmax_forward,
            log_softmax_backward, adadelta_update, adagrad_update, rmsprop_update, lion_update, sgd_update]  # fmt: skip


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda formula: formula.__name__)
def test_a_formula_has_as_many_operations_as_are_done_in_it(work, formula):
    Number.done = 0
    formula(numbers(7))
    a, C = np.ones((7, 1), np.float32), np.ones(1, np.float32)
    row = a.reshape(1, 7)
    arguments = {
        "batch_norm_forward": (a, C, C, 1e-5, None, None),
        "batch_norm_backward": (a, a, C, C, C, C, 1e-5, None),
        "sgd_update": ([a], [a], [a], 0.1, 0.9, False, 0.1),
        "adadelta_update": ([a], [a], [a], [a], 1.0, 0.9, 1e-6, 0.1),
        "adagrad_update": ([a], [a], [a], 0.1, 1e-10, 0.1),
        "rmsprop_update": ([a], [a], [a], [a], [a], 0.1, 0.9, 1e-6, 0.9, 0.1),
        "lion_update": ([a], [a], [a], 0.1, 0.9, 0.9, 0.1),
    }.get(formula.__name__, (row, row))
    assert work.OPERATIONS[formula.__name__](*arguments, y=row) == Number.done > 0


def test_lars_without_trust_needs_no_norms(work):
    a = np.ones(5, np.float32)
    assert work.OPERATIONS["lars_update"]([a], [a], [a], 0.1, 0.9, 0.1, None, y=a) == 6 * 5


def test_nesterov_looks_ahead_by_one_multiply_add(work):
    a = np.ones(5, np.float32)
    plain, ahead = (work.OPERATIONS["sgd_update"]([a], [a], [a], 0.1, 0.9, n, 0.0, y=a) for n in (False, True))
    assert ahead - plain == 2 * 5


def counted(work, kernel, name):
    """Work of one of the benchmarks' cases, its results being those of the reference."""
    import race_cases
    from ulps import exact_results

    case = race_cases.named(kernel, name)
    arguments = case.arguments(np.random.default_rng(0))
    results = tuple(a.astype(np.float32) if a.dtype.kind == "f" else a for a in exact_results(case, arguments))
    return work.work(kernel, arguments, results)


# Images 28 x 28 x 6 pooled by 2 x 2 are 14 x 14 x 6; AlexNet's windows of response normalisation have 5 channels.
BY_HAND = [
    # 14 * 14 * 6 images, 6 * 5 * 5 * 16 weights, 16 biases -> 10 * 10 * 16; each of those is 150 multiply-adds
    ("conv2d_forward", "1x14x14x6-16-5x5", 2 * 1600 * 150, 4 * (1176 + 2400 + 16 + 1600)),
    ("conv2d_backward_input", "1x14x14x6-16-5x5", 2 * 1600 * 150, 4 * (1600 + 2400 + 1176)),
    ("conv2d_backward_weight", "1x14x14x6-16-5x5", 2 * 1600 * 150, 4 * (1600 + 1176 + 2400)),
    ("conv2d_forward", "1x56x56x144-144-3x3-g144", 2 * 56 * 56 * 144 * 9, 4 * (2 * 56 * 56 * 144 + 9 * 144 + 144)),
    ("linear_forward", "128x400-120", 2 * 128 * 400 * 120, 4 * (128 * 400 + 400 * 120 + 120 + 128 * 120)),
    ("linear_backward_input", "128x400-120", 2 * 128 * 400 * 120, 4 * (128 * 120 + 400 * 120 + 128 * 400)),
    ("linear_backward_weight", "128x400-120", 2 * 128 * 400 * 120, 4 * (128 * 120 + 128 * 400 + 400 * 120)),
    ("bias_backward", "128x10", 1280, 4 * (1280 + 10)),
    ("im2col", "128x14x14x6-5x5", 0, 4 * 128 * (1176 + 100 * 150)),
    ("col2im", "128x14x14x6-5x5", 128 * 100 * 150, 4 * 128 * (100 * 150 + 1176)),
    ("max_pool2d_forward", "1x28x28x6-2x2-s2", 1176 * 4, 4 * (4704 + 2 * 1176)),  # the index too
    ("max_pool2d_backward", "1x28x28x6-2x2-s2", 1176, 4 * (2 * 1176 + 4704)),
    ("sum_pool2d_forward", "1x28x28x6-2x2-s2", 1176 * 4, 4 * (4704 + 1176)),
    ("sum_pool2d_backward", "1x28x28x6-2x2-s2", 1176 * 4, 4 * (4704 + 1176)),
    ("avg_pool2d_forward", "1x28x28x6-2x2-s2", 1176 * 5, 4 * (4704 + 1176)),
    ("avg_pool2d_backward", "1x28x28x6-2x2-s2", 1176 * 5, 4 * (4704 + 1176)),
    # 13 rows in 7 windows: floor and ceiling overlap, so that each has 2 or 3, and all together 19
    ("adaptive_avg_pool2d_forward", "1x13x13x512-7x7", 512 * (19 * 19 + 49), 4 * 512 * (169 + 49)),
    ("adaptive_avg_pool2d_backward", "1x13x13x512-7x7", 512 * (19 * 19 + 49), 4 * 512 * (169 + 49)),
    ("batch_norm_statistics", "1x2x2x1", 4 * 4 + 2, 4 * (4 + 1 + 1)),
    ("batch_norm_inference_forward", "1x2x2x1", 4 * 4 + 2, 4 * (4 + 4 + 4)),
    ("batch_norm_inference_backward", "1x2x2x1", 6 * 4 + 3, 4 * (8 + 4 + 4 + 2)),
    ("local_response_norm_forward", "1x1x1x1", 1 + 5 + 2 + 2, 8),
    ("local_response_norm_backward", "1x1x1x1", (1 + 5 + 2) + 3 + 5 + 2 + 2 + 1, 12),
    ("relu_forward", "128x120", 15360, 8 * 15360),
    ("relu_backward", "128x120", 15360, 12 * 15360),
    ("relu6_forward", "128x120", 2 * 15360, 8 * 15360),
    ("relu6_backward", "128x120", 2 * 15360, 12 * 15360),
    ("tanh_forward", "128x120", 15360, 8 * 15360),
    ("tanh_backward", "128x120", 3 * 15360, 12 * 15360),
    ("sigmoid_forward", "128x120", 3 * 15360, 8 * 15360),
    ("sigmoid_backward", "128x120", 3 * 15360, 12 * 15360),
    # classes are 64-bit integers; a softmax of 5 operations, then log, difference and sum for each of 128 rows
    ("cross_entropy_forward", "128x10", 5 * 1280 + 3 * 128 + 1, 4 * (1280 + 1 + 1280) + 8 * 128),
    ("cross_entropy_backward", "128x10", 2 * 1280 + 1, 4 * (1 + 1280 + 1280) + 8 * 128),
    ("mean_squared_error_forward", "128x10", 3 * 1280 + 1, 4 * (2 * 1280 + 1)),
    ("mean_squared_error_backward", "128x10", 2 * 1280 + 2, 4 * (3 * 1280 + 1)),
    ("half_squared_error_forward", "128x10", 3 * 1280 + 2, 4 * (2 * 1280 + 1)),
    ("half_squared_error_backward", "128x10", 2 * 1280 + 1, 4 * (3 * 1280 + 1)),
    ("dropout_forward", "1x4096", 3 * 4096, 8 * 4096),
    ("dropout_backward", "1x4096", 3 * 4096, 8 * 4096),
    ("philox4x32", "1024x4", 0, 4 * (2 * 4096 + 2)),
    ("sgd_update", "400x120", 6 * 48000, 4 * 5 * 48000),  # reads w, dw and velocity, writes the first and the last
    ("adadelta_update", "400x120", 18 * 48000, 4 * 7 * 48000),
    # both norms: 4 for each number, two roots; trust and its product with lr are 5; velocity and step, with decay, 6
    ("lars_update", "400x120", 10 * 48000 + 7, 4 * 5 * 48000),
    # weight decay 2, means 3 and 4, two quotients, root, sum and quotient 5, step 2; the count is read and written
    ("adam_update", "400x120", 16 * 48000 + 5, 4 * (7 * 48000 + 2)),
    ("rmsprop_update", "400x120", 13 * 48000, 4 * 7 * 48000),  # not centred, with momentum
    # bilinear of one channel, and a place of two products of 3 numbers each; matrices are 6 numbers of float64
    ("warp", "128x28x28x1", 128 * 784 * (2 * 4 + 2 + 2 + 4 + 4 + 4), 8 * 128 * 784 + 8 * 128 * 6),
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "name", "operations", "moved"), BY_HAND, ids=lambda value: str(value))
def test_operations_and_bytes_of_a_case(work, kernel, name, operations, moved):
    found = counted(work, kernel, name)
    assert (found.operations, found.moved) == (operations, moved)
    assert found.intensity == operations / moved


def test_every_kernel_of_the_contract_is_counted_and_tested(work):
    assert work.OPERATIONS.keys() == set(reference.__all__)
    assert {kernel for kernel, *_ in BY_HAND} | {formula.__name__ for formula in FORMULAS} == set(reference.__all__)


def test_a_product_has_two_operations_for_each_of_its_multiply_adds(work):
    from conv_cases import Convolution
    from kernel_cases import linears

    for case in (*Convolution(2, 7, 4, 6, 3, 2, 1, groups=2).cases(), *linears([(3, 5, 2)])):
        arguments = case.arguments(np.random.default_rng(0))
        results = getattr(reference, case.kernel)(*arguments)
        assert work.work(case.kernel, arguments, (results,)).operations == 2 * case.multiply_adds


def test_the_least_time_is_the_longer_of_computing_and_moving():
    from roofs import Roofs

    roofs = Roofs(peak=100.0, bandwidth=10.0)
    assert roofs.seconds(operations=200, moved=8) == 2.0
    assert roofs.seconds(operations=200, moved=80) == 8.0
    assert roofs.seconds(operations=0, moved=80) == 8.0
