"""The README's lines on ONNX do what they say."""

import re
from pathlib import Path

import numpy as np

import minicnn as mc
from minicnn import models

README = Path(__file__).parents[2] / "README.md"


def test_the_lines_of_the_readme(tmp_path, monkeypatch):
    (block,) = [
        block for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if "import_onnx" in block
    ]
    monkeypatch.chdir(tmp_path)
    names = {"mc": mc, "model": models.lenet5()}
    exec(block, names)
    x = mc.tensor(np.random.default_rng(0).random((3, 28, 28, 1), np.float32))
    with mc.no_grad():
        np.testing.assert_allclose(names["again"](x).numpy(), names["model"](x).numpy(), rtol=1e-5, atol=1e-6)
