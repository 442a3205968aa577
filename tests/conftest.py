"""One thread for torch in every test: with two busy cores a second thread makes it slower, not faster."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Pin torch to one thread for the whole session."""
    torch.set_num_threads(1)
