"""The average of the weights: by its formula, as PyTorch's, put into a model and taken out again, saved and loaded."""

import numpy as np
import pytest

import minicnn as mc
from minicnn import device, nn, optim

BATCH = np.random.default_rng(2).standard_normal((6, 4, 4, 1)).astype(np.float32)


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(None, 3))


def train(model, optimizer):
    """A step that changes weights and running statistics."""
    optimizer.zero_grad()
    (model(mc.tensor(BATCH)) ** 2).sum().backward()
    optimizer.step()


def arrays(model):
    return {name: array.copy() for name, array in model.state_dict().items()}


def test_the_formula_step_by_step():
    model = network()
    optimizer = optim.SGD(model.parameters(), 0.01)
    average = optim.WeightAverage(model, decay=0.75)
    expected = {}
    for _ in range(4):
        train(model, optimizer)
        average.update()
        now = {name: array for name, array in arrays(model).items() if array.dtype.kind == "f"}
        expected = {name: 0.75 * expected.get(name, array) + 0.25 * array for name, array in now.items()}
    got = average.state_dict()
    assert got.keys() == expected.keys() == now.keys()
    assert "1.running_var" in got
    assert "1.num_batches_tracked" not in got
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-6, atol=1e-7)
    for name in ("3.weight", "1.running_var"):  # else the formula was not asked
        assert not np.allclose(got[name], now[name], rtol=1e-3)


def test_as_pytorch():
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    rng = np.random.default_rng(3)
    ours, theirs = nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    average = optim.WeightAverage(ours, 0.9)
    reference = AveragedModel(theirs, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(5):
        for name in ("weight", "bias", "running_mean", "running_var"):
            values = rng.standard_normal(3).astype(np.float32)
            holder = getattr(ours, name)
            (holder.data if isinstance(holder, nn.Parameter) else holder)[...] = values
            with torch.no_grad():
                getattr(theirs, name).copy_(torch.tensor(values))
        average.update()
        reference.update_parameters(theirs)
    for name, array in average.state_dict().items():
        np.testing.assert_allclose(array, reference.module.state_dict()[name].numpy(), rtol=1e-5)


def test_applied_puts_the_averages_in_and_the_own_values_back():
    model = network()
    optimizer = optim.SGD(model.parameters(), 0.01)
    average = optim.WeightAverage(model, 0.5)
    for _ in range(3):
        train(model, optimizer)
        average.update()
    before, holders = arrays(model), [p.data for p in model.parameters()]
    with average.applied():
        inside = arrays(model)
        for name, array in average.state_dict().items():
            np.testing.assert_array_equal(inside[name], array, strict=True)
        with pytest.raises(RuntimeError, match="the model holds the averages already"):
            average.update()
        with pytest.raises(RuntimeError, match="the model holds the averages already"), average.applied():
            pass
    assert any(inside[name].tobytes() != before[name].tobytes() for name in before)
    assert all(array.tobytes() == before[name].tobytes() for name, array in arrays(model).items())
    assert all(p.data is array for p, array in zip(model.parameters(), holders, strict=True))


def test_the_own_values_come_back_after_an_error_too():
    model = nn.Linear(2, 1)
    average = optim.WeightAverage(model, 0.5)
    average.update()
    model.weight.data += 1
    before = arrays(model)
    with pytest.raises(KeyError), average.applied():
        raise KeyError
    assert all(array.tobytes() == before[name].tobytes() for name, array in arrays(model).items())
    average.update()


def test_a_saved_average_goes_on_with_the_same_bits():
    def run(steps, average, model, optimizer):
        for _ in range(steps):
            train(model, optimizer)
            average.update()

    mc.seed(1)
    model = network()
    optimizer, average = optim.SGD(model.parameters(), 0.01), optim.WeightAverage(model)
    run(2, average, model, optimizer)
    saved, values = average.state_dict(), arrays(model)
    run(2, average, model, optimizer)

    other = network()
    other.load_state_dict(values)
    resumed = optim.WeightAverage(other)
    resumed.load_state_dict(saved)
    run(2, resumed, other, optim.SGD(other.parameters(), 0.01))
    assert all(array.tobytes() == resumed.state_dict()[name].tobytes() for name, array in average.state_dict().items())


def test_the_state_is_a_copy_and_empty_at_first():
    model = nn.Linear(2, 1)
    average = optim.WeightAverage(model)
    assert average.state_dict() == {}
    average.load_state_dict({})
    average.update()
    saved = average.state_dict()
    saved["weight"] += 1
    assert (average.state_dict()["weight"] == model.weight.data).all()


def test_states_of_another_model_are_refused():
    average = optim.WeightAverage(nn.Linear(2, 1))
    average.update()
    good = average.state_dict()
    with pytest.raises(ValueError, match=r"another model.*\['bias'\]"):
        average.load_state_dict({"weight": good["weight"]})
    with pytest.raises(ValueError, match=r"weight the shape \(2, 1\), got \(1, 2\)"):
        average.load_state_dict({**good, "weight": good["weight"].T})
    with pytest.raises(TypeError, match="float32 or float64, got int64"):
        average.load_state_dict({**good, "weight": np.ones((2, 1), np.int64)})
    with pytest.raises(TypeError, match="float32 or float64, got list"):
        average.load_state_dict({**good, "weight": [[1.0], [2.0]]})
    assert average.state_dict().keys() == good.keys()


def test_it_follows_a_model_into_another_dtype():
    model = nn.Linear(2, 1)
    average = optim.WeightAverage(model, 0.5)
    average.update()
    model.to(dtype=np.float64)
    average.update()
    assert average.state_dict()["weight"].dtype == np.float64


@pytest.mark.parametrize("decay", [-0.1, 1, 1.5, float("nan"), "0.9", None, True])
def test_wrong_decays_are_refused(decay):
    with pytest.raises((ValueError, TypeError), match="WeightAverage expected decay"):
        optim.WeightAverage(nn.Linear(2, 1), decay)


def test_what_has_no_values_is_refused():
    with pytest.raises(TypeError, match="expected a Module, got generator"):
        optim.WeightAverage(nn.Linear(2, 1).parameters())
    average = optim.WeightAverage(network())
    with pytest.raises(RuntimeError, match=r"update: 3.weight has no values yet"):
        average.update()
    with pytest.raises(RuntimeError, match="no averages yet"), average.applied():
        pass


def test_a_recorded_update_is_the_update(monkeypatch):
    """On a GPU, here an imitation: nothing of it may wait for a result, and a repetition has to be the next update."""
    import fake_cupy

    cupy = fake_cupy.installed(monkeypatch)
    twins = nn.BatchNorm2d(3), nn.BatchNorm2d(3).to("cuda")
    here, there = (optim.WeightAverage(model, 0.9) for model in twins)
    for average in (here, there):
        average.update()
    graph = device.recorded(there.update)
    for step in range(3):
        values = np.arange(3, dtype=np.float32) + step
        for model, xp in zip(twins, (np, cupy), strict=True):
            model.weight.data[...] = xp.asarray(values)
            model.running_mean[...] = xp.asarray(values)
        here.update()
        graph.replay(step)
    for name, array in there.state_dict().items():
        assert device.is_cuda(array)
        # The rooms agree to rounding: one fuses a product and a sum that the other rounds apart.
        np.testing.assert_allclose(device.to_device(array, "cpu"), here.state_dict()[name], rtol=1e-6)
