"""The whole engine on the CUDA room: the emulator in the place of the GPU, and fake_cupy in that of CuPy."""

import functools
import gc
import sys
from types import SimpleNamespace

import fake_cupy
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import minicnn as mc
from minicnn import data, device, kernels, models, nn, optim
from minicnn import functional as F
from minicnn.kernels.cuda import _launch, graph
from minicnn.train import gpu_steps


def test_a_tensor_moves_there_and_back(cupy):
    x = mc.tensor([[-1.0, 2.0]], requires_grad=True)
    there = x.to("cuda")
    assert isinstance(there.data, cupy.ndarray)
    assert (x.device, there.device) == ("cpu", "cuda")
    y = F.relu(there)
    assert y.device == "cuda"
    (y * 3).sum().backward()
    assert type(x.grad) is np.ndarray
    assert x.grad.tolist() == [[0.0, 3.0]]
    assert y.to("cpu").numpy().tolist() == [[0.0, 2.0]]
    assert repr(there) == 'tensor([[-1.,  2.]], device="cuda", requires_grad=True)'


def test_the_array_decides_the_room(cupy):
    x = np.zeros(2, np.float32)
    assert kernels.room(cupy.asarray(x)).__name__ == "minicnn.kernels.cuda"
    assert kernels.room(x).__name__ == "minicnn.kernels.cpu"
    with kernels.use("reference"):
        assert kernels.room(cupy.asarray(x)).__name__ == "minicnn.kernels.cuda"


def test_mixed_devices_are_one_sentence(cupy):
    x, y = mc.tensor([1.0]), mc.tensor([1.0], device="cuda")
    with pytest.raises(RuntimeError, match=r'Add got arrays on cpu and cuda: move them to one with .to\("cpu"\)'):
        x + y
    with pytest.raises(RuntimeError, match="got arrays on cuda and cpu"):
        kernels.room(y.data, x.data)
    with pytest.raises(RuntimeError, match="on cpu and cuda"):
        nn.Linear(1, 1).to("cuda")(mc.tensor([[1.0]]))


# Training


def network(dropout=0.3):
    """A little of everything: convolution, pooling, batch norm with a residual, dropout."""
    mc.seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, activation="relu"),
        nn.BatchNorm2d(4),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(24, 5, activation="tanh"),
        nn.Linear(5, 3),
    )


def digits(count=22):
    rng = np.random.default_rng(0)
    return data.ArrayDataset(rng.integers(0, 256, (count, 8, 8, 1), np.uint8), rng.integers(0, 3, count))


def mirrored(image, rng):
    """Every second image, about."""
    return image[:, ::-1] if rng.random() < 0.5 else image


def trained(device, epochs=3, make=lambda p: optim.SGD(p, 0.1, momentum=0.9), transform=None, **settings):
    model = network().to(device)
    optimizer = make(model.parameters())
    settings.setdefault("schedule", optim.CosineAnnealingLR)
    schedule = settings.pop("schedule")(optimizer, epochs)
    trainer = mc.Trainer(model, optimizer, schedule=schedule, **settings)
    loader = data.DataLoader(digits(), 5, shuffle=True, transform=transform)
    trainer.fit(loader, epochs, validation=digits(9), progress=False)
    return trainer


OPTIMIZERS = [lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True), lambda p: optim.Adadelta(p, weight_decay=1e-3)]


@pytest.mark.parametrize("make", OPTIMIZERS, ids=["sgd", "adadelta"])
def test_training_is_that_of_the_cpu(cupy, make):
    here, there = (trained(device, 2, make=make) for device in ("cpu", "cuda"))
    for name, value in here.model.state_dict().items():
        other = there.model.state_dict()[name]
        assert isinstance(other, cupy.ndarray) is (value.dtype.kind == "f")
        assert_allclose(cupy.asnumpy(other), value, rtol=1e-3, atol=1e-4)
    for name, values in here.history.items():
        if name != "seconds":
            assert_allclose(there.history[name], values, rtol=1e-4)


def assert_trained_alike(one, other):
    for name, value in one.model.state_dict().items():
        assert_array_equal(device.to_device(other.model.state_dict()[name], "cpu"), device.to_device(value, "cpu"))
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "lr"):
        assert one.history[name] == other.history[name]


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("transform", [None, mirrored])
def test_recorded_steps_give_the_same_bits(cupy, transform, precision):
    """Four batches of five samples and one of two an epoch, each epoch with a learning rate of its own."""
    settings = {"transform": transform, "precision": precision}
    recorded, eager = (trained("cuda", capture=capture, **settings) for capture in (True, False))
    sizes = recorded._gpu_steps.sizes
    assert {size[0][0] for size in sizes} == ({(5, 8, 8, 1), (2, 8, 8, 1)} if transform else {(5,), (2,)})
    assert all(step.graph is not None for step in sizes.values())
    if transform:
        assert eager._gpu_steps is None
        assert eager.history["loss"] != trained("cuda", capture=False, precision=precision).history["loss"]
    else:
        assert all(step.graph is None for step in eager._gpu_steps.sizes.values())
    assert_trained_alike(eager, recorded)
    counters = [dict(t.model.named_buffers())["7.counter"] for t in (recorded, eager)]
    assert counters[0] == counters[1] == 15


def test_python_asks_for_few_steps_before_the_first_of_them_is_done(fake, monkeypatch):
    monkeypatch.setattr(fake_cupy.Event, "log", [])
    model = network().to("cuda")
    trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.1))
    trainer.fit(digits(), 1, batch_size=2, progress=False)  # eleven steps
    marks = {}
    for what, mark in fake_cupy.Event.log:
        marks.setdefault(mark, []).append(what)
    assert len(marks) == gpu_steps.LEAD == 8
    assert sorted(marks.values()) == [["synchronize", "record"]] * 5 + [["synchronize", "record"] * 2] * 3


def test_all_recordings_share_one_pool_and_its_memory_is_given_back_when_no_graph_needs_it(fake, monkeypatch):
    monkeypatch.setattr(fake_cupy.MemoryPool, "made", 0)
    monkeypatch.setattr(fake_cupy.MemoryPool, "freed", 0)
    first = trained("cuda")  # two sizes of batches, each recorded anew in each of three epochs
    assert fake_cupy.MemoryPool.made == 1
    freed = fake_cupy.MemoryPool.freed
    second = trained("cuda")  # the first one's graphs are still there
    assert (fake_cupy.MemoryPool.made, fake_cupy.MemoryPool.freed) == (1, freed)
    del first, second
    gc.collect()
    trained("cuda")
    assert (fake_cupy.MemoryPool.made, fake_cupy.MemoryPool.freed > freed) == (1, True)


@pytest.mark.parametrize("error", [MemoryError("no room"), KeyboardInterrupt()])
def test_a_recording_that_ends_early_ends_the_capture_and_gives_its_memory_back(fake, monkeypatch, error):
    """Of Ctrl-C nothing is made but what it is; otherwise training goes on, and needs the memory."""
    gc.collect()

    def broken(*arguments):
        if device.is_recording():
            raise error
        return mc.functional.cross_entropy(*arguments)

    model = network().to("cuda")
    trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.1), broken)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(digits(), 1, batch_size=5, progress=False)
    else:
        monkeypatch.setattr(fake_cupy.MemoryPool, "freed", 0)
        with pytest.warns(UserWarning, match="cannot be recorded as a CUDA graph: no room; training goes on"):
            trainer.fit(digits(), 1, batch_size=5, progress=False)
        assert fake_cupy.MemoryPool.freed == 2  # before it and after it
    assert not device.is_recording()
    device.recorded(lambda: None)  # nothing is being captured any more


@pytest.mark.parametrize("rows", [False, True])
def test_a_recorded_loss_goes_on_with_other_labels(cupy, rows):
    """With both of its options, of labels as whole numbers and as rows: it waits for none of them."""
    rng = np.random.default_rng(0)
    logits, weight = rng.standard_normal((6, 4)), np.array([0.5, 2, 1, 3])
    first, then = rng.dirichlet(np.ones(4), (2, 6)) if rows else rng.integers(0, 4, (2, 6))
    there, weight_there = mc.tensor(logits, requires_grad=True, device="cuda"), mc.tensor(weight, device="cuda")
    labels = cupy.asarray(first.copy())

    def step(weight=weight_there):
        there.grad = None
        loss = F.cross_entropy(there, labels, weight, label_smoothing=0.1)
        loss.backward()
        return loss.data, there.grad

    step()
    graph = device.recorded(step)
    labels[...] = cupy.asarray(then)
    graph.replay(0)
    here = mc.tensor(logits, requires_grad=True)
    loss = F.cross_entropy(here, then, weight, label_smoothing=0.1)
    loss.backward()
    assert_allclose(cupy.asnumpy(graph.result[0]), loss.data, rtol=1e-12)
    assert_allclose(cupy.asnumpy(graph.result[1]), here.grad, atol=1e-15)
    with pytest.raises(RuntimeError, match=r'weights that are not on the GPU.*mc.tensor\(weight, device="cuda"\)'):
        device.recorded(lambda: step(weight))


def two_groups(kind, params, **others):
    params = list(params)
    return kind([{"params": params[::2], **others}, {"params": params[1::2]}], 0.01)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: two_groups(optim.AdamW, p, weight_decay=0.0),
        lambda p: two_groups(optim.LARS, p, trust_coefficient=None),
        lambda p: optim.RMSprop(p, momentum=0.5, centered=True),
    ],
    ids=["adamw", "lars", "rmsprop"],
)
def test_recorded_steps_of_other_optimizers(cupy, make):
    """A recorded step counts the steps as one by one, and lets each group have the rate that the schedule gives it."""
    recorded, eager = (trained("cuda", make=make, capture=capture) for capture in (True, False))
    assert all(step.graph is not None for step in recorded._gpu_steps.sizes.values())
    assert_trained_alike(eager, recorded)
    one, other = (
        {
            name: cupy.asnumpy(value)
            for name, value in t.optimizer.state_dict().items()
            if isinstance(value, cupy.ndarray)
        }
        for t in (eager, recorded)
    )
    assert one
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert_array_equal(other[name], value)
        assert not name.startswith("steps") or value == 15  # three epochs of five batches


def test_a_step_is_recorded_anew_when_one_group_changes(cupy):
    class SecondOnly(optim.Schedule):
        def __init__(self, optimizer, epochs):
            super().__init__(optimizer)

        def lr_at(self, epoch, base_lr):
            return base_lr / (1 + epoch) if base_lr == 0.2 else base_lr

    def make(params):
        first, *others = params
        return optim.SGD([{"params": [first]}, {"params": others, "lr": 0.2}], 0.1)

    runs = [trained("cuda", make=make, schedule=SecondOnly, capture=capture) for capture in (True, False)]
    assert_trained_alike(*reversed(runs))


def test_a_data_set_for_which_there_is_no_room_is_copied_batch_by_batch(cupy, monkeypatch):
    resident = trained("cuda")
    monkeypatch.setattr(gpu_steps, "LARGEST", digits().images.nbytes - 1)
    sent = trained("cuda")
    assert [type(t._gpu_steps.source) for t in (resident, sent)] == [gpu_steps.Resident, gpu_steps.Sent]
    assert_trained_alike(resident, sent)


def test_a_data_set_of_ones_own_is_trained_step_by_step(cupy):
    class Own(data.ArrayDataset):
        pass

    images = digits()
    model = network().to("cuda")
    trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.1))
    trainer.fit(Own(images.images, images.labels), 1, progress=False)
    assert trainer._gpu_steps is None


@pytest.mark.parametrize("transform", [None, mirrored])
def test_a_label_without_an_output_is_found_before_anything_is_recorded(cupy, transform):
    images = digits()
    images.labels[21] = 3
    model = network().to("cuda")
    trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.1))
    with pytest.raises(ValueError, match="sample 21 of the data set has the label 3"):
        trainer.fit(data.DataLoader(images, 5, transform=transform), 1, progress=False)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_image_with_a_nan_is_named_before_anything_is_trained(cupy, device):
    images, labels = np.zeros((12, 8, 8, 1), np.float32), np.zeros(12, np.int64)
    images[3, 4, 5] = np.nan
    model = network().to(device)
    trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.1))
    ordered = data.DataLoader(data.ArrayDataset(images, labels), 6)
    with pytest.raises(ValueError, match=r"number 3 of the data set\) has a NaN"):
        trainer.fit(ordered, 1, progress=False)


def test_what_was_trained_there_goes_on_here(cupy, tmp_path):
    there = trained("cuda", 1)
    there.save(tmp_path / "a.safetensors")
    model = network()
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    here = mc.Trainer(model, optimizer, schedule=optim.CosineAnnealingLR(optimizer, 1))
    here.load(tmp_path / "a.safetensors")
    for name, value in there.model.state_dict().items():
        assert type(here.model.state_dict()[name]) is np.ndarray
        assert_array_equal(here.model.state_dict()[name], device.to_device(value, "cpu"))


def test_a_step_that_waits_for_a_result_is_not_recorded_and_says_so(cupy):
    class Curious(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 3)

        def forward(self, x):
            y = self.layer(x.reshape(len(x), -1))
            return y * float(abs(y.data).max())

    model = Curious().to("cuda")
    trainer = mc.Trainer(model, optim.SGD(model.parameters(), 0.1))
    with pytest.warns(UserWarning, match=r"cannot be recorded as a CUDA graph: .*training goes on without one"):
        trainer.fit(digits(), 1, batch_size=5, progress=False)
    assert trainer.history["loss"][0] > 0


def test_nothing_is_copied_between_cpu_and_gpu_while_a_step_is_recorded(cupy):
    here, there = np.ones((2, 3), np.float32), cupy.asarray(np.ones((2, 3), np.float32))
    for array, name in ((here, "cuda"), (there, "cpu")):
        with pytest.raises(RuntimeError, match=r"shape \(2, 3\) is on the .*a recorded step cannot copy it"):
            device.recorded(functools.partial(device.to_device, array, name))
    assert device.recorded(lambda: device.to_device(there, "cuda")).result is there


def test_a_product_of_matrices_is_recorded_and_is_that_of_the_reference(cupy):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((5, 7), (7, 3)))
    here = mc.tensor(a, requires_grad=True), mc.tensor(b, requires_grad=True)
    there = [mc.tensor(x, device="cuda", requires_grad=True) for x in (a, b)]

    def product(a, b):
        y = a @ b
        y.backward(y.data)
        return y.data, a.grad, b.grad

    product(*(mc.tensor(x, device="cuda", requires_grad=True) for x in (a, b)))  # everything is compiled
    recorded = device.recorded(lambda: product(*there))
    recorded.replay(0)
    for got, expected in zip(recorded.result, product(*here), strict=True):
        assert_allclose(device.to_device(got, "cpu"), expected, rtol=1e-5, atol=1e-5)


def test_float16_is_summed_in_float32(cupy):
    """4096 + 1 is 4096 in float16."""
    x = cupy.asarray(np.ones((8, 3000), np.float16))
    for axes, expected in (((1,), 3000), ((0, 1), 24000)):
        total = mc.Tensor(x).sum(axis=axes)
        assert total.dtype == np.float16
        assert (device.to_device(total.data, "cpu") == expected).all()


def test_the_loss_of_1998_waits_for_no_result(cupy):
    outputs, labels = mc.tensor(-np.ones((2, 3), np.float32)).to("cuda"), cupy.asarray(np.array([0, 2]))
    with pytest.raises(ValueError, match="labels from 0 to 2 for 3 classes, got 3"):
        models.map_criterion(outputs, labels + 1)
    device.recorded(lambda: models.map_criterion(outputs, labels))


def test_a_result_with_too_many_numbers_to_be_counted_is_refused():
    with pytest.raises(ValueError, match=r"up to 2\*\*31 - 1 numbers, got the shape \(65536, 32768\)"):
        _launch.empty((2**16, 2**15), np.float32)


def test_memory_that_is_not_there_is_no_error_that_cupys_pool_would_answer(monkeypatch):
    """It would free blocks and ask again, and recorded kernels have their addresses."""

    class CUDARuntimeError(RuntimeError):
        pass

    def refused(size):
        raise CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")

    runtime = SimpleNamespace(CUDARuntimeError=CUDARuntimeError)
    cuda = SimpleNamespace(runtime=runtime, Memory=refused, MemoryPointer=lambda memory, offset: memory)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=cuda))
    with pytest.raises(MemoryError, match="out of memory"):
        graph._memory(512)


def test_mixed_precision_is_near_float32(cupy):
    """A float16 has 11 binary digits, so losses agree to about 3 decimal ones, and weights stay float32."""
    small_steps = {"make": lambda p: optim.SGD(p, 0.01)}
    mixed, exact = (trained("cuda", 2, precision=precision, **small_steps) for precision in ("float16", "float32"))
    for name in ("loss", "val_loss"):
        assert mixed.history[name] != exact.history[name]
        assert_allclose(mixed.history[name], exact.history[name], rtol=5e-3)
    assert {p.dtype for p in mixed.model.parameters()} == {np.dtype(np.float32)}
    assert {b.dtype for b in mixed.model.buffers()} == {np.dtype(np.float32), np.dtype(np.int64)}
    assert mixed.predict(digits().images).dtype == np.float32


def test_what_layers_make_of_half_images_is_half_and_their_gradients_are_float32(cupy):
    model = network().to("cuda")
    x = mc.tensor(np.ones((2, 8, 8, 1), np.float32)).to("cuda", dtype="float16")
    for layer in model:
        x = layer(x)
        assert x.dtype == np.float16
    (x.to(dtype="float32") * 3.0).sum().backward()
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(np.float32)}


def test_a_layer_of_ones_own_has_its_parameters_rounded_beside_half_images(cupy):
    """1.001 and 0.5 become 1.001 to 11 binary digits, 1 + 2**-10, and 0.5; gradients come back as float32."""
    x = mc.tensor(np.array([[2.0, 4.0]], np.float32)).to("cuda", dtype="float16")
    scale, shift = (nn.Parameter(np.array([value, value], np.float32)) for value in (1.001, 0.5))
    layer = nn.Module()
    layer.scale, layer.shift = scale, shift
    layer.to("cuda")
    y = x * scale + shift
    assert y.dtype == np.float16
    assert y.numpy().tolist() == [[2.5 + 2**-9, 4.5 + 2**-8]]
    y.to(dtype="float32").sum().backward()
    assert (scale.grad.dtype, shift.grad.dtype) == (np.float32, np.float32)
    assert (cupy.asnumpy(scale.grad).tolist(), cupy.asnumpy(shift.grad).tolist()) == ([2.0, 4.0], [1.0, 1.0])


def test_half_precision_is_for_a_gpu(cupy):
    with pytest.raises(TypeError, match="or on a GPU float16, got float16"):
        mc.tensor([1.0]).to(dtype="float16")
    with pytest.raises(RuntimeError, match=r'precision="float16" is for a GPU: move the model with .to\("cuda"\)'):
        trained("cpu", 1, precision="float16")
    with pytest.raises(ValueError, match="got 'half'"):
        trained("cpu", 1, precision="half")
