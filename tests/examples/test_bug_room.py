"""The bug room, as a person uses it."""

import subprocess
import sys

import launch
import pytest
from launch import FOLDER, run

from minicnn.study.bug_room import BUGS


def prompt(*options, typed):
    """What stands on the screen after these lines were typed, and the prompt was left."""
    command = [sys.executable, str(FOLDER / "bug_room.py"), *options]
    done = subprocess.run(command, input=typed, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def words(text):
    return " ".join(text.split())


def test_the_list_tells_the_complaints_and_no_more(tmp_path):
    said = run("bug_room.py", "--list", cwd=tmp_path).stdout
    assert all(bug.complaint in words(said) and bug.title not in said for bug in BUGS)
    assert said.startswith(" 1. ")
    assert max(map(len, said.splitlines())) <= 80


def test_the_solution_tells_the_place_and_shows_the_check(tmp_path):
    said = run("bug_room.py", "--bug", 3, "--solve", cwd=tmp_path).stdout
    assert said.startswith("Bug 3: `=` for `+=` where the windows of max pooling overlap\n")
    for part in (BUGS[2].place(), BUGS[2].right, BUGS[2].wrong, "F.max_pool2d(x, 3, stride=2)", "| likely cause:"):
        assert part in words(said)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.title)
def test_every_solution_fits_the_terminal(bug, monkeypatch):
    lines = launch.module("bug_room", monkeypatch).solution(bug).splitlines()
    assert [line for line in lines if len(line) > 80] == []


def test_in_the_prompt_the_bug_is_at_work_until_it_is_solved():
    typed = "right = lambda: bool(mc.gradcheck(lambda a, b: a + b, [normal(4, 3), normal(3)]))\n"
    said = prompt("--bug", "6", typed=typed + "hint()\nhint()\nhint()\nhint()\nright()\nsolve()\nright()\nhint()\n")
    assert BUGS[5].complaint in words(said)
    assert all(hint in words(said) for hint in BUGS[5].hints)
    assert "That was the last hint. solve() tells all." in said
    assert "AssertionError: the gradient of input 1 (b) is wrong" in said
    assert said.count(">>> True") == 1
    assert said.index("Bug 6: ") < said.index(">>> True")


def test_a_bug_drawn_at_random_has_no_name():
    said = words(prompt(typed=""))
    assert sum(bug.complaint in said for bug in BUGS) == 1
    assert "Bug " not in said
    assert not any(bug.title in said for bug in BUGS)


def test_a_script_runs_in_the_engine_with_the_bug(tmp_path):
    script = tmp_path / "experiment.py"
    script.write_text(
        "import minicnn as mc\nfrom minicnn import functional as F\n"
        "if __name__ == '__main__':\n    print(F.softmax(mc.tensor([[1000.0, 0.0]])).numpy())\n"
    )
    assert run("bug_room.py", "--bug", 4, "--script", script, cwd=tmp_path).stdout == "[[nan  0.]]\n"


def test_what_cannot_be_meant_is_refused(tmp_path):
    for options, said in (
        (["--solve"], "say which bug is meant, with --bug N"),
        (["--bug", 11], "argument --bug: invalid choice: 11"),
        (["--bug", 1, "--script", "nowhere.py"], "--script expected a Python file, and there is no nowhere.py"),
    ):
        done = run("bug_room.py", *options, cwd=tmp_path)
        assert done.returncode == 2
        assert said in done.stderr
