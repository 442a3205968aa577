"""What all tests share: one thread for torch (with two busy cores a second makes it slower), one Ray
cluster.
"""

import signal
from collections.abc import Iterator

import pytest
import ray
import torch

from tests.small_extractions import run_here
from training.cluster import connect


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Pin torch to one thread for the whole session."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_works() -> None:
    """A shell's background jobs ignore SIGINT, and so would every process that a test starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One small Ray cluster for all tests that ask for it."""
    connect(cpus=2)
    yield
    ray.shutdown()


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extractions run in this very process, which is many times quicker than starting workers for them."""
    monkeypatch.setattr("pipeline.extract.run_tasks", run_here)
