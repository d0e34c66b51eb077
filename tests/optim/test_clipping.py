"""Clipping: the norm and the bounded gradients by hand and as PyTorch has them, and what is refused."""

import math

import numpy as np
import pytest

import minicnn as mc
from minicnn import device, nn, optim

DTYPES = (np.float32, np.float64)


def parameters(dtype=np.float64, scale=1.0):
    """Three Parameters: one of a scalar, and one without a gradient."""
    rng = np.random.default_rng(5)
    made = [nn.Parameter(np.ones(shape, dtype)) for shape in [(3, 3, 2, 4), (), (7,)]]
    for parameter in made[:2]:
        parameter.grad = np.asarray(scale * rng.standard_normal(parameter.shape), dtype)
    return made


def test_a_gradient_of_3_4_12_has_norm_13():
    a, b = nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros((1, 1)))
    a.grad, b.grad = np.array([3.0, -4.0]), np.array([[12.0]])
    arrays = a.grad, b.grad
    assert float(optim.clip_grad_norm([a, b], 6.5)) == 13
    np.testing.assert_allclose(a.grad, [1.5, -2.0], rtol=1e-6)  # the 1e-6 beside the norm
    np.testing.assert_allclose(b.grad, [[6.0]], rtol=1e-6)
    assert (a.grad, b.grad) == arrays  # in place


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_short_gradient_keeps_its_bits(dtype):
    params = parameters(dtype)
    before = [p.grad.copy() for p in params[:2]]
    optim.clip_grad_norm(params, 1e3)
    for p, dw in zip(params, before, strict=False):
        np.testing.assert_array_equal(p.grad, dw, strict=True)
    assert params[2].grad is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bound", [0.05, 1.0, 1e3])
@pytest.mark.parametrize("kind", ["norm", "value"])
def test_as_pytorch(kind, bound, dtype):
    torch = pytest.importorskip("torch")
    ours = parameters(dtype, 3.0)
    theirs = [torch.nn.Parameter(torch.tensor(p.data)) for p in ours]
    for p, q in zip(ours[:2], theirs, strict=False):
        q.grad = torch.tensor(p.grad)
    norm = getattr(optim, f"clip_grad_{kind}")(ours, bound)
    expected = getattr(torch.nn.utils, f"clip_grad_{kind}_")(theirs, bound)
    if kind == "norm":
        assert float(norm) == pytest.approx(expected.item(), rel=1e-6)
    for p, q in zip(ours[:2], theirs, strict=False):
        assert p.grad.dtype == dtype
        np.testing.assert_allclose(p.grad, q.grad.numpy(), rtol=1e-6 if dtype == np.float32 else 1e-12)


def test_float32_gradients_whose_squares_would_overflow():
    p = nn.Parameter(np.zeros(4, np.float32))
    p.grad = np.full(4, 1e30, np.float32)
    assert float(optim.clip_grad_norm([p], 1.0)) == pytest.approx(2e30)
    np.testing.assert_allclose(p.grad, np.full(4, 0.5), rtol=1e-6)


def test_a_shared_parameter_is_clipped_once():
    p = nn.Parameter(np.zeros(2))
    p.grad = np.array([3.0, 4.0])
    assert float(optim.clip_grad_norm([p, p], 1.0)) == 5
    np.testing.assert_allclose(p.grad, [0.6, 0.8], rtol=1e-6)


def test_what_is_not_finite_spoils_the_norm_and_is_seen():
    p, q = nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros(1))
    p.grad, q.grad = np.array([math.inf, 1.0]), np.array([math.nan])
    assert math.isnan(optim.clip_grad_norm([p, q], 1.0))
    assert np.isnan(p.grad).all()


def test_a_step_of_a_network_is_bounded():
    model = nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 1))
    (model(mc.tensor(np.full((5, 6), 1e4, np.float32))) ** 2).sum().backward()
    assert optim.clip_grad_norm(model.parameters(), 0.1) > 0.1
    assert math.sqrt(sum((p.grad**2).sum() for p in model.parameters())) == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("clip", [optim.clip_grad_norm, optim.clip_grad_value])
@pytest.mark.parametrize("bound", [0, -1.0, math.nan, math.inf, "1", None, True])
def test_wrong_bounds_are_refused(clip, bound):
    with pytest.raises((ValueError, TypeError), match=clip.__name__):
        clip(parameters(), bound)


@pytest.mark.parametrize("clip", [optim.clip_grad_norm, optim.clip_grad_value])
def test_what_is_no_gradient_is_refused(clip):
    for wrong in ([], [np.ones(3)], nn.Parameter(np.ones(3)), 3, nn.Linear(2, 2)):
        with pytest.raises(TypeError, match=r"expected Parameters.*pass model.parameters\(\)"):
            clip(wrong, 1.0)
    with pytest.raises(RuntimeError, match=r"call loss.backward\(\) first"):
        clip([nn.Parameter(np.ones(3))], 1.0)


def test_recorded_clipping_is_clipping(monkeypatch):
    """On a GPU, here an imitation: nothing of it may wait for a result, and a repetition sees other gradients."""
    import fake_cupy

    cupy = fake_cupy.installed(monkeypatch)
    here, there = nn.Parameter(np.zeros(4)), nn.Parameter(np.zeros(4))
    there.move("cuda")
    there.grad = cupy.zeros(4)
    by_norm = device.recorded(lambda: optim.clip_grad_norm([there], 1.0))
    by_value = device.recorded(lambda: optim.clip_grad_value([there], 0.4))
    for step, dw in enumerate(np.random.default_rng(0).standard_normal((3, 4)) * [[0.1], [1], [9]]):
        here.grad = dw.copy()
        there.grad[...] = cupy.asarray(dw)
        norm = optim.clip_grad_norm([here], 1.0)
        by_norm.replay(step)
        assert float(by_norm.result) == norm
        np.testing.assert_array_equal(device.to_device(there.grad, "cpu"), here.grad)
        optim.clip_grad_value([here], 0.4)
        by_value.replay(step)
        np.testing.assert_array_equal(device.to_device(there.grad, "cpu"), here.grad)
