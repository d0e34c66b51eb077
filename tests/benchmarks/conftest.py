"""The folder of the benchmarks on the path, and its parts as fixtures."""

import sys

import pytest
from scripts import FOLDER


@pytest.fixture(scope="session", autouse=True)
def _on_the_path():
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


@pytest.fixture
def harness():
    import harness

    return harness


@pytest.fixture
def report():
    import report

    return report
