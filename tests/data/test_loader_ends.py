"""A program that ends while workers are at work, by Ctrl-C above all: at once, and nothing is left of it."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from minicnn import Trainer, nn, optim
from minicnn import functional as F
from minicnn.data import ArrayDataset, DataLoader
from minicnn.data.prefetch import THREADS

PROGRAM = """
import sys, threading, time
import numpy as np
from minicnn.data import ArrayDataset, DataLoader

class Slow(ArrayDataset):
    def __getitem__(self, index):
        time.sleep({seconds})
        return super().__getitem__(index)

dataset = Slow(np.zeros((1000, 4, 4, 1), np.uint8), np.zeros(1000, np.int64))
loader = DataLoader(dataset, 1, True, lambda image, rng: image, workers=3)
"""


def heed_ctrl_c():
    """A shell's background ignores Ctrl-C, and what tests start there inherits that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(rest, folder, seconds=0.001):
    """A process that runs the program and what follows it, with its temporary files in a folder of its own."""
    text = PROGRAM.format(seconds=seconds) + textwrap.dedent(rest)
    return subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(folder)}, preexec_fn=heed_ctrl_c, start_new_session=True,
    )  # fmt: skip


def processes_of(session):
    """The processes of a session, from /proc, where there is one."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == session:
            found.append(int(stat.parent.name))
    return found


def shared_memory():
    folder = Path("/dev/shm")
    return set(os.listdir(folder)) if folder.is_dir() else set()


@pytest.mark.parametrize(
    ("seconds", "rest"),
    [
        # Ctrl-C while the loop is busy, ...
        (0.001, """
        for x, labels in loader:
            print("begun", flush=True)
            time.sleep(60)
        """),
        # ... while it waits for a batch, ...
        (0.3, """
        print("begun", flush=True)
        for x, labels in loader:
            pass
        """),
        # ... and while it does both many times a second.
        pytest.param(0.0, """
        print("begun", flush=True)
        while True:
            for x, labels in loader:
                pass
        """, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_ctrl_c(seconds, rest, tmp_path):
    before = shared_memory()
    # What is left of the threads is said when Python has ended all that can end.
    process = start("import atexit\natexit.register(lambda: print(threading.active_count()))\n" + textwrap.dedent(rest),
                    tmp_path, seconds)  # fmt: skip
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.05)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert time.monotonic() - begin < 5
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert output.splitlines()[-1] == "1"
    assert not processes_of(process.pid)
    assert not list(tmp_path.iterdir())
    assert shared_memory() <= before


def test_ctrl_c_that_is_caught_leaves_no_thread(tmp_path):
    process = start("""
        try:
            for x, labels in loader:
                print("begun", flush=True)
                time.sleep(60)
        except KeyboardInterrupt:
            print(threading.active_count())
        print(sum(len(labels) for x, labels in loader))
        """, tmp_path)  # fmt: skip
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert output == "1\n1000\n"


def test_a_program_that_ends_while_an_iterator_is_open(tmp_path):
    process = start("""
        iterator = iter(loader)
        next(iterator)
        """, tmp_path)  # fmt: skip
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, "", "")


@pytest.mark.slow
def test_killed(tmp_path):
    """SIGKILL leaves no time for anything."""
    before = shared_memory()
    process = start("""
        for x, labels in loader:
            print("begun", flush=True)
            time.sleep(60)
        """, tmp_path)  # fmt: skip
    assert process.stdout.readline() == "begun\n"
    process.kill()
    process.communicate(timeout=20)
    assert not processes_of(process.pid)
    assert not list(tmp_path.iterdir())
    assert shared_memory() <= before


def test_ctrl_c_in_fit_leaves_no_thread():
    def metric(outputs, labels):
        raise KeyboardInterrupt

    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.1), F.cross_entropy, (metric,))
    dataset = ArrayDataset(np.zeros((40, 2, 2, 1), np.uint8), np.zeros(40, np.int64))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(DataLoader(dataset, 4, workers=2), 1)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(THREADS)]
