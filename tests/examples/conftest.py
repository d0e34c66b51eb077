"""What tests of the examples share."""

import launch
import pytest


@pytest.fixture
def printed_by(monkeypatch, capsys, tmp_path):
    """printed_by(script, *options): what it prints, in an empty folder and in this process."""

    def call(script, *options):
        launch.run_here(script, *options, cwd=tmp_path, monkeypatch=monkeypatch)
        return capsys.readouterr().out

    return call


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
