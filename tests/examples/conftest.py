"""What tests of the examples share."""

import fake_cupy
import launch
import pytest

from minicnn import nn


@pytest.fixture
def printed_by(monkeypatch, capsys, tmp_path):
    """printed_by(script, *options): what it prints, in an empty folder and in this process."""

    def call(script, *options):
        launch.run_here(script, *options, cwd=tmp_path, monkeypatch=monkeypatch)
        return capsys.readouterr().out

    return call


@pytest.fixture
def devices(monkeypatch):
    """On a machine with a GPU, as far as scripts can see: the devices on which Modules have computed."""
    fake_cupy.installed(monkeypatch)
    found = set()
    with nn.observe(lambda module, inputs, output: found.add(output.device)):
        yield found


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """A folder of 24 drawn cats and dogs."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        drawn = launch.module("drawn_pets", monkeypatch)
        return drawn.draw_folder(tmp_path_factory.mktemp("photos") / "pets", 24, seed=0)


@pytest.fixture
def folders(monkeypatch):
    """examples/folders.py."""
    return launch.module("folders", monkeypatch)
