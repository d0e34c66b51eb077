"""What the tests of the pictures share."""

import pytest

from minicnn import kernels


@pytest.fixture
def plain_kernels():
    """The kernels that need no compiling: which room computes makes no difference to what is drawn of it."""
    with kernels.use("reference"):
        yield
