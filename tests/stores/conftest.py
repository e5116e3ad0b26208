"""What tests of stores share."""

import gc
import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture
def half_open_sockets() -> Iterator[None]:
    """Drivers leave those of failed connections to the garbage collector: here, and not later in
    a test that has nothing to do with them."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
