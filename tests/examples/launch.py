"""Running the examples as a person does."""

import importlib
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"


def run(script, *options, cwd):
    """The finished process of examples/<script>, with what it printed."""
    command = [sys.executable, str(FOLDER / script), *map(str, options)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def run_here(script, *options, cwd, monkeypatch):
    """Run examples/<script> in this process: a new one takes a second to begin."""
    monkeypatch.chdir(cwd)
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", [script, *map(str, options)])
    runpy.run_path(str(FOLDER / script), run_name="__main__")


def failure_here(script, *options, cwd, monkeypatch):
    """As `failure`, in this process."""
    with pytest.raises(SystemExit) as ended:
        run_here(script, *options, cwd=cwd, monkeypatch=monkeypatch)
    said = str(ended.value)
    assert said.startswith(f"{script}: ")
    assert "\n" not in said
    assert not list(cwd.rglob("*"))
    return said


def module(name, monkeypatch):
    """examples/<name>.py, imported as the scripts beside it do."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


def help_of(script):
    """What --help prints, which fits a terminal of 80 columns."""
    command, environment = [sys.executable, str(FOLDER / script), "--help"], {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    return done.stdout


def failure(script, *options, cwd):
    """What it says where it should fail: one sentence, and nothing left behind."""
    done = run(script, *options, cwd=cwd)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(f"{script}: ")
    assert not list(cwd.rglob("*"))
    return done.stderr


def heed_ctrl_c():
    """As preexec_fn of a process: a shell's background ignores Ctrl-C, and what tests start there inherits that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
