"""What is compiled is kept on disk between runs, and thrown away when any file of the room has changed."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minicnn import device, kernels
from minicnn.kernels.cpu._jit import compiled, on_threads, separate

SOFTMAX = """
import numpy as np
from copied.kernels.cpu import softmax_forward
from copied.kernels.cpu._jit import cache_statistics
print(softmax_forward(np.zeros((1, 4), np.float32))[0, 0], cache_statistics()[0] > 0)
"""

PRODUCT = """
import numpy as np
from copied.kernels.cpu import linear_forward
from copied.kernels.cpu._jit import cache_statistics
print(linear_forward(np.ones((8, 3), np.float32), np.ones((3, 2), np.float32), None, None).sum(), cache_statistics()[0])
"""


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A folder with a copy of the kernels and of what they need of the engine, and an empty cache."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    source = Path(kernels.__file__).parent
    shutil.copytree(source, tmp_path / "copied" / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(device.__file__, tmp_path / "copied")
    return tmp_path


def run(folder: Path, script: str) -> list[str]:
    output = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return output.stdout.split()


def test_an_edit_in_another_file_is_compiled_in(copied):
    assert run(copied, SOFTMAX) == ["0.25", "True"]
    assert run(copied, SOFTMAX) == ["0.25", "False"], "the second run compiled again"
    # exp is called by softmax from another file: make it return 0, so that softmax divides 0 by 0.
    callee = copied / "copied" / "kernels" / "cpu" / "activation.py"
    text = callee.read_text()
    assert text.count("    return (s * r * r + r + np.float32(1)) * power\n") == 1
    callee.write_text(text.replace("(s * r * r + r + np.float32(1))", "(s * r * r + r + np.float32(1)) * 0"))
    assert run(copied, SOFTMAX) == ["nan", "True"]


@pytest.mark.slow
def test_a_kernel_from_disk_finds_the_pieces_that_it_calls_by_address(copied):
    """Those that lie on disk beside it, and those that have been deleted there: these alone are compiled again."""
    result, made = run(copied, PRODUCT)
    assert result == "48.0"
    assert int(made) > 1
    assert run(copied, PRODUCT) == ["48.0", "0"]
    pieces = list((copied / "cache").rglob("blocks.multiply-*"))
    assert pieces
    for piece in pieces:
        piece.unlink()
    assert run(copied, PRODUCT) == ["48.0", "1"]


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
