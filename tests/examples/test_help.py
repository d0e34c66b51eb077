"""What --help of every script begins and ends with: lines that a terminal of 80 columns shows as they are. And that a
script which computes has --device."""

import ast

import launch
import pytest
from launch import FOLDER

SCRIPTS = [path for path in sorted(FOLDER.glob("*.py")) if "__main__" in path.read_text()]
WITHOUT_DEVICE = {
    "bug_room.py": "its bugs do not serve arrays on a GPU",
    "check.py": "what it grades is written in NumPy, and it runs without the engine",
    "show_augmentation.py": "transforms change images on the CPU, and no model computes",
}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_the_first_lines_of_a_script_fit_the_terminal(path):
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert [line for line in docstring.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("path", [*SCRIPTS, FOLDER / "exercises" / "check.py"], ids=lambda path: path.name)
def test_every_script_with_a_model_lets_its_user_choose_the_device(path, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(path.parent))
    with pytest.raises(SystemExit, match=r"^0$"):
        launch.run_here(path, "--help", cwd=tmp_path, monkeypatch=monkeypatch)
    assert ("--device {auto,cpu,cuda}" in capsys.readouterr().out) == (path.name not in WITHOUT_DEVICE)
