"""Every block of Python in the README and in docs/ runs, and prints what is shown below it.

The blocks of a page share their names, as in one Python session, and write their files into an empty folder. A block
```output directly below a block ```python is what that block prints; in docs/ a block that prints has one.
"""

import contextlib
import io
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sybil import Document, Example
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from minicnn import data, nn

ROOT = Path(__file__).parents[2]
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "```python" in page.read_text()]
run = PythonEvaluator()


def evaluate_code(example: Example) -> None:
    """Run a block, and keep what it prints until the next one."""
    check_nothing_is_left(example.namespace)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run(example)
    example.namespace["_printed"] = (example.line, printed.getvalue().rstrip())


def evaluate_output(example: Example) -> None:
    """Compare what a page shows with what was printed."""
    _, printed = example.namespace.pop("_printed", (0, ""))
    # Sybil takes an indentation that all lines share from a block, and so it counts on neither side.
    assert textwrap.dedent(printed) == textwrap.dedent(example.parsed.rstrip())


def check_nothing_is_left(names: dict[str, Any]) -> None:
    """Fail if a block printed what no block of output has taken."""
    line, printed = names.pop("_printed", (0, ""))
    assert not printed, f"the block on line {line} prints what no block ```output shows:\n{printed}"


PARSERS = (CodeBlockParser("python", evaluate_code), CodeBlockParser("output", evaluate_output))


def check(path: Path) -> None:
    """Run the blocks of a page in order, and compare what they print."""
    document = Document.parse(str(path), *PARSERS)
    for example in document.examples():
        example.evaluate()
    check_nothing_is_left(document.namespace)


@pytest.fixture
def little_mnist(monkeypatch):
    """Pages that train a network on all of MNIST do it here on a thousand digits."""
    part = tuple(data.ArrayDataset(d.images[:1000], d.labels[:1000]) for d in data.mnist())
    monkeypatch.setattr(data, "mnist", lambda: part)


@pytest.mark.parametrize("path", [page for page in PAGES if page.parent == ROOT / "docs"], ids=lambda path: path.name)
def test_the_blocks_of_a_page_in_practice(path, little_mnist, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(path)


@pytest.mark.parametrize("path", [page for page in PAGES if page.parent != ROOT / "docs"], ids=lambda path: path.name)
def test_the_blocks_of_a_chapter(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(path)


def test_the_blocks_of_the_readme(little_mnist, tmp_path, monkeypatch):
    """Its numbers are those of a machine, and not shown; its published weights are not fetched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nn.Module, "load_pretrained", lambda model, source: model)
    photo = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    pytest.importorskip("PIL.Image").fromarray(photo).save("cat.jpg")
    document = Document.parse(str(ROOT / "README.md"), PARSERS[0])
    for example in document.examples():
        example.evaluate()
        example.namespace.pop("_printed")


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```python\nprint(1 + 1)\n```\n\n```output\n3\n```\n", "'2' == '3'"),
        ("```python\nprint(1 + 1)\n```\n", "line 1 prints what no block"),
        ("text\n```python\nprint(1 + 1)\n```\n```python\nx = 1\n```\n", "line 2 prints what no block"),
        ("```python\nx = 1\n```\n```output\n1\n```\n", "'' == '1'"),
        ("```python\nx = 1\n```\n```python\nassert x == 2, 'names are shared'\n```\n", "names are shared"),
    ],
)
def test_a_page_that_says_something_else_fails(page, complaint, tmp_path):
    (tmp_path / "page.md").write_text(page)
    with pytest.raises(AssertionError, match=complaint):
        check(tmp_path / "page.md")
