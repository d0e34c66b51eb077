"""The folder of the benchmarks on the path, and its parts as fixtures."""

import sys
from types import SimpleNamespace

import fake_cupy
import pytest
from scripts import FOLDER

from minicnn.kernels.cuda import _launch

TF32 = 7  # CuPy's number for it


@pytest.fixture(scope="session", autouse=True)
def _on_the_path():
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


@pytest.fixture
def cli():
    import cli

    return cli


@pytest.fixture
def harness():
    import harness

    return harness


@pytest.fixture
def report():
    import report

    return report


@pytest.fixture
def cupy(monkeypatch):
    """A machine with a GPU of one multiprocessor; `cupy.types`: the types of products that CuPy was told, in order."""
    cupy = fake_cupy.installed(monkeypatch)
    cupy.__version__, cupy.types = "14.2.0", []
    cupy.cuda.Device = lambda: SimpleNamespace(id=0)
    properties = {"name": b"Emulated GPU", "totalGlobalMem": 10**9, "multiProcessorCount": 1}
    cupy.cuda.runtime.getDeviceProperties = lambda device: properties
    cupy.cuda.runtime.driverGetVersion = lambda: 13000
    cupy.get_default_memory_pool = lambda: SimpleNamespace(free_all_blocks=lambda: None)
    linalg = SimpleNamespace(COMPUTE_TYPE_DEFAULT=1, COMPUTE_TYPE_TF32=TF32)
    linalg.set_compute_type = lambda dtype, kind: cupy.types.append(kind)
    cupy._core = SimpleNamespace(_routines_linalg=linalg)
    monkeypatch.setattr(_launch, "float32_matmul_precision", "highest")  # and so again when the test is over
    return cupy


@pytest.fixture
def race_run():
    import race_run

    return race_run


@pytest.fixture
def roofs():
    """10 operations and 2 bytes a second."""
    from roofs import Roofs

    return {"cpu": Roofs(10.0, 2.0), "cuda": Roofs(100.0, 20.0)}


@pytest.fixture
def outcome(race_run, roofs):
    """60 operations on 40 bytes: 20 seconds on the CPU, for the bytes, and 2 on the GPU."""
    import kernel_cases
    from ulps import Agreement
    from work import Work

    near, far = Agreement((0.25, 1.0), (2.0, 1000.0)), Agreement((0.5, 3.0), (200.0, 1.5e7))
    runners = [race_run.Runner("reference", [100.0, 80.0, 200.0, 90.0, 110.0], near),
               race_run.Runner("cpu", [25.0], far, note="one call"),
               race_run.Runner("cuda", [4.0, 8.0], near),
               race_run.Runner("torch", trouble="it is not there")]  # fmt: skip
    return race_run.Outcome(next(kernel_cases.activations([(2, 3)])), Work(60, 40), roofs, runners)


@pytest.fixture
def torch():
    """PyTorch, whose settings are again what they were when the test is over."""
    torch = pytest.importorskip("torch")
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark
    yield torch
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark = before


@pytest.fixture
def torch_here(torch, cupy, monkeypatch):
    """PyTorch takes part on the CPU, and with its autotuner on in this very process."""
    import elsewhere
    import gpu_memory
    import gpu_settings

    class Here(elsewhere.Elsewhere):
        def __init__(self, begin, *arguments):
            self.kept = {}
            self.ask(begin, *arguments)

        def ask(self, function, *arguments):
            return function(self.kept, *arguments)

    true = gpu_memory.peak
    monkeypatch.setattr(gpu_settings, "Elsewhere", Here)
    monkeypatch.setattr(gpu_settings, "torch_device", lambda options: "cpu")
    monkeypatch.setattr(gpu_memory, "peak", lambda library, call: true("minicnn", call))
    return torch
