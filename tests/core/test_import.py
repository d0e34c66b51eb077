"""`import minicnn` is quick and brings in nothing heavy; rooms are chosen by name; a bare checkout says what to do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minicnn as mc
from minicnn import kernels

HEAVY = (
    "numba", "llvmlite", "matplotlib", "cupy", "torch", "scipy", "tqdm", "safetensors", "concurrent",
    "multiprocessing", "asyncio", "urllib.request", "requests", "filelock", "PIL", "flask", "hypothesis", "pytest",
)  # fmt: skip


def python(code, *options, **environment):
    """Run code in a fresh interpreter; (exit status, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment}, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize("statement", ["import minicnn", "from minicnn import *"])
def test_import_brings_in_nothing_heavy(statement):
    code = f"{statement}; import sys; print([name for name in {HEAVY} if name in sys.modules])"
    assert python(code) == (0, "[]", "")


def test_import_is_quick(tmp_path):
    # As whoever installed it imports it: from bytecode, which an environment may forbid to write. The processor's time,
    # as other processes of this machine only ever make the clock's longer, and the smallest of seven.
    code = "import time; before = time.process_time(); import minicnn; print(time.process_time() - before)"
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}

    # NumPy is no part of minicnn's own time, but whoever imports minicnn waits for it.
    assert min(float(python(code, **bytecode)[1]) for _ in range(7)) < 0.3


def test_what_a_script_may_do_without_is_imported_when_it_is_first_used():
    code = (
        "import sys; from minicnn import nn, optim; import minicnn as mc; "
        "kept = ('data', 'models', 'onnx', 'study', 'train'); "
        "before = [k for k in kept if f'minicnn.{k}' in sys.modules]; mc.models.lenet5; mc.Trainer; mc.graph.trace; "
        "print(before, *(k for k in kept if f'minicnn.{k}' in sys.modules))"
    )
    assert python(code) == (0, "[] data models train", "")
    assert python("import minicnn; minicnn.nonsense")[2].endswith("module 'minicnn' has no attribute 'nonsense'")


def test_the_fast_room_is_imported_when_it_is_first_used():
    code = (
        "import minicnn as mc, sys; x = mc.tensor([1.0]); (x + x).sum(); before = 'numba' in sys.modules;"
        "mc.functional.relu(x); print(before, 'numba' in sys.modules)"
    )
    assert python(code, MINICNN_KERNELS="") == (0, "False True", "")


def test_the_reference_room_needs_no_numba():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import minicnn as mc\nprint(mc.functional.relu(mc.tensor([-1.0, 2.0])).numpy().tolist())"
    )
    assert python(code, MINICNN_KERNELS="reference") == (0, "[0.0, 2.0]", "")


def test_use_chooses_a_room_and_puts_it_back():
    x = np.zeros(1, np.float32)
    with kernels.use("reference"):
        assert kernels.room(x).__name__ == "minicnn.kernels.reference"
        with kernels.use("cpu"):
            assert kernels.room(x).__name__ == "minicnn.kernels.cpu"
        assert kernels.room(x).__name__ == "minicnn.kernels.reference"
        with pytest.raises(ZeroDivisionError), kernels.use("cpu"):
            raise ZeroDivisionError
        assert kernels.room(x).__name__ == "minicnn.kernels.reference"


def test_the_environment_chooses_a_room_and_use_goes_first(monkeypatch):
    x = np.zeros(1, np.float32)
    monkeypatch.setenv("MINICNN_KERNELS", "reference")
    assert kernels.room(x).__name__ == "minicnn.kernels.reference"
    with kernels.use("cpu"):
        assert kernels.room(x).__name__ == "minicnn.kernels.cpu"


@pytest.mark.parametrize("name", ["nonsense", "", "Reference", "os", "../cpu", None, 3])
def test_an_unknown_room_is_refused(name):
    with pytest.raises(ValueError, match=r"the kernel room must be one of reference, cpu.*, got"):
        kernels.use(name)


def test_an_unknown_room_in_the_environment_is_one_sentence(monkeypatch):
    monkeypatch.setenv("MINICNN_KERNELS", "nonsense")
    with pytest.raises(ValueError, match=r"^the kernel room must be one of reference, cpu.*, got 'nonsense'$"):
        mc.functional.relu(mc.tensor([1.0]))


def test_what_no_room_serves_is_refused():
    with pytest.raises(RuntimeError, match=r"no kernels serve a list: give arrays of NumPy"):
        kernels.room([1.0])


def isolated(code, folder):
    """Run code where `minicnn` is the one in `folder`, as if none were installed: site-packages without .pth files."""
    packages = sorted({str(Path(np.__file__).parents[1]), *(p for p in sys.path if p.endswith("site-packages"))})
    return python(f"import sys; sys.path[:0] = [{str(folder)!r}]; sys.path += {packages}\n{code}", "-I", "-S")


def test_a_checkout_that_is_not_installed_says_what_to_do(tmp_path):
    source = Path(mc.__file__).parent
    shutil.copytree(source, tmp_path / "minicnn", ignore=shutil.ignore_patterns("__pycache__", "kernels", "*.gz"))
    status, _, error = isolated("import minicnn", tmp_path)
    assert status == 1
    last = error.splitlines()[-1]
    assert last.startswith("ImportError: minicnn was found in a checkout that is not installed: run `pip install -e .`")
    assert "partially initialized" not in error
    code = "try: import minicnn\nexcept ImportError as e: print(e.__suppress_context__)"
    assert isolated(code, tmp_path) == (0, "True", "")


def test_an_import_error_inside_the_kernels_is_not_disguised(tmp_path):
    source = Path(mc.__file__).parent
    shutil.copytree(source, tmp_path / "minicnn", ignore=shutil.ignore_patterns("__pycache__", "kernels", "*.gz"))
    (tmp_path / "minicnn" / "kernels").mkdir()
    (tmp_path / "minicnn" / "kernels" / "__init__.py").write_text("import a_module_that_is_not_there\n")
    status, _, error = isolated("import minicnn", tmp_path)
    assert status == 1
    assert error.splitlines()[-1] == "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"


def test_every_public_name_is_there():
    for name in mc.__all__:
        assert hasattr(mc, name)
    assert set(mc.__all__) <= set(dir(mc))
    for name in mc.functional.__all__:
        assert callable(getattr(mc.functional, name))


def test_seed_takes_whole_numbers_of_64_bits():
    for wrong, error in ((-1, ValueError), (2**64, ValueError), (1.0, TypeError), ("1", TypeError), (True, TypeError)):
        with pytest.raises(error, match="seed expected a"):
            mc.seed(wrong)
    mc.seed(2**64 - 1)
    mc.seed(np.int64(0))
