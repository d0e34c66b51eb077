"""What all examples share: what they say where minicnn is missing, where they compute, how they end."""

import re
import subprocess
import sys

import launch
import pytest

import minicnn as mc
from minicnn.kernels.cuda import _launch


@pytest.fixture
def script(monkeypatch):
    return launch.module("script", monkeypatch)


TEXTS = {path.name: path.read_text(encoding="utf-8") for path in launch.FOLDER.glob("*.py")}
WITH_IT = sorted(name for name, text in TEXTS.items() if re.search(r"^ *(import|from) minicnn", text, re.MULTILINE))


@pytest.mark.parametrize("name", WITH_IT)
def test_without_minicnn_it_says_how_to_install_it(name, tmp_path):
    """-S leaves out site-packages, where minicnn is, and with it NumPy, for which an empty module will do."""
    (tmp_path / "numpy.py").touch()
    command = f"import sys, runpy; sys.path[:0] = [{str(launch.FOLDER)!r}, {str(tmp_path)!r}]; sys.argv[1:] = ['-h']; "
    command += f"runpy.run_path({str(launch.FOLDER / name)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-S", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "No module named 'minicnn': install minicnn first, with `pip install -e .` in the folder above examples/\n"
    )


def test_auto_takes_a_gpu_where_there_is_one(script, monkeypatch):
    for found, device in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(mc, "cuda_available", lambda found=found: found)
        assert script.chosen_device("auto") == device
        assert [script.chosen_device(name) for name in ("cpu", "cuda")] == ["cpu", "cuda"]


def test_a_precision_is_a_matter_of_products_and_of_storage(script, monkeypatch):
    monkeypatch.setattr(_launch, "float32_matmul_precision", "highest")
    for precision, products, storage in (
        ("float32", "highest", "float32"), ("tf32", "high", "float32"), ("float16", "highest", "float16")
    ):  # fmt: skip
        script.set_precision(precision, "cuda")
        assert _launch.float32_matmul_precision == products
        assert script.storage(precision) == storage
    with pytest.raises(ValueError, match="--precision tf32 is for a GPU, and this is the device cpu"):
        script.set_precision("tf32", "cpu")


def test_faults_become_a_sentence_and_bugs_do_not(script):
    with pytest.raises(SystemExit, match=r"^train\.py: no such folder$"), script.faults_in_one_sentence("a/train.py"):
        raise OSError("no such folder")
    with pytest.raises(KeyError), script.faults_in_one_sentence("a/train.py"):
        raise KeyError("a bug")


def test_a_gpu_that_is_full_is_a_sentence_with_the_cure(monkeypatch, tmp_path):
    """It is in the middle of training that CuPy finds no room, for the optimizer's arrays."""
    import fake_cupy

    class OutOfMemoryError(MemoryError):
        __module__ = "cupy.cuda.memory"

    def zeros(*shape):
        raise OutOfMemoryError("Out of memory allocating 4,000 bytes (allocated so far: 12 bytes).")

    monkeypatch.setattr(fake_cupy.installed(monkeypatch), "zeros", zeros, raising=False)
    options = ["--device", "cuda", "--model", "lenet1", "--batch-size", "2", "--out", tmp_path / "run"]
    with pytest.raises(SystemExit) as ended:
        launch.run_here("train_lenet.py", *options, cwd=tmp_path, monkeypatch=monkeypatch)
    assert ended.value.code == (
        "train_lenet.py: Out of memory allocating 4,000 bytes (allocated so far: 12 bytes): use smaller batches or "
        "images, or end what else runs on that GPU (nvidia-smi lists it)"
    )
