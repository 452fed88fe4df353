"""What every test file shares."""

import pytest
import torch
from jaxtyping import config

torch.set_num_threads(1)  # small operations gain nothing from a second thread, and tests run beside each other


@pytest.fixture
def unchecked():
    """Without the type checks of the tests, which see wrong shapes first: as a user runs the library."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
