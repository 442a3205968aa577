"""One function on several processes, through Ray Train.

Ray Train starts the workers, on this machine or on all of a cluster, joins them to one process group (gloo on
CPUs, NCCL on GPUs), and starts all of them anew where one dies; what they do must then go on by itself, from
a checkpoint of their own. The number of workers is not part of what a run is: it may change with each session
(`training/team.py` says why the losses do not).

The command's process minds the signals, and talks with its workers through `training/post.py`.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError, get_context
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2.api.config import LoggingConfig

from training.cluster import cluster_gpus
from training.interrupt import StopRequest, TrainingStopped
from training.post import ASK_SECONDS, Messenger, open_post
from training.team import Crew, Team

RETRIES = 3
"""How often workers that die are started anew."""
STARTS = 10
"""How often it is tried to place all workers, a minute each: a cluster may have to rent machines first."""
SCRATCH = "ray"
"""Folder in the run directory for what Ray Train must keep somewhere; removed at the end."""

Part = Callable[[Team, torch.device, Messenger | None], Any]
"""What each worker does; the one that leads is given a messenger, and its answer is that of all."""
Lines = Callable[[int, int, dict[str, float]], None]
"""Called with the number of a run, its steps done and the values of a line of its log."""


class WorkersFailed(Exception):
    """Workers died again and again, or could not be started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Orders:
    """What each worker is told."""

    part: Part
    folder: str
    """Where the command was called: relative paths are meant from there."""
    post: Any
    """Handle of the `Post`."""
    hopeless: tuple[type[Exception], ...]
    """Errors that another try would meet again."""


def on_workers(
    part: Part,
    *,
    crew: Crew,
    gpus: int,
    run: Path,
    watch: Lines,
    hopeless: tuple[type[Exception], ...] = (ValueError, OSError),
) -> Any:
    """Have each worker of a crew do its part; the answer of the one that leads.

    Args:
        part: is pickled. gpus: of each worker, see `gpus_each`. run: run directory, with room for scratch.
        watch: told of every line that the leading worker hands to its messenger.
        hopeless: errors that end it at once.

    Raises:
        TrainingStopped: a worker did, after a signal to this process or to itself.
        WorkersFailed: workers died too often, or found no room on the cluster.
        Exception: a hopeless one, as a worker raised it.
    """
    post = open_post()
    orders = Orders(part=part, folder=os.getcwd(), post=post, hopeless=hopeless)
    with _scratch(run) as scratch, StopRequest() as stop:
        fit = _in_a_thread(_trainer(orders, crew.workers, gpus, scratch).fit)
        return _attend(fit, post, watch, stop)


def gpus_each(crew: Crew, device: str) -> int:
    """GPUs of a worker of a crew, on the cluster that was joined."""
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"expected auto, cpu or cuda as device of workers, found {device!r}")
    if crew.gpus_per_worker is not None:
        if device != "auto" and bool(crew.gpus_per_worker) != (device == "cuda"):
            raise ValueError(
                f"expected --gpus-per-worker and --device to agree, found {crew.gpus_per_worker} and {device}"
            )
        return crew.gpus_per_worker
    if device == "cuda" and cluster_gpus() < crew.workers:
        raise ValueError(
            f"expected 1 GPUs for each of {crew.workers} workers, found {cluster_gpus()} on the cluster; "
            "take fewer workers, or say --gpus-per-worker 1 where the cluster can grow"
        )
    return int(device == "cuda" or (device == "auto" and cluster_gpus() > 0))


def _trainer(orders: Orders, workers: int, gpus: int, scratch: Path) -> TorchTrainer:
    resources = {"CPU": 1.0} | ({"GPU": float(gpus)} if gpus else {})
    return TorchTrainer(
        partial(work, orders),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus > 0, resources_per_worker=resources),
        # losses, signals and scores of metrics lie on the CPU for a moment, gradients where they are made
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpus else "gloo"),
        run_config=RunConfig(
            name="run",
            storage_path=str(scratch),
            failure_config=FailureConfig(max_failures=RETRIES, controller_failure_limit=STARTS),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )


@contextmanager
def _scratch(run: Path) -> Iterator[Path]:
    """The folder for what Ray Train keeps, empty now and gone in the end."""
    folder = (run / SCRATCH).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in_a_thread(call: Callable[[], Any]) -> "Future[Any]":
    """Call it in a thread that the end of this process does not wait for: the main one minds the signals."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except TrainingFailedError as error:
            future.set_exception(error)
        finally:
            if not future.done():
                future.set_exception(WorkersFailed("Ray ended before the workers did"))

    threading.Thread(target=run, name="framebank-workers", daemon=True).start()
    return future


def _attend(fit: "Future[Any]", post: Any, watch: Lines, stop: StopRequest) -> Any:
    """Show what the workers log until they are done, and pass on a request to stop; their answer."""
    while True:
        over = fit.done()
        for line in ray.get(post.collect.remote(stop.requested)):
            watch(*line)
        if over:
            break
        time.sleep(ASK_SECONDS)
    error: Any = ray.get(post.error.remote())
    if error is not None:
        raise error
    if failed := fit.exception():
        raise WorkersFailed(_why(failed)) from failed
    answer = fit.result().return_value
    if isinstance(answer, TrainingStopped):
        raise answer
    return answer


def _why(failed: BaseException) -> str:
    """What became of the workers, as a message."""
    last = str(failed).strip().splitlines()[-1]
    return (
        f"the workers died, or did not start, more than {RETRIES} times; the last time: {last}. Checkpoints "
        "are kept; run the same command to go on"
    )


def work(orders: Orders) -> Any:
    """What each worker does. Its answer, or how to go on where it was asked to stop."""
    if ray.get(orders.post.error.remote()):  # another try, which would end as the first
        return None
    if os.path.isdir(orders.folder):
        os.chdir(orders.folder)
    context, device = get_context(), get_device()
    team = Team(rank=context.get_world_rank(), size=context.get_world_size())
    if device.type == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // context.get_local_world_size()))
    try:
        if not team.leads:
            return orders.part(team, device, None)
        with Messenger(orders.post) as messenger:
            return orders.part(team, device, messenger)
    except TrainingStopped as stopped:
        return TrainingStopped(str(stopped))
    except orders.hopeless as error:
        ray.get(orders.post.give_up.remote(error))
        raise
