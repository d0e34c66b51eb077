"""A run that is killed with SIGKILL at any moment and started again ends with the same bits as one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

SCRIPT = Path(__file__).with_name("killed_run.py")
EPOCHS = 3
LONGEST = 0.4  # seconds before a kill: about what a whole run takes


@pytest.fixture(scope="module")
def start():
    """start(folder, optimizer, seconds) runs the script until it is killed; returns how it ended."""
    with subprocess.Popen(
        [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:

        def start(folder, optimizer, seconds=60.0):
            folder.mkdir(exist_ok=True)
            print(folder, optimizer, seconds, file=program.stdin, flush=True)
            return int(program.stdout.readline())

        yield start
        program.stdin.close()


def content(path):
    """The tensors of a checkpoint, bit for bit, and what it says of the run, but for the time it took."""
    with safe_open(path, framework="numpy") as file:
        state = json.loads(file.metadata()["state"])
        tensors = {name: (file.get_tensor(name).dtype, file.get_tensor(name).tobytes()) for name in file.keys()}  # noqa: SIM118
    state["history"].pop("seconds", None)
    del state["under_way"]["seconds"]
    return tensors, state


def epochs_of(log):
    """The lines of a log without the last column, the seconds."""
    return [line.rpartition(",")[0] for line in log.read_text().splitlines()]


def check(start, tmp_path, optimizer, kills):
    """Kill so many times, as often from anew as a run comes to its end before; returns how many hit a write."""
    assert start(tmp_path / "straight", optimizer) == 0
    moments, runs, hits = random.Random(0), 0, 0
    while kills > 0:
        folder, runs = tmp_path / f"killed{runs}", runs + 1
        ended = -signal.SIGKILL
        while ended == -signal.SIGKILL:
            is_done = (folder / "run").exists() and content(folder / "run")[1]["epoch"] == EPOCHS
            ended = start(folder, optimizer, moments.uniform(0, LONGEST) if kills > 0 else 60)
            kills -= ended == -signal.SIGKILL
            hits += any(name.endswith(".part") for name in os.listdir(folder))
        assert ended == 0
        if not is_done:  # then it trained, and first removed what killed writers had left
            assert sorted(os.listdir(folder)) == ["best", "log.csv", "run"]
        for name in ("run", "best"):
            assert content(folder / name) == content(tmp_path / "straight" / name)
        assert epochs_of(folder / "log.csv") == epochs_of(tmp_path / "straight" / "log.csv")
    return hits


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, which Windows cannot")
def test_a_killed_run_ends_with_the_same_bits(start, tmp_path):
    check(start, tmp_path, "adadelta", kills=4)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, which Windows cannot")
@pytest.mark.parametrize("optimizer", ["sgd", "adadelta"])
def test_many_kills_some_of_them_in_the_middle_of_writing(start, tmp_path, optimizer):
    assert check(start, tmp_path, optimizer, kills=60) > 10
