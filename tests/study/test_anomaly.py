"""detect_anomaly: each way to a NaN or an infinity is named where it begins, and what is well goes on as without it."""

import warnings

import numpy as np
import pytest

import minicnn as mc
from minicnn import data, models, nn, optim
from minicnn import functional as F
from minicnn.study.anomaly.error import AnomalyError, Range
from minicnn.train import gpu_steps

pytestmark = pytest.mark.usefixtures("plain_kernels")


def anomaly(function):
    """The error that a function raises under detect_anomaly."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy is not to complain first
        with pytest.raises(AnomalyError) as caught, mc.detect_anomaly():
            function()
    return caught.value


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def tensor(array, **settings):
    return mc.tensor(np.asarray(array, np.float32), **settings)


class Applied(nn.Module):
    """A layer that computes a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_layer_operation_sample_and_ranges_of_a_forward_pass():
    """The third sample alone has a 0 behind the ReLU, and log is the first that makes an infinity of it."""
    model = nn.Sequential({"body": nn.Sequential(nn.ReLU(), Applied(lambda x: (x * 2.0).log())), "tail": nn.ReLU()})
    error = anomaly(lambda: model(tensor([[1, 2], [3, 4], [5, -1], [-1, 6]])))
    assert (error.where, error.layer, error.operation, error.sample) == ("forward", "body.1 (Applied)", "Log", 2)
    assert error.inputs == (Range("x", (4, 2), 0.0, 12.0, 0.0, None, False),)
    assert (error.result.place, error.result.not_finite, error.result.has_nan) == ((2, 1), 2 / 8, False)
    assert str(error).splitlines() == [
        "body.1 (Applied) made an infinity in the forward pass, in Log (sample 2 of the batch, at (2, 1))",
        "  x       (4, 2)  from 0 to 12, all finite",
        "  result  (4, 2)  from 0.693 to 2.48, 25 % not finite",
        "Likely: log of 0 is minus infinity: add a small number before it; for the",
        "probabilities of a softmax use F.log_softmax, or F.cross_entropy on the logits.",
    ]


def test_a_loss_of_ones_own_names_the_sample_too():
    """It is computed outside of the network, of the batch that the network has seen last."""
    model = nn.Sequential(nn.ReLU())
    error = anomaly(lambda: model(tensor([[1, 2], [3, 4], [5, -1]]))[:, 1].log())
    assert (error.layer, error.operation, error.sample) == ("", "Log", 2)


FORWARD = {
    "log of a negative": (lambda x: (x - 3.0).log(), "Log", "the logarithm of a negative number, -2, is no number"),
    "division by 0": (lambda x: 1.0 / (x - 2.0), "Divide", "division by 0: add a small number to the divisor"),
    "0 by 0": (lambda x: (x - 2.0) / (x - 2.0), "Divide", "division by 0"),
    "small divisor": (lambda x: x * 1e30 / (x * 1e-20), "Divide", "an overflow: the divisor is as small as 1e-20"),
    "exp": (lambda x: (x * 50.0).exp(), "Exp", "exp overflows float32 above 88.7, and x goes up to 100"),
    "sqrt": (lambda x: (x - 3.0).sqrt(), "Sqrt", "the square root of a negative number, -2, is no number"),
    "power below 0": (lambda x: (x - 2.0) ** -1, "Power", "division by 0: 0 to the power of -1"),
    "root of a negative": (lambda x: (x - 3.0) ** 0.5, "Power", "a negative number, -2, to the power of 0.5"),
    "product": (lambda x: x * 1e30 * 1e30, "Multiply", "an overflow: the largest float32 is 3.4e+38"),
    "no Function": (lambda x: mc.Tensor(x.data / 0), "forward", ""),
}


@pytest.mark.parametrize("case", FORWARD)
def test_causes_in_the_forward_pass(case):
    function, operation, cause = FORWARD[case]
    error = anomaly(lambda: nn.Sequential(Applied(function))(tensor([[1], [2]])))
    assert (error.where, error.layer, error.operation) == ("forward", "0 (Applied)", operation)
    assert error.cause.startswith(cause)
    assert all(given.place is None for given in error.inputs)


# A function, the gradient that comes into it, and what is said.
BACKWARD = {
    "sqrt at 0": (lambda x: x.sqrt(), 1.0, "Sqrt", "the slope of sqrt at 0 is infinite"),
    "root at 0": (lambda x: x**0.5, 1.0, "Power", "the slope of x**0.5 at 0 is infinite"),
    "log near 0": (lambda x: (x + 1e-20).log(), 1e20, "Log", "the slope of log is 1 / x, and x is as small as 1e-20"),
    "product": (lambda x: x * 1e-30 * 1e30, 1e20, "Multiply", "an overflow: the largest float32 is 3.4e+38"),
}


@pytest.mark.parametrize("case", BACKWARD)
def test_causes_in_the_backward_pass(case):
    """The forward pass is finite, and so is the gradient until the operation that is named."""
    function, dy, operation, cause = BACKWARD[case]
    model = nn.Sequential({"scale": nn.Linear(1, 1, bias=False), "root": Applied(function)})
    model.scale.weight.assign(np.ones((1, 1), np.float32))
    error = anomaly(lambda: model(tensor([[1], [0], [4]])).backward(np.full((3, 1), dy, np.float32)))
    assert (error.where, error.layer, error.operation) == ("backward", "root (Applied)", operation)
    assert error.cause.startswith(cause)
    gradient = next(given for given in error.inputs if given.name == "gradient in the result")
    assert gradient.place is None
    assert error.sample == (0 if case == "product" else 1)


def test_the_gradient_of_a_weight_is_named_by_its_parameter_and_is_no_samples():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    error = anomaly(lambda: model(tensor(np.full((2, 2), 1e30))).backward(np.full((2, 2), 1e20, np.float32)))
    assert (error.layer, error.operation, error.result.name) == ("1 (Linear)", "Linear", "gradient in 1.weight")
    assert error.sample is None


def test_gradients_that_overflow_where_branches_meet():
    x = tensor([1e-9, 1e-8], requires_grad=True)

    def step():
        y = x * 1.0
        (y * 1e38 * 3.0 + y * 1e38 * 3.0).backward(np.ones(2, np.float32))

    error = anomaly(step)
    assert (error.where, error.operation, error.layer) == ("backward", "Multiply", "")
    assert error.result.name == "gradient in the result"
    assert "several that add up to it, an overflow" in error.cause


def test_a_pass_that_began_outside_names_the_operation_alone():
    y = tensor([0.0, 4.0], requires_grad=True).sqrt()
    error = anomaly(lambda: y.backward(np.ones(2, np.float32)))
    assert (error.where, error.layer, error.operation) == ("backward", "", "Sqrt")
    assert (error.result.name, error.result.place) == ("gradient in x", (0,))


def test_what_came_in_is_blamed_on_where_it_came_from():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 3))
    x = normal(4, 1, 2, 1)
    x[3, 0, 1, 0] = np.nan
    error = anomaly(lambda: model(mc.tensor(x)))
    assert (error.layer, error.operation, error.sample) == ("0 (Flatten)", "Reshape", 3)
    assert error.cause == "x is not finite already, and no operation in here has made it: look at the data"
    model[1].weight.data[1, 2] = np.inf
    error = anomaly(lambda: model(mc.tensor(normal(4, 1, 2, 1))))
    assert error.cause.startswith("the weights in 1.weight are not finite already")
    assert [given.name for given in error.inputs] == ["x", "1.weight", "1.bias"]
    assert [given.place for given in error.inputs] == [None, (1, 2), None]


def test_a_step_that_makes_a_weight_infinite():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    optimizer = optim.SGD(model.parameters(), lr=1.0)

    def step():
        model(tensor([[1, 2]])).sum().backward()
        optimizer.step()
        model[0].weight.grad *= 0
        model[1].bias.grad[...] = 1e30
        optimizer.lr = 1e20
        optimizer.step()

    error = anomaly(step)
    assert (error.where, error.layer, error.operation, error.sample) == ("step", "1.bias", "SGD", None)
    before, gradient = error.inputs
    assert (before.name, before.low, before.place) == ("before the step", -1.0, None)
    assert (gradient.name, gradient.low, gradient.place) == ("its gradient", float(np.float32(1e30)), None)
    assert error.cause == "the learning rate 1e+20 is too large"
    assert "SGD.step made an infinity of 1.bias (at (0,), after 2 steps of the optimizer)" in str(error)


def test_gradients_that_were_not_finite_before_a_step():
    w = nn.Parameter(np.ones(2))
    w.grad = np.array([1.0, np.nan])
    error = anomaly(optim.SGD([w], 0.1).step)
    assert (error.where, error.layer, error.result.name) == ("step", "Parameter 0", "its gradient")
    np.testing.assert_array_equal(w.data, 1.0)


def digits(count=60):
    rng = np.random.default_rng(0)
    return data.ArrayDataset(rng.integers(0, 256, (count, 28, 28, 1), np.uint8), rng.integers(0, 10, count))


def trained(lr, **settings):
    mc.seed(0)
    model = nn.Sequential({"flat": nn.Flatten(), "a": nn.Linear(784, 16, activation="relu"), "b": nn.Linear(16, 10)})
    trainer = mc.Trainer(model, optim.SGD(model.parameters(), lr, momentum=0.5), **settings)
    trainer.fit(digits(), epochs=2, batch_size=20, validation=digits(30), progress=False)
    return trainer


def test_a_learning_rate_that_is_too_large_is_told_by_the_weights_that_have_grown():
    error = anomaly(lambda: trained(1e30))
    assert (error.where, error.layer, error.operation) == ("forward", "b (Linear)", "Linear")
    assert "a.weight has grown from 0.0875 to " in error.cause
    assert error.cause.endswith("in 1 step: the learning rate 1e+30 is too large")
    assert "after 1 step of the optimizer" in str(error)


def test_a_training_that_is_well_has_the_same_bits():
    plain = trained(0.1)
    with mc.detect_anomaly():
        watched = trained(0.1)
    for name, value in plain.model.state_dict().items():
        np.testing.assert_array_equal(watched.model.state_dict()[name], value)
    assert plain.history["loss"] == watched.history["loss"]


def test_a_network_of_every_kind_of_layer_raises_nothing():
    model = models.resnet20()
    x, labels = normal(3, 16, 16, 3), np.array([1, 2, 3])
    with mc.detect_anomaly():
        F.cross_entropy(model(mc.tensor(x)), labels).backward()
        with mc.no_grad():
            model.eval()(mc.tensor(x))


def test_outside_of_it_nobody_looks():
    with mc.detect_anomaly():
        pass
    with np.errstate(all="ignore"):
        assert np.isinf((tensor([1.0]) / 0.0).item())
    with pytest.raises(AnomalyError), mc.detect_anomaly():
        tensor([1.0]) / 0.0
    with np.errstate(all="ignore"):
        assert np.isinf((tensor([1.0]) / 0.0).item())


def test_an_error_that_passes_through_leaves_no_wrong_layer_behind():
    """Names come from the calls that are going on, so a forward pass that broke off leaves none."""
    model = nn.Sequential(nn.Linear(2, 2))

    def loop():
        with pytest.raises(ValueError, match="expected an array of shape"):
            model(tensor([[1, 2, 3]]))
        tensor([0.0]).log()

    assert anomaly(loop).layer == ""


def test_steps_on_a_gpu_are_not_recorded_while_somebody_looks():
    model = nn.Linear(2, 2)
    trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.1))
    steps = lambda: gpu_steps.GpuSteps(trainer, gpu_steps.Sent(), lambda K: None)  # noqa: E731
    assert steps().capture
    with mc.detect_anomaly():
        assert not steps().capture
