"""What is compiled is kept on disk between runs, and thrown away when any file of the room has changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minicnn import kernels
from minicnn.kernels.cpu._jit import compiled, on_threads, separate

SCRIPT = """
import numpy as np
from copied.cpu.softmax import softmax_forward, _softmax
dispatcher = _softmax.__closure__[0].cell_contents
print(softmax_forward(np.zeros((1, 4), np.float32))[0, 0])
print(sum(dispatcher.stats.cache_hits.values()))
"""

PRODUCT = """
import numpy as np
from copied.cpu.linear import linear_forward, _multiply
dispatcher = _multiply.__closure__[0].cell_contents
print(linear_forward(np.ones((8, 3), np.float32), np.ones((3, 2), np.float32), None, None).sum())
print(sum(dispatcher.stats.cache_hits.values()))
"""


def run(folder: Path, script: str = SCRIPT) -> list[str]:
    output = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return output.stdout.split()


def test_an_edit_in_another_file_is_compiled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    source = Path(kernels.__file__).parent
    shutil.copytree(source, tmp_path / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    assert run(tmp_path) == ["0.25", "0"]
    assert run(tmp_path) == ["0.25", "1"], "the second run compiled again"
    # exp is called by softmax from another file: make it return 0, so that softmax divides 0 by 0.
    callee = tmp_path / "copied" / "cpu" / "activation.py"
    text = callee.read_text()
    assert text.count("    return (s * r * r + r + np.float32(1)) * power\n") == 1
    callee.write_text(text.replace("(s * r * r + r + np.float32(1))", "(s * r * r + r + np.float32(1)) * 0"))
    assert run(tmp_path) == ["nan", "0"]


def test_a_kernel_from_disk_finds_the_pieces_that_it_calls_by_address(tmp_path, monkeypatch):
    """Those that lie on disk beside it, and those that have been deleted there."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    source = Path(kernels.__file__).parent
    shutil.copytree(source, tmp_path / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    assert run(tmp_path, PRODUCT) == ["48.0", "0"]
    assert run(tmp_path, PRODUCT) == ["48.0", "1"]
    pieces = list((tmp_path / "cache").rglob("blocks.multiply-*"))
    assert pieces
    for piece in pieces:
        piece.unlink()
    assert run(tmp_path, PRODUCT) == ["48.0", "1"]


@separate
def refuse(x):
    if x[0] > 0:
        raise ValueError("refused")


@compiled
def refuse_and_write(x):
    refuse(x)
    x[1] = 7


def test_an_error_in_a_piece_ends_its_caller_too():
    x = np.zeros(2)
    refuse_and_write(x)
    assert x[1] == 7
    x[:] = 1, 0
    with pytest.raises(ValueError, match="refused"):
        refuse_and_write(x)
    assert x[1] == 0


def test_a_kernel_must_ask_for_its_thread():
    with pytest.raises(TypeError, match="the last arguments of whole must be thread and threads"):

        @on_threads
        def whole(x, threads):
            pass
