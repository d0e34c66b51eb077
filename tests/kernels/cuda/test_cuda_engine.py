"""The whole engine on the CUDA room: the emulator in the place of the GPU, and fake_cupy in that of CuPy."""

import fake_cupy
import numpy as np
import pytest

import minicnn as mc
from minicnn import functional as F
from minicnn import kernels, nn


@pytest.fixture
def cupy(monkeypatch):
    """A machine with a GPU, as far as the engine can see."""
    return fake_cupy.installed(monkeypatch)


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
