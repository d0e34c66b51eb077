"""What a person reads where the GPU's memory is full, wherever that is noticed: CuPy's error with a cure."""

import re
import sys

import fake_cupy
import numpy as np
import pytest

import minicnn as mc
from minicnn import Function, data, nn, optim

CURE = (
    r"^Out of memory allocating 4,000 bytes \(allocated so far: 12 bytes\): use smaller batches or images, or end what "
    r"else runs on that GPU \(nvidia-smi lists it\)$"
)
NO_ROOM = rf"{CURE}|^the GPU has no room for an array of shape .*: use smaller batches or images, or end what else"


class OutOfMemoryError(MemoryError):
    __module__ = "cupy.cuda.memory"

    def __init__(self):
        super().__init__("Out of memory allocating 4,000 bytes (allocated so far: 12 bytes).")


@pytest.fixture
def fails(monkeypatch):
    """fails(n): from now on CuPy has room for n arrays, and none for the next one. The list is that of all arrays."""
    fake_cupy.installed(monkeypatch)
    given_out, arrays, room = fake_cupy._given_out, [], [sys.maxsize]

    def limited(array):
        if array.base is None:
            if len(arrays) == room[0]:
                raise OutOfMemoryError
            arrays.append(array.shape)
        return given_out(array)

    def call(n):
        arrays.clear()
        room[0] = n
        return arrays

    monkeypatch.setattr(fake_cupy, "_given_out", limited)
    return call


def test_an_operation_of_tensors(fails):
    x = mc.tensor([[1.0, 2.0], [3.0, 4.0]], device="cuda")
    fails(0)
    for operation in (lambda: x + x, x.exp, lambda: x @ x, lambda: mc.functional.relu(x)):
        with pytest.raises(MemoryError, match=CURE) as caught:
            operation()
        assert caught.value.__suppress_context__, "no traceback from inside CuPy"


def test_the_backward_pass(fails):
    x = mc.tensor([1.0, 2.0], True, device="cuda")
    for leaves in (x.exp().sum(), x.sum()):  # in a Function, and where the gradient is added to that of before
        x.grad = x.data.copy()
        fails(1)
        with pytest.raises(MemoryError, match=CURE):
            leaves.backward()
        fails(sys.maxsize)


def test_a_step_of_an_optimizer(fails):
    x = nn.Parameter(np.ones(2, np.float32))
    x.move("cuda", None)
    optimizer = optim.SGD([x], 0.1, momentum=0.9)
    x.grad = x.data.copy()
    fails(0)
    with pytest.raises(MemoryError, match=CURE):
        optimizer.step()


def trainer_of():
    """A recording that has no room is none: training goes on without it, so here nothing is recorded."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).to("cuda")
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    average = optim.WeightAverage(model, 0.5)
    return mc.Trainer(model, optimizer, capture=False, clip_norm=1.0, average=average)


DIGITS = data.ArrayDataset(np.arange(16, dtype=np.uint8).reshape(4, 2, 2, 1), np.array([0, 1, 0, 1]))
WORK = {
    "fit": lambda trainer: trainer.fit(DIGITS, 1, batch_size=2, validation=DIGITS, progress=False),
    "evaluate": lambda trainer: trainer.evaluate(DIGITS, batch_size=2),
    "predict": lambda trainer: trainer.predict(DIGITS.images),
}


@pytest.mark.parametrize("work", WORK)
def test_whatever_array_it_is_that_the_trainer_has_no_room_for(fails, work):
    trainer = trainer_of()
    arrays = fails(sys.maxsize)
    WORK[work](trainer)
    said = []
    for n in range(len(arrays)):
        fails(sys.maxsize)
        trainer = trainer_of()
        fails(n)
        try:
            WORK[work](trainer)
        except MemoryError as error:
            said.append(str(error))
    assert len(said) > len(arrays) // 2, "it may do without a few"
    assert [sentence for sentence in said if not re.match(NO_ROOM, sentence)] == []


def test_a_model_that_becomes_larger(fails):
    model = nn.Linear(2, 2).to("cuda")
    fails(0)
    with pytest.raises(MemoryError, match=CURE):
        model.to(dtype="float64")


def test_other_errors_of_memory_stay_as_they_are(fails):
    class Large(Function):
        def forward(self, x):
            return np.empty(2**50)

    with pytest.raises(MemoryError, match="Unable to allocate") as caught:
        Large()(mc.tensor([1.0]))
    assert type(caught.value).__module__.startswith("numpy")
