"""One sample's pass, recorded: the engine's own numbers, the model left as it was."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import minicnn as mc
from minicnn import _random, autograd, models, nn
from minicnn import functional as F
from minicnn.study.backprop import record


def image(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


class Cube(mc.Function):
    """A user's own."""

    def forward(self, x):
        self.save(x)
        return x**3

    def backward(self, dy):
        (x,) = self.saved
        return (3 * x**2 * dy,)


class Branches(nn.Module):
    """A diamond, a user's own Function, a constant, a result for nobody, a frozen weight, a buffer that moves."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding="same")
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(None, 4)
        self.scale = nn.Parameter(np.full(3, 0.5, np.float32))
        self.scale.requires_grad = False
        self.register_buffer("calls", np.zeros(3, np.float32))

    def forward(self, x):
        first = self.norm(self.conv(x))
        F.relu(first).sum()
        second = Cube()(self.conv(x) * self.scale) + first + mc.Tensor(self.calls)
        self.calls += 1
        return self.head(self.dropout(second + first).reshape(1, -1))


def state(model):
    """Copies of everything that a pass could change."""
    arrays = {name: p.data.copy() for name, p in model.named_parameters() if p.is_filled}
    arrays |= {name: array.copy() for name, array in model.named_buffers()}
    grads = {name: None if p.grad is None else p.grad.copy() for name, p in model.named_parameters()}
    return arrays, grads, [m.training for m in model.modules()], (_random._seed, _random._constructed)


def check_state(model, before):
    after = state(model)
    for name, array in before[0].items():
        assert_array_equal(after[0][name], array, err_msg=name)
    for name, grad in before[1].items():
        assert (after[1][name] is None) == (grad is None), name
        assert grad is None or (after[1][name] == grad).all(), name
    assert after[2:] == before[2:]


@pytest.mark.parametrize("training", [True, False])
def test_values_and_gradients_are_those_of_an_ordinary_step(training):
    mc.seed(1)
    model = Branches().train(training)
    x = image(5, 6, 2)
    r = record(model, x, 2)
    sample = mc.tensor(x[None], requires_grad=True)
    logits = model(sample)
    loss = F.cross_entropy(logits, np.array([2]))
    loss.backward()
    by_name = {t.name: t for t in r.tensors}
    assert_array_equal(r.loss.value, loss.data)
    assert_array_equal(r.tensors[r.output[0]].value, logits.data)
    assert_array_equal(r.input.value, x[None])
    assert_array_equal(r.input.gradient, sample.grad)
    for name, p in model.named_parameters():
        assert by_name[name].role == "parameter"
        assert_array_equal(by_name[name].value, p.data)
        if name == "scale":
            assert p.grad is None
            assert by_name[name].gradient is None
        else:
            assert_array_equal(by_name[name].gradient, p.grad)
    assert r.training is training


def test_a_gradient_is_the_sum_of_the_parts_that_steps_gave_to_it():
    mc.seed(1)
    r = record(Branches(), image(5, 6, 2), 2)
    sums = {}
    for step in r.steps:
        for t, part in zip(step.inputs, step.parts, strict=False):
            if part is not None:
                sums.setdefault(t, []).append(part)
    for t in r.tensors:
        if t.role == "loss":
            assert_array_equal(t.gradient, 1)
        elif t.gradient is None:
            assert t.id not in sums
        else:
            assert_allclose(t.gradient, sum(sums[t.id]), rtol=1e-5, atol=1e-7)
    counts = {r.tensors[i].name: len(parts) for i, parts in sums.items()}
    assert (counts["norm"], counts["x"], counts["conv.weight"]) == (2, 2, 2)


def test_steps_are_named_after_modules_and_run_backwards_in_reverse():
    mc.seed(1)
    r = record(Branches(), image(5, 6, 2), 2)
    assert [(s.operation.name, s.module) for s in r.steps] == [
        ("Conv2d", "conv"), ("BatchNorm", "norm"), ("ReLU", ""), ("Sum", ""), ("Conv2d", "conv"), ("Multiply", ""),
        ("Cube", ""), ("Add", ""), ("Add", ""), ("Add", ""), ("Dropout", "dropout"), ("Reshape", ""),
        ("Linear", "head"), ("CrossEntropy", ""),
    ]  # fmt: skip
    assert r.backward == (13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 1, 0)
    assert r.steps[2].parts == ()
    assert [r.tensors[r.steps[i].output].name for i in (0, 4)] == ["conv", "conv_2"]
    assert r.steps[0].arguments() == ("x", "w", "b")
    cube = r.steps[6]
    assert cube.reads == cube.inputs
    roles = {t.name: t.role for t in r.tensors}
    assert (roles["x"], roles["calls"], roles["conv"]) == ("input", "buffer", "activation")
    assert [t.role for t in r.tensors].count("loss") == 1


def test_a_value_is_what_the_step_read_though_the_array_was_moved_later():
    mc.seed(1)
    model = Branches()
    model.calls[:] = 7
    r = record(model, image(5, 6, 2), 2)
    assert_array_equal(next(t.value for t in r.tensors if t.name == "calls"), [7, 7, 7])


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_afterwards_as_it_was(training):
    mc.seed(1)
    model = Branches().train(training)
    x = image(5, 6, 2)
    F.cross_entropy(model(mc.tensor(x[None])), np.array([1])).backward()
    before, buffers = state(model), dict(model.named_buffers())
    record(model, x, 2)
    check_state(model, before)
    assert all(buffers[name] is array for name, array in model.named_buffers())
    again = record(model, x, 2)
    assert_array_equal(again.loss.value, record(model, x, 2).loss.value)


def test_a_failed_pass_leaves_the_model_as_it_was_too():
    mc.seed(1)
    model = Branches()
    record(model, image(5, 6, 2), 2)  # fills the lazy layer
    before = state(model)
    with pytest.raises(ValueError, match=r"labels from 0 to 3 for 4 classes, got 4"):
        record(model, image(5, 6, 2), 4)
    check_state(model, before)


def test_copies_are_the_recordings_own():
    mc.seed(1)
    model, x = nn.Linear(3, 2), image(3)
    r = record(model, x, 0)
    kept = [(t.value.copy(), None if t.gradient is None else t.gradient.copy()) for t in r.tensors]
    x += 1
    model.weight.data[:] = 0
    for t, (value, gradient) in zip(r.tensors, kept, strict=True):
        assert_array_equal(t.value, value)
        assert gradient is None or (t.gradient == gradient).all()


def test_a_sample_may_have_its_axis_be_a_tensor_or_bytes():
    model = models.lenet5()
    pixels = np.random.default_rng(3).integers(0, 256, (28, 28, 1), np.uint8)
    expected = record(model, np.divide(pixels, np.float32(255), dtype=np.float32), 3).loss.value
    for x in (pixels, pixels[None], mc.tensor(pixels[None] / np.float32(255))):
        assert_array_equal(record(model, x, np.int64(3)).loss.value, expected)


def test_other_losses_take_their_own_labels():
    model = nn.Linear(3, 2)
    target = mc.tensor(np.array([[1.0, 0.0]], np.float32))
    r = record(model, image(3), target, loss=F.mean_squared_error)
    y = r.tensors[r.output[0]].value
    assert_allclose(r.loss.value, ((y - target.data) ** 2).mean(), rtol=1e-6)
    assert_allclose(r.tensors[r.output[0]].gradient, (y - target.data), rtol=1e-6)


def test_a_function_that_returns_its_input_is_a_step_of_its_own():
    class Same(mc.Function):
        def forward(self, x):
            return x

        def backward(self, dy):
            return (dy * 1,)

    class Net(nn.Module):
        def forward(self, x):
            same = Same()(x)
            return same * 2.0 + x * 3.0

    r = record(Net(), image(4), 1)
    assert [r.tensors[s.inputs[0]].name for s in r.steps[:3]] == ["x", "same", "x"]
    assert_allclose(r.steps[0].parts[0] * 1.5, r.steps[2].parts[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("model", image(3), 0), TypeError, "record expected a Module, got str"),
        ((nn.Linear(3, 2), [1.0, 2.0, 3.0], 0), TypeError, "a sample as a NumPy array or a Tensor, got list"),
        ((nn.Linear(3, 2), image(2, 3), 0), ValueError, "with or without an axis N of 1 in front, got (2, 3)"),
        ((models.lenet5(), image(28, 28), 0), ValueError, "one sample of shape (28, 28, 1)"),
        ((models.lenet5(), image(5, 28, 28, 1), 0), ValueError, "such as images[0]"),
        ((models.lenet5(), image(27, 28, 1), 0), ValueError, "made for inputs (N, 28, 28, 1), got (1, 27, 28, 1)"),
        ((nn.Linear(3, 2), np.ones(3, np.int64), 0), TypeError, "uint8, float32 or float64, got int64"),
        ((nn.Linear(3, 2), image(3), "cat"), TypeError, "the number of a class as its label, or an array"),
        ((nn.Linear(3, 2), image(3), True), TypeError, "the number of a class as its label"),
        ((nn.Linear(3, 2), image(3), 2), ValueError, "labels from 0 to 1 for 2 classes, got 2"),
        ((nn.Linear(3, 2), image(3), -1), ValueError, "labels from 0 to 1 for 2 classes, got -1"),
        (
            (nn.Linear(3, 2), image(3), 0, lambda y, _: y),
            TypeError,
            "a Tensor of one element, got a Tensor of shape (1",
        ),
        ((nn.Linear(3, 2), image(3), 0, lambda y, _: 1.0), TypeError, "a Tensor of one element, got float"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(arguments, error, message):
    with pytest.raises(error) as caught:
        record(*arguments)
    assert message in str(caught.value)


def test_a_loss_that_depends_on_nothing_is_refused():
    class Cut(nn.Module):
        def forward(self, x):
            return x.detach() * 2.0

    for loss in (F.cross_entropy, lambda y, _: y.sum()):
        with pytest.raises(ValueError, match="a loss that minicnn's Functions compute from the sample"):
            record(Cut(), image(3), 0, loss)
    with mc.no_grad(), pytest.raises(ValueError, match="outside of no_grad"):
        record(nn.Linear(3, 2), image(3), 0)


def test_a_graph_made_for_inference_can_be_recorded():
    mc.seed(5)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.GlobalAvgPool2d())
    graph = mc.optimize_for_inference(model, (6, 6, 2))
    r, expected = record(graph, image(6, 6, 2), 1), record(model.eval(), image(6, 6, 2), 1)
    assert r.steps[0].operation.name == "Conv2d"
    assert len(r.steps) < len(expected.steps)
    assert_allclose(r.input.gradient, expected.input.gradient, rtol=1e-4, atol=1e-7)


def test_observing_a_backward_pass_changes_nothing_and_ends():
    seen = []
    a = mc.tensor([2.0], requires_grad=True)
    with autograd.observe(lambda f, dy: seen.append((f.name, dy.copy())), lambda f, dxs: seen.append((f.name, dxs))):
        ((a * 3.0) + a).sum().backward()
    assert_array_equal(a.grad, [4])
    assert [name for name, _ in seen] == ["Sum", "Sum", "Add", "Add", "Multiply", "Multiply"]
    assert_array_equal(seen[4][1], [1])
    assert_array_equal(seen[5][1][0], [3])
    (a * 3.0).sum().backward()
    assert len(seen) == 6
