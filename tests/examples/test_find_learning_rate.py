"""examples/find_learning_rate.py, as a person runs it."""

import re

import launch
import pytest

SCRIPT = "find_learning_rate.py"


def test_help_fits_the_terminal():
    printed = launch.help_of(SCRIPT)
    for option in ("model", "dataset", "optimizer", "start", "end", "steps", "out"):
        assert f"--{option} " in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "lenet55"], "no network is called 'lenet55': did you mean lenet5"),
        (["--model", "resnet50"], "made for images (224, 224, 3): there are none of mnist"),
        (["--out", "nowhere/a.png"], "--out expected a file in a folder that there is"),
    ],
)
def test_nonsense_is_one_sentence_and_leaves_nothing_behind(tmp_path, options, said):
    assert said in launch.failure(SCRIPT, *options, cwd=tmp_path)


@pytest.mark.slow
def test_what_it_suggests_for_lenet5_trains_it(tmp_path):
    """A tenth of the rate at which the loss was least; LeNet-5 is known to learn from 0.01 to 0.1."""
    pytest.importorskip("matplotlib")
    done = launch.run(SCRIPT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "then the loss diverged" in done.stdout
    suggestion = float(re.search(r"suggestion: ([\d.e-]+) ", done.stdout)[1])
    assert 0.003 < suggestion < 0.1
    assert [path.name for path in tmp_path.iterdir()] == ["learning_rate.png"]
