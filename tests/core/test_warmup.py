"""`python -m minicnn.warmup`, how long a first training step takes, and where compiled kernels are kept."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_import import isolated

import minicnn as mc
from minicnn import kernels
from minicnn.warmup import warm_up

REACHED = """
from minicnn.kernels.cpu import _jit
from minicnn.warmup import warm_up
warm_up({dtype!r})
launched = [kernel for kernel in _jit._kept if "prange" in kernel.py_func.__code__.co_names]
print(len(launched), [kernel.py_func.__qualname__ for kernel in launched if not kernel.signatures])
"""

STEP = """
import numpy as np
import minicnn as mc
from minicnn import functional as F, models, optim

model = models.lenet5()
optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
images, labels = np.zeros((128, 28, 28, 1), np.float32), np.zeros(128, int)
F.cross_entropy(model(mc.tensor(images)), labels).backward()
optimizer.step()
from minicnn.kernels.cpu._jit import cache_statistics
"""

CONTRACT = """
import sys
sys.path.insert(0, {folder!r})
from test_reference_contract import CALLS, convert
from minicnn.kernels import cpu
for name, arguments in CALLS:
    getattr(cpu, name)(*convert(arguments, np.float32))
"""

READ_ONLY = """
import numpy as np, warnings
from minicnn.kernels import cpu
from minicnn.kernels.cpu._jit import cache_statistics
print(cpu.relu_forward(np.ones(3, np.float32)), *cache_statistics())
"""


def python(code: str, **environment: str) -> list[str]:
    """The words that `code` prints in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_warm_up_reaches_every_kernel_that_python_launches(dtype):
    count, *missed = python(REACHED.format(dtype=dtype), NUMBA_NUM_THREADS="2")
    assert int(count) > 20
    assert missed == ["[]"]


def test_a_warm_up_of_another_dtype_is_refused():
    with pytest.raises(ValueError, match=r"""expected "float32" or "float64", got 'float16'"""):
        warm_up("float16")


@pytest.mark.slow
def test_the_second_first_step_of_lenet_finds_its_kernels_on_disk_in_3_seconds(tmp_path, processor_seconds):
    """2 on a processor of today; some of those that are rented out need half as long again."""
    python(STEP, NUMBA_CACHE_DIR=str(tmp_path))
    assert processor_seconds(lambda: python(STEP, NUMBA_CACHE_DIR=str(tmp_path))) < 3
    made, found, _ = python(f"{STEP}print(*cache_statistics())", NUMBA_CACHE_DIR=str(tmp_path))
    assert (int(made), int(found) > 10) == (0, True)


@pytest.mark.slow
def test_the_first_step_of_lenet_compiles_its_kernels_in_40_seconds(tmp_path, processor_seconds):
    """20 on a processor of today; some of those that are rented out need half as long again."""
    assert processor_seconds(lambda: python(STEP, NUMBA_CACHE_DIR=str(tmp_path))) < 40


@pytest.mark.slow
def test_after_a_warm_up_nothing_is_compiled(tmp_path):
    """Neither by a training step of LeNet-5, nor by any call of the kernels' contract."""
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "minicnn.warmup"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | cache, check=True)
    (folder,) = tmp_path.iterdir()
    assert done.stdout.splitlines()[-1] == f"they lie in {folder}"
    contract = CONTRACT.format(folder=str(Path(__file__).parents[1] / "kernels"))
    made, found, _ = python(f"{STEP}{contract}print(*cache_statistics())", **cache)
    assert int(made) == 0
    assert int(found) > 20


@pytest.fixture
def read_only(tmp_path):
    """A copy of the package whose kernels cannot keep anything beside themselves: `__pycache__` is no folder."""
    ignored = shutil.ignore_patterns("__pycache__", "*.gz")
    shutil.copytree(Path(mc.__file__).parent, tmp_path / "minicnn", ignore=ignored)
    shutil.copytree(Path(kernels.__file__).parent, tmp_path / "minicnn" / "kernels", ignore=ignored, dirs_exist_ok=True)
    (tmp_path / "minicnn" / "kernels" / "cpu" / "__pycache__").touch()
    return tmp_path


def run_read_only(folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What relu of three ones prints, with that home folder: y, kernels compiled, kernels found, where they lie."""
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    status, output, error = isolated(READ_ONLY, folder)
    assert (status, error) == (0, "")
    return output


def test_where_the_package_is_read_only_the_user_keeps_the_kernels(read_only, monkeypatch):
    (home := read_only / "home").mkdir()
    output = run_read_only(read_only, home, monkeypatch)
    assert output.startswith(f"[1. 1. 1.] 1 0 {home}{os.sep}")
    assert list(Path(output.split()[-1]).glob("*.nbc"))
    assert run_read_only(read_only, home, monkeypatch) == output.replace("] 1 0 ", "] 0 1 ")


def test_where_nothing_can_be_written_every_process_compiles(read_only, monkeypatch):
    (file := read_only / "file").touch()
    for _ in range(2):
        assert run_read_only(read_only, file / "home", monkeypatch) == "[1. 1. 1.] 1 0 None"
