"""The backward pass: order, accumulation, what is released, what is refused, and whose the gradients are."""

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import minicnn as mc
from minicnn import functional as F
from minicnn import kernels


def leaf(*values):
    return mc.tensor(list(values), requires_grad=True)


class Plain(mc.Function):
    """The identity, with a backward that is given from outside."""

    def __init__(self, backward):
        self.from_outside = backward

    def forward(self, *xs):
        return xs[0] * 1

    def backward(self, dy):
        return self.from_outside(dy)


# Order and sums


def test_a_tensor_used_twice_receives_both_parts():
    a = leaf(3.0)
    (a + a).backward()
    assert_array_equal(a.grad, [2])
    a.grad = None
    (a * a * a).backward()
    assert_array_equal(a.grad, [27])


def test_a_diamond_waits_for_both_sides():
    a = leaf(2.0)
    b = a * a  # made once, used by a short and by a long way
    c = b * 3
    d = (b * c).exp().log() + b
    d.backward()
    # d = 3 a^4 + a^2
    assert_allclose(a.grad, [12 * 8 + 2 * 2], rtol=1e-5)


def test_every_function_runs_once_in_a_ladder_of_diamonds():
    runs = []

    def counted(dy):
        runs.append(1)
        return (dy.copy(),)

    x = a = leaf(1.0)
    for _ in range(40):  # 2**40 ways lead through it
        y = Plain(counted)(x)
        x = (y + y) * 0.5
    x.backward()
    assert len(runs) == 40
    assert_array_equal(a.grad, [1])


@pytest.mark.parametrize("length", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_long_chain_meets_no_recursion_limit(length):
    a = leaf(1.0)
    y = a
    for _ in range(length):
        y = y + 1
    assert y.item() == length + 1
    y.backward()
    assert_array_equal(a.grad, [1])
    del y
    gc.collect()


@pytest.mark.parametrize("length", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_long_chain_without_backward_is_given_back(length):
    y = leaf(1.0)
    first = weakref.ref(y)
    for _ in range(length):
        y = y * 2.0 if y.item() < 1 else y * 0.5
    assert first() is not None
    del y
    gc.collect()
    assert first() is None


def test_a_wide_sum():
    a = leaf(1.0, 2.0)
    total = a * 0
    for i in range(1000):
        total = total + a * i
    total.sum().backward()
    assert_array_equal(a.grad, [499500, 499500])


# Accumulation


def test_gradients_accumulate_until_they_are_set_to_none():
    a = leaf(1.0, 2.0)
    (a * 2).sum().backward()
    (a * 3).sum().backward()
    assert_array_equal(a.grad, [5, 5])
    a.grad = None
    (a * 3).sum().backward()
    assert_array_equal(a.grad, [3, 3])


def test_two_losses_added_are_two_losses_one_after_the_other():
    values, weights = np.array([[1.0, 2], [3, 4]]), np.array([[0.5, -1], [2, 1]])

    def losses(x, w):
        return ((x @ w) ** 2).sum(), (x @ w).exp().mean()

    x, w = (mc.tensor(v, requires_grad=True) for v in (values, weights))
    first, second = losses(x, w)
    (first + second).backward()
    together = x.grad, w.grad
    x, w = (mc.tensor(v, requires_grad=True) for v in (values, weights))
    losses(x, w)[0].backward()
    losses(x, w)[1].backward()
    assert_allclose(x.grad, together[0], rtol=1e-14)
    assert_allclose(w.grad, together[1], rtol=1e-14)


def test_a_leaf_receives_the_gradient_that_backward_is_given():
    a = leaf(1.0, 2.0)
    given = np.array([3, 4], np.float32)
    a.backward(given)
    a.backward(given)
    assert_array_equal(a.grad, [6, 8])
    assert_array_equal(given, [3, 4])


def test_gradients_stay_off_inner_tensors():
    a = leaf(1.0)
    b = a * 2
    (b * 3).backward()
    assert b.grad is None


def test_what_asks_for_no_gradient_gets_none():
    a, b = leaf(1.0, 2.0), mc.tensor([3.0, 4.0])
    y = (a * b).sum()
    y.backward()
    assert b.grad is None
    assert not (b * b).requires_grad
    assert (b * b).creator is None


# Whose the gradients are


ALIASES = {
    "a + b": lambda a, b: (a + b).sum(),
    "(a + b) without sum": lambda a, b: a + b,
    "a + b + a": lambda a, b: (a + b + a).sum(),
    "reshape": lambda a, b: (a.reshape(2, 2) + b.reshape(2, 2)).sum(),
    "transpose": lambda a, b: (a.reshape(2, 2).transpose() + b.reshape(2, 2)).sum(),
    "concatenate": lambda a, b: F.concatenate([a, b]).sum(),
    "pad": lambda a, b: (F.pad(a, ((1, 1),)) + F.pad(b, ((1, 1),))).sum(),
    "slice": lambda a, b: (a[:] + b[::-1]).sum(),
    "to": lambda a, b: (a.to(dtype="float32") + b.to("cpu")).sum(),
    "broadcast": lambda a, b: (a.reshape(1, 4) + b.reshape(1, 4)).sum(),
    "views of what nobody else holds": lambda a, b: Plain(
        lambda dy: (np.ones((2, 4), dy.dtype)[0], np.broadcast_to(np.ones(1, dy.dtype), 4))
    )(a, b).sum(),
    "two views of one array": lambda a, b: Plain(lambda dy: (lambda g: (g[:], g[::-1]))(dy * 1))(a, b).sum(),
    "max": lambda a, b: (a.reshape(4, 1).max(1) + b).sum(),
    "one function, one array for both": lambda a, b: Plain(lambda dy: (lambda g: (g, g))(dy * 1))(a, b).sum(),
    "a function that returns dy": lambda a, b: Plain(lambda dy: (dy, dy))(a, b).sum(),
    "a function that returns a view": lambda a, b: Plain(lambda dy: (dy[:], dy.reshape(-1)))(a, b).sum(),
}


@pytest.mark.parametrize("name", ALIASES)
def test_a_gradient_can_be_written_into_without_changing_another_array(name):
    a, b = leaf(1.0, 2.0, 3.0, 4.0), leaf(5.0, 6.0, 7.0, 8.0)
    values = a.data.copy(), b.data.copy()
    y = ALIASES[name](a, b)
    given = np.ones(y.shape, np.float32)
    y.backward(given)
    expected = b.grad.copy()
    a.grad[...] = 9
    assert_array_equal(b.grad, expected)
    b.grad[...] = 7
    assert_array_equal(a.grad, np.full(4, 9))
    assert_array_equal(given, np.ones(y.shape))
    assert_array_equal(a.data, values[0])
    assert_array_equal(b.data, values[1])


class Dot(mc.Function):
    """y = sum of a * b, whose backward may return what was saved when dy is 1."""

    def forward(self, a, b):
        self.save(a, b)
        return (a * b).sum()

    def backward(self, dy):
        a, b = self.saved
        return b, a


def test_a_gradient_is_never_the_saved_array_itself():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    Dot()(a, b).backward()
    a.grad[...] = 9
    b.grad[...] = 9
    assert_array_equal(a.data, [1, 2])
    assert_array_equal(b.data, [3, 4])


def test_the_array_given_to_backward_is_not_kept():
    for make in (lambda a: a, lambda a: a.reshape(2, 1), lambda a: a + 0, lambda a: a.to(dtype="float32")):
        a = leaf(1.0, 2.0)
        y = make(a)
        given = np.ones(y.shape, np.float32)
        y.backward(given)
        given[...] = 5
        assert_array_equal(a.grad, [1, 1])


def test_accumulating_leaves_an_array_that_someone_kept_as_it_was():
    a = leaf(1.0)
    (a * 2).backward()
    kept = a.grad
    (a * 3).backward()
    assert_array_equal(kept, [2])
    assert_array_equal(a.grad, [5])


def test_a_gradient_without_axes_is_an_array():
    a = mc.tensor(2.0, requires_grad=True)
    (a * a + a).backward()
    (a * a).backward()
    assert type(a.grad) is np.ndarray
    assert a.grad.shape == ()
    assert a.grad == 9


# Backward twice


def test_a_second_backward_says_what_to_do():
    a = leaf(1.0)
    y = (a * a).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"reached Sum, whose saved arrays an earlier backward.*add the losses"):
        y.backward()
    assert_array_equal(a.grad, [2])


def test_two_losses_over_one_shared_part_say_what_to_do():
    a = leaf(1.0)
    shared = a.exp()
    first, second = (shared * 2).sum(), (shared * 3).sum()
    first.backward()
    before = a.grad.copy()
    with pytest.raises(RuntimeError, match=r"reached Exp,.*compute the forward pass again"):
        second.backward()
    assert_array_equal(a.grad, before)


def test_an_object_serves_one_call():
    a, b = leaf(1.0), leaf(2.0)
    function = Dot()
    y = function(a, b)
    with pytest.raises(RuntimeError, match="this Dot has served its one call"):
        function(b, b)
    y.backward()
    assert_array_equal(a.grad, [2])
    with pytest.raises(RuntimeError, match="this Dot has served its one call"):
        function(b, b)


# no_grad


def test_no_grad_records_nothing():
    a = leaf(1.0)
    with mc.no_grad():
        y = a * 2
    assert not y.requires_grad
    assert y.creator is None
    with pytest.raises(RuntimeError, match="outside of no_grad"):
        y.backward()
    assert (a * 2).requires_grad


def test_no_grad_nests():
    a = leaf(1.0)
    with mc.no_grad():
        with mc.no_grad():
            assert not (a * 2).requires_grad
        assert not (a * 2).requires_grad
    assert (a * 2).requires_grad
    same = mc.no_grad()
    with same:
        with same:
            assert not (a * 2).requires_grad
        assert not (a * 2).requires_grad
    assert (a * 2).requires_grad


def test_no_grad_ends_on_an_exception():
    with pytest.raises(ZeroDivisionError), mc.no_grad():
        raise ZeroDivisionError
    assert (leaf(1.0) * 2).requires_grad


def test_no_grad_belongs_to_its_thread():
    a, recorded = leaf(1.0), {}
    inside, go_on = threading.Event(), threading.Event()

    def without():
        with mc.no_grad():
            inside.set()
            go_on.wait(10)
            recorded["inside"] = (a * 2).requires_grad

    def with_graph():
        recorded["beside"] = (a * 2).requires_grad

    first = threading.Thread(target=without)
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=with_graph)
    second.start()
    second.join()
    recorded["main"] = (a * 2).requires_grad
    go_on.set()
    first.join()
    with mc.no_grad():
        third = threading.Thread(target=with_graph)
        third.start()
        third.join()
    assert recorded == {"inside": False, "beside": True, "main": True}


def test_threads_compute_gradients_side_by_side():
    results = {}

    def work(i):
        a = leaf(float(i))
        for _ in range(50):
            (a * a).backward()
        results[i] = a.grad[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: 100 * i for i in range(4)}


# Errors


@pytest.mark.parametrize("shape", [(2,), (0,), (2, 2)])
def test_a_loss_of_several_elements_is_refused(shape):
    a = mc.tensor(np.ones(shape), requires_grad=True)
    with pytest.raises(ValueError, match=r"a loss of one element, got shape \(.*reduce it with .sum\(\) or .mean\(\)"):
        (a * 2).backward()
    with pytest.raises(ValueError, match="a loss of one element"):
        a.backward()


def test_a_loss_of_one_element_may_have_axes():
    a = mc.tensor(np.full((1, 1), 3.0), requires_grad=True)
    (a * a).backward()
    assert_array_equal(a.grad, [[6]])


def test_backward_from_a_tensor_without_a_graph_is_refused():
    with pytest.raises(RuntimeError, match="requires_grad=True"):
        mc.tensor([1.0]).backward()


def test_a_first_gradient_of_another_shape_is_refused():
    y = leaf(1.0, 2.0) * 2
    with pytest.raises(ValueError, match=r"a gradient of shape \(2,\), got \(3,\)"):
        y.backward(np.ones(3))
    with pytest.raises(ValueError, match=r"got \(\)"):
        y.backward(1.0)


def test_a_first_gradient_may_be_a_tensor_or_another_dtype():
    for gradient in (mc.tensor([1.0, 2.0]), np.array([1.0, 2.0]), np.array([1, 2]), [1, 2]):
        a = leaf(3.0, 4.0)
        (a * a).backward(gradient)
        assert a.grad.dtype == np.float32
        assert_array_equal(a.grad, [6, 16])


WRONG_BACKWARDS = {
    "shape": (lambda dy: (dy[:1].copy(),), r"for input 0 a gradient of shape \(1,\).*expected \(2,\) and float32"),
    "dtype": (lambda dy: (dy.astype(np.float64),), r"dtype float64, expected \(2,\) and float32"),
    "integers": (lambda dy: (dy.astype(int),), "dtype int64, expected"),
    "too many": (lambda dy: (dy, dy), "of 1 arrays, got"),
    "too few": (lambda dy: (), "of 1 arrays, got"),
    "no tuple": (lambda dy: dy, "of 1 arrays, got"),
    "a list": (lambda dy: [dy], "of 1 arrays, got"),
    "nothing": (lambda dy: None, "of 1 arrays, got None"),
    "a number": (lambda dy: (1.0,), "arrays, got float for input 0"),
    "a Tensor": (lambda dy: (mc.tensor(dy),), "arrays, got Tensor for input 0"),
}


@pytest.mark.parametrize("name", WRONG_BACKWARDS)
def test_a_wrong_backward_is_named(name):
    backward, message = WRONG_BACKWARDS[name]
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with pytest.raises(RuntimeError, match=r"^Plain\.backward .*" + message):
        (Plain(backward)(a) + b).sum().backward()
    assert a.grad is None
    assert b.grad is None


def test_an_exception_inside_the_pass_leaves_every_gradient_as_it_was():
    a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
    (a * 5).backward()
    before = a.grad

    def fail(dy):
        raise ZeroDivisionError("inside")

    y = (Plain(fail)(a * c) * b).sum()  # b's part is finished before the failure
    with pytest.raises(ZeroDivisionError, match="inside"):
        y.backward()
    assert a.grad is before
    assert_array_equal(a.grad, [5])
    assert b.grad is None
    assert c.grad is None


def test_none_stops_a_gradient_on_the_way():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    inner = a * 2
    stopped = Plain(lambda dy: (None, dy.copy()))(inner, b)
    stopped.sum().backward()
    assert a.grad is None
    assert_array_equal(b.grad, [1, 1])
    a.grad = b.grad = None
    inner = a * 2
    (Plain(lambda dy: (None,))(inner) + inner * 3).sum().backward()
    assert_array_equal(a.grad, [6, 6])


def test_a_function_on_arrays_is_refused():
    with pytest.raises(TypeError, match=r"Dot expected Tensors, got ndarray: wrap arrays with mc.tensor"):
        Dot()(np.ones(2), leaf(1.0, 2.0))


def test_a_forward_that_returns_no_array_is_named():
    class Number(mc.Function):
        def forward(self, x):
            return 1.0

    with pytest.raises(TypeError, match=r"Number.forward must return an array, got float"):
        Number()(leaf(1.0))


def test_a_function_without_forward_or_backward_says_so():
    class Empty(mc.Function):
        pass

    class Half(mc.Function):
        def forward(self, x):
            return x * 1

    with pytest.raises(NotImplementedError, match="Empty has no forward"):
        Empty()(leaf(1.0))
    with pytest.raises(NotImplementedError, match="Half has no backward"):
        Half()(leaf(1.0)).backward()


def test_nan_passes_through_and_is_seen():
    a = leaf(1.0, 2.0)
    (a * float("nan")).sum().backward()
    assert np.isnan(a.grad).all()


# Memory


class Watched(mc.Function):
    """y = x * x, which remembers weakly what it made."""

    def __init__(self, made):
        self.made = made

    def forward(self, x):
        y, saved = x * x, x + 0
        self.save(saved)
        self.made += [weakref.ref(y), weakref.ref(saved)]
        return y

    def backward(self, dy):
        (x,) = self.saved
        return (2 * x * dy,)


def test_backward_gives_the_arrays_of_the_graph_back():
    made, a = [], leaf(1.0, 2.0)
    y = a
    for _ in range(5):
        y = Watched(made)(y)
    loss = y.sum()
    del y
    results, saved = made[::2], made[1::2]
    assert all(ref() is None for ref in results)  # Watched reads only what it saved
    assert all(ref() is not None for ref in saved)
    loss.backward()
    # Without the collector: nothing in a graph refers back, so that counting references is enough.
    assert all(ref() is None for ref in made)
    assert loss.item() == 2**32  # float32 drops the 1


class Weighed(mc.Function):
    """y = x * w, which counts in its backward direction the arrays of all layers that are still held."""

    def __init__(self, made, held):
        self.made, self.held = made, held

    def forward(self, x, w):
        y, saved = x * w, x + 0
        self.save(saved, w)
        self.made += [weakref.ref(y), weakref.ref(saved)]
        return y

    def backward(self, dy):
        self.held.append(sum(ref() is not None for ref in self.made))
        x, w = self.saved
        dx = dy * w
        self.made.append(weakref.ref(dx))
        return dx, dy * x


def test_a_layer_is_given_back_before_the_next_one_computes():
    """So that a pass through a deep network needs the memory of its activations and little more."""
    made, held, layers = [], [], 10
    weights = [leaf(1.0, 2.0) for _ in range(layers)]
    y = leaf(1.0, 2.0)
    for w in weights:
        y = Weighed(made, held)(y, w)
    loss = y.sum()
    del y
    loss.backward()
    # In the backward direction of layer i (from 0): what the layers 0 to i saved, and the gradient that the layer
    # behind it made. Their results, which none of them saved, are gone since the forward pass.
    assert held == [(i + 1) + (i < layers - 1) for i in reversed(range(layers))]


def test_a_graph_that_is_dropped_gives_its_arrays_back():
    made, a = [], leaf(1.0, 2.0)
    gc.disable()
    try:
        y = Watched(made)(Watched(made)(a))
        assert all(ref() is not None for ref in made[1:])  # of the first one, what it saved
        del y
        assert all(ref() is None for ref in made)
    finally:
        gc.enable()


def test_nothing_is_saved_when_no_graph_is_recorded():
    asked, unrecorded, recorded = leaf(1.0, 2.0), Watched([]), Watched([])
    with mc.no_grad():
        unrecorded(asked)
    assert (unrecorded.saved, unrecorded.inputs) == ((), ())
    unrecorded(mc.tensor([1.0, 2.0]))
    assert (unrecorded.saved, unrecorded.inputs) == ((), ())
    recorded(asked)
    assert len(recorded.saved) == 1
    assert recorded.inputs == (asked,)


# Work that nobody asked for


@pytest.mark.parametrize("asks", [(False, True, True), (True, False, False), (False, False, True), (True, True, True)])
@pytest.mark.parametrize("operation", ["conv2d", "linear"])
def test_only_the_gradients_asked_for_are_computed(operation, asks, monkeypatch):
    calls = []

    def counted(name, kernel):
        def call(*args):
            calls.append(name)
            return kernel(*args)

        return call

    names = [f"{operation}_backward_input", f"{operation}_backward_weight", "bias_backward"]
    with kernels.use("reference"):
        room = kernels.room(np.zeros(1))
        for name in names:
            monkeypatch.setattr(room, name, counted(name, getattr(room, name)))
        shapes = [(2, 4, 4, 3), (3, 3, 3, 2), (2,)] if operation == "conv2d" else [(2, 3), (3, 2), (2,)]
        inputs = [mc.tensor(np.ones(s, np.float32), asked) for s, asked in zip(shapes, asks, strict=True)]
        getattr(F, operation)(*inputs).sum().backward()
    assert sorted(calls) == sorted(name for name, asked in zip(names, asks, strict=True) if asked)
    assert [x.grad is not None for x in inputs] == list(asks)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("operation", [lambda x: (x * 1e-25) * 1e10, lambda x: x / 1e25 * 1e10])
def test_a_gradient_that_nobody_asked_for_overflows_nowhere(operation):
    """x = 1e30 times 1e10 is too large for float32, but is the gradient in a constant."""
    x = mc.tensor(np.array([1e30], np.float32), requires_grad=True)
    with mc.detect_anomaly():
        operation(x).backward()
    np.testing.assert_allclose(x.grad, 1e-15, rtol=1e-6)


def test_an_index_is_the_callers_no_longer():
    x = mc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    places = np.array([0, 0])
    y = x[places]
    places[:] = 2
    y.sum().backward()
    assert x.grad.tolist() == [2, 0, 0]
    assert x[[]].shape == (0,)


@pytest.mark.parametrize("change", ["step", "assign", "load"])
def test_weights_that_changed_since_the_forward_pass_are_an_error(change):
    mc.seed(0)
    layer = mc.nn.Linear(3, 2)
    optimizer = mc.optim.SGD(layer.parameters(), lr=0.1)
    x = mc.tensor(np.ones((4, 3), np.float32), requires_grad=True)
    early, late = layer(x).sum(), layer(x).sum()
    early.backward()
    if change == "step":
        optimizer.step()
    elif change == "assign":
        layer.weight.assign(np.ones((3, 2), np.float32))
    else:
        layer.load_state_dict(layer.state_dict())
    before = x.grad.copy(), layer.weight.grad.copy()
    with pytest.raises(RuntimeError, match=r"Linear, whose input 1 of shape \(3, 2\) has other values now"):
        late.backward()
    assert_array_equal(x.grad, before[0])
    assert_array_equal(layer.weight.grad, before[1])
    x.grad = None
    layer(x).sum().backward()  # a pass of the new values is welcome
    assert_allclose(x.grad, np.tile(layer.weight.data.sum(axis=1), (4, 1)), rtol=1e-6)


def test_values_that_backward_does_not_read_may_change():
    """The gradient of a sum needs neither bias nor shift; nor do copies know what became of the original."""
    b = mc.nn.Parameter(np.zeros(3, np.float32))
    loss = (leaf(1, 2, 3) + b).sum()
    b.assign(np.ones(3, np.float32))
    loss.backward()
    assert_array_equal(b.grad, np.ones(3))
    w = mc.nn.Parameter(np.ones(3, np.float32))
    w.assign(np.zeros(3, np.float32))
    assert (copy.deepcopy(w).changed, pickle.loads(pickle.dumps(w)).changed) == (-1, -1)
