"""What the site's own extensions make of formulas, docstrings and links, and what they refuse."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def extensions(monkeypatch):
    """The folder from which conf.py imports them."""
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(ROOT / "docs" / "extensions")


def test_every_thing_that_leads_nowhere_is_a_warning(tmp_path):
    (tmp_path / "pages").mkdir()
    autograd = os.path.relpath(ROOT / "minicnn" / "autograd.py", tmp_path / "pages")
    (tmp_path / "pages" / "index.md").write_text(
        "# Page\n\n[a](nowhere.md) [b](#nothing) [c](../kernels/none.py) {py:obj}`minicnn.none` $\\unheardof$\n\n"
        f"[`no_function`]({autograd})\n\n"
        f"```{{literalinclude}} {autograd}\n:pyobject: no_object\n```\n"
    )
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs"]
    done = subprocess.run([*command, tmp_path / "pages", tmp_path / "out"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    for what in (
        "nowhere.md",
        "nothing",
        "../kernels/none.py",
        "minicnn.none",
        "unheardof",
        "no_function",
        "no_object",
    ):
        assert what in done.stderr


def elements(latex: str, tag: str) -> list[ElementTree.Element]:
    from mathml import NAMESPACE, mathml

    return list(ElementTree.fromstring(mathml(latex, "block")).iter(f"{{{NAMESPACE}}}{tag}"))


def test_a_minus_behind_an_operator_is_a_sign():
    for latex, forms in ((r"a = -b", [None, "prefix"]), ("a - b", [None]), ("(a) - b", [None, None, None])):
        assert [part.get("form") for part in elements(latex, "mo")] == forms


def test_a_matrix_has_a_row_of_its_own_with_its_brackets():
    rows = elements(r"x = \begin{bmatrix} 1 \\ 2 \end{bmatrix} w", "mrow")
    assert [[part.tag.rpartition("}")[2] for part in row] for row in rows][1] == ["mo", "mtable", "mo"]


@pytest.mark.parametrize("latex", [r"\unheardof x", "a & b"])
def test_a_formula_that_cannot_be_drawn_is_refused(latex):
    from mathml import mathml

    with pytest.raises(ValueError, match=latex.split()[0].strip("\\")):
        mathml(latex, "inline")


def test_a_docstring_becomes_lists_formulas_and_links():
    from docstrings import as_rst

    text = """Does it: see `F.relu` and `x`.

    x: (N, H, W, C). w, b: two
        arrays; stride: > 0. Result y: (N,); index: as y. Raises ValueError for x_y*.

        y = x * w

        z = y

    In prose a colon is no item: as here.
    Forward:   y = 1
    Backward:  dx = 2
    """
    lines = [line for line in as_rst(text.split("\n"), "minicnn.nothing") if line]
    assert lines == [
        r"Does it: see :py:obj:`F.relu <minicnn.functional.relu>`\  and ``x``\ .",
        "* ``x``: (N, H, W, C).",
        "* ``w, b``: two arrays",
        "* ``stride``: > 0.",
        "* Result ``y``: (N,)",
        "* ``index``: as y.",
        r"Raises ValueError for x\_y\*.",
        ".. code-block:: none",
        "    y = x * w",
        "    z = y",
        "In prose a colon is no item: as here.",
        ".. code-block:: none",
        "    Forward:   y = 1",
        "    Backward:  dx = 2",
    ]
