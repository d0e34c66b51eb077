"""How models are tested on a GPU, tested without one too: on the emulator, with fake_cupy in the place of CuPy."""

import copy

import fake_cupy
import gpu_step
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from twins import check_training_step

import minicnn as mc
from minicnn import functional as F
from minicnn import models, nn
from minicnn.kernels import cuda
from minicnn.kernels.cuda import _launch


@pytest.fixture(autouse=True)
def _gpu(monkeypatch):
    if not mc.cuda_available():
        fake_cupy.installed(monkeypatch)
    mc.seed(0)


def network():
    """Convolution, batch norm and pooling."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear((2, 2, 4), 3),
    )


def pictures():
    return np.random.default_rng(0).random((5, 6, 6, 2))


def test_every_model_with_a_twin_is_tested_on_the_gpu_in_all_precisions(monkeypatch):
    torch = pytest.importorskip("torch")
    seen, step = [], gpu_step.gpu_step
    monkeypatch.setattr(gpu_step, "gpu_step", lambda *given: seen.append(given[1]) or step(*given))
    twin = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
                               torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(16, 3))  # fmt: skip
    check_training_step(network(), twin, torch, pictures(), 3)
    assert seen == ["float32", "tf32", "float16"]


@pytest.mark.parametrize("name", ["lenet1", "lenet5:1998"])
def test_the_networks_that_have_no_twin(name):
    loss = models.map_criterion if name == "lenet5:1998" else F.cross_entropy
    model, labels = models.build(name).to(dtype="float64"), np.arange(3)
    images = np.random.default_rng(0).random((3, 28, 28, 1))
    exact = gpu_step.exact_step(copy.deepcopy(model), images, labels, loss)
    gpu_step.check_step_on_gpu(model, images, labels, exact, loss)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side", "channels"), [("lenet5", 28, 1), ("resnet20", 8, 3)])
def test_networks_by_kernels_as_nvrtc_compiles_them(monkeypatch, name, side, channels):
    if not mc.cuda_available():
        fake_cupy.installed(monkeypatch, fake_cupy.FakePtxGpu)
    model, labels = models.build(name).to(dtype="float64"), np.arange(2)
    images = np.random.default_rng(0).random((2, side, side, channels))
    exact = gpu_step.exact_step(copy.deepcopy(model), images, labels)
    gpu_step.check_step_on_gpu(model, images, labels, exact)


@pytest.mark.parametrize(
    ("kernel", "result", "said"),
    [("conv2d_forward", None, "logits"), ("conv2d_backward_weight", None, "gradient"),
     ("batch_norm_forward", 2, "statistics of 1.running_var"), ("batch_norm_backward", 1, "each 1.weight")],
)  # fmt: skip
def test_a_kernel_that_is_wrong_is_found(monkeypatch, kernel, result, said):
    """Every third number is twice as large as it should be."""
    model, labels = network().to(dtype="float64"), np.arange(5) % 3
    exact = gpu_step.exact_step(copy.deepcopy(model), pictures(), labels)
    gpu_step.check_step_on_gpu(model, pictures(), labels, exact)
    right = getattr(cuda, kernel)

    def wrong(*arguments):
        results = right(*arguments)
        array = results if result is None else results[result]
        array.reshape(-1)[::3] *= 2
        return results

    monkeypatch.setattr(cuda, kernel, wrong)
    with pytest.raises(AssertionError, match=f"on the GPU in float32 .*{said}"):
        gpu_step.check_step_on_gpu(model, pictures(), labels, exact)


def test_each_precision_rounds_as_it_says_and_the_usual_one_comes_back():
    """By products that are large enough for tensor cores: 3e-5 lies between what float32 and what TF32 loses."""
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(32, 32)), np.random.default_rng(0).random((64, 4, 4, 2))
    exact = gpu_step.exact_step(copy.deepcopy(model).to(dtype="float64"), images, np.arange(64) % 32)
    logits = {name: gpu_step.gpu_step(copy.deepcopy(model), name, images, np.arange(64) % 32).logits
              for name in gpu_step.TOLERANCES}  # fmt: skip
    errors = {name: gpu_step._error([array], [exact.logits]) for name, array in logits.items()}
    assert errors["float32"] < 3e-6
    assert 3e-5 < errors["tf32"] < 1e-3
    assert 3e-5 < errors["float16"] < 1e-3
    assert (logits["tf32"] != logits["float16"]).any()
    assert _launch.float32_matmul_precision == "highest"


def test_the_model_that_is_tested_stays_as_it_was():
    model, labels = network().to(dtype="float64"), np.arange(5) % 3
    exact = gpu_step.exact_step(copy.deepcopy(model), pictures(), labels)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    gpu_step.check_step_on_gpu(model, pictures(), labels, exact)
    for name, array in before.items():
        assert_array_equal(model.state_dict()[name], array)


def test_what_is_not_a_number_is_an_infinite_error():
    assert gpu_step._error([np.array([1.0, np.nan])], [np.ones(2)]) == np.inf
    assert gpu_step._error([np.array([3.0])], [np.zeros(1)], 2.0) == 1.5
