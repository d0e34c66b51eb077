"""What --help begins and ends with, of every script: lines that a terminal of 80 columns shows as they are."""

import ast

import pytest
from launch import FOLDER

SCRIPTS = [path for path in sorted(FOLDER.glob("*.py")) if "__main__" in path.read_text()]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_first_lines_of_a_script_fit_the_terminal(path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert [line for line in docstring.splitlines() if len(line) > 80] == []
