"""The Ray cluster that a run uses: the one at hand, or one of its own on this machine."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import ray


def cluster_gpus() -> int:
    """GPUs of the cluster."""
    return int(ray.cluster_resources().get("GPU", 0))


def cluster_cores() -> int:
    """CPU cores of the cluster, at least 1."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def connect(cpus: int | None = None) -> None:
    """Join the cluster that RAY_ADDRESS or this machine offers, or start one here (of `cpus` cores, or
    all).
    """
    if not ray.is_initialized():
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        logging.getLogger("ray").setLevel(logging.ERROR)
        with warnings.catch_warnings(), native_silence():
            warnings.simplefilter("ignore")
            ray.init(num_cpus=cpus, logging_level=logging.ERROR, include_dashboard=False, log_to_driver=False)


@contextmanager
def native_silence() -> Iterator[None]:
    """Keep what native code says on the error stream from the user: Ray announces its log level there."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
