"""The degradation experiment, as a person runs it."""

import json
import re

import pytest
from launch import failure, run

TINY = ("--dataset", "mnist", "--images", 32, "--batch-size", 16, "--epochs", 2)
NETWORKS = ["plain20", "plain56", "resnet20", "resnet56"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([*TINY, "--images", 0], "--images expected a number from 1, got 0"),
        ([*TINY, "--epochs", 0], "--epochs expected a number from 1, got 0"),
        ([*TINY, "--batch-size", 0], "batch_size"),
        ([*TINY, "--lr", "nan"], "lr"),
        (["--dataset", "cifar10", "--data-folder", "nowhere"], "nowhere: CIFAR-10 not found there"),
        (["--resume", "nowhere"], "there is nothing to resume in nowhere"),
    ],
)
def test_nonsense_is_one_sentence_and_leaves_nothing_behind(tmp_path, options, said):
    assert said in failure("degradation.py", *options, cwd=tmp_path)


@pytest.mark.slow
def test_a_run_leaves_its_picture_and_can_go_on(tmp_path):
    """Without a data set named it takes MNIST, where this machine has no CIFAR-10."""
    options = [option for option in TINY if option not in ("--dataset", "mnist")]
    done = run("degradation.py", *options, "--out", "whole", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search("32 images of (mnist|cifar10), 2 epochs, into whole", done.stdout)
    histories = json.loads((tmp_path / "whole" / "history.json").read_text())
    assert list(histories) == NETWORKS
    assert all(len(history["accuracy"]) == len(history["val_accuracy"]) == 2 for history in histories.values())
    assert (tmp_path / "whole" / "errors.png").read_bytes()[:4] == b"\x89PNG"
    table = done.stdout.rpartition("\n\n")[2].splitlines()
    assert [line.split()[0] for line in table] == NETWORKS

    for name in ("resnet56.safetensors", "history.json"):  # as if it had been stopped before the last one's first epoch
        (tmp_path / "whole" / name).unlink()
    done = run("degradation.py", "--resume", "whole", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = json.loads((tmp_path / "whole" / "history.json").read_text())
    for name in NETWORKS:
        assert again[name]["loss"] == histories[name]["loss"]
