"""`framebank train --workers N`: one run on several processes, through Ray Train.

Ray Train starts the workers, on this machine or on all of a cluster, joins them to one process group (gloo on
CPUs, NCCL on GPUs), and starts all of them anew where one dies; they go on from the newest checkpoint in the
run directory, which is framebank's own. What a worker does (`decoders/part.py`) knows nothing of Ray. The
number of workers is not part of what a run is: it may change with each session (`decoders/team.py` says why
the losses do not).

The command's process has the run directories open, and talks with its workers through `decoders/post.py`.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError, get_context
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2.api.config import LoggingConfig

from decoders.heads import Entry, open_banks, open_runs
from decoders.loop import TrainingStopped
from decoders.part import take_part
from decoders.post import ASK_SECONDS, Messenger, open_post
from decoders.result import TrainResult
from decoders.team import Crew, Team, rows_each
from storage import BankError
from training.cluster import cluster_gpus, connect
from training.interrupt import StopRequest

RETRIES = 3
"""How often workers that die are started anew."""
STARTS = 10
"""How often it is tried to place all workers, a minute each: a cluster may have to rent machines first."""
SCRATCH = "ray"
"""Folder in the run directory for what Ray Train must keep somewhere; removed at the end."""


class WorkersFailed(Exception):
    """Workers died again and again, or could not be started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Orders:
    """What each worker is told."""

    entries: tuple[Entry, ...]
    bank: str
    eval_bank: str | None
    folder: str
    """Where the command was called: relative paths are meant from there."""
    post: Any
    """Handle of the `Post`."""


def train_on_workers(
    entries: Sequence[Entry], *, bank: str | Path, eval_bank: str | Path | None, device: str, crew: Crew
) -> list[TrainResult]:
    """As `decoders.heads.train_together`, on several processes.

    Raises:
        ValueError: as there; a batch that the workers cannot share.
        WorkersFailed: workers died too often, or found no room on the cluster.
    """
    cpu = torch.device("cpu")
    for entry in entries:
        rows_each(entry.config, crew.workers)
    data = open_banks(entries, bank=bank, eval_bank=eval_bank, device=cpu)
    connect()
    gpus = _gpus_each(crew, device)
    session = {"bank": str(bank), "eval_bank": str(eval_bank or bank), "device": "cuda" if gpus else "cpu"}
    with ExitStack() as stack:
        stack.enter_context(open_runs(entries, data, session | {"workers": crew.workers}))
        scratch = stack.enter_context(_scratch(entries[0].run))
        stop = stack.enter_context(StopRequest())
        orders = Orders(
            entries=tuple(replace(entry, watch=None) for entry in entries),
            bank=str(bank),
            eval_bank=None if eval_bank is None else str(eval_bank),
            folder=os.getcwd(),
            post=open_post(),
        )
        fit = _in_a_thread(_trainer(orders, crew.workers, gpus, scratch).fit)
        return _attend(fit, orders.post, entries, stop)


def _gpus_each(crew: Crew, device: str) -> int:
    """GPUs of a worker."""
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


def _attend(fit: "Future[Any]", post: Any, entries: Sequence[Entry], stop: StopRequest) -> list[TrainResult]:
    """Show what the workers log until they are done, and pass on a request to stop; their results."""
    while True:
        over = fit.done()
        for head, done, values in ray.get(post.collect.remote(stop.requested)):
            watch = entries[head].watch
            if watch is not None:
                watch(done, values)
        if over:
            break
        time.sleep(ASK_SECONDS)
    error: Any = ray.get(post.error.remote())
    if error is not None:
        raise error
    if failed := fit.exception():
        raise WorkersFailed(_why(failed)) from failed
    answer = fit.result().return_value
    if isinstance(answer, str):
        raise TrainingStopped(answer)
    return answer


def _why(failed: BaseException) -> str:
    """What became of the workers, as a message."""
    last = str(failed).strip().splitlines()[-1]
    return (
        f"the workers died, or did not start, more than {RETRIES} times; the last time: {last}. Checkpoints "
        "are kept; run the same command to go on"
    )


def work(orders: Orders) -> list[TrainResult] | str:
    """What each worker does. The results, or how to go on where it was asked to stop."""
    if ray.get(orders.post.error.remote()):  # another try, which would end as the first
        return []
    if os.path.isdir(orders.folder):
        os.chdir(orders.folder)
    context = get_context()
    team = Team(rank=context.get_world_rank(), size=context.get_world_size())
    if get_device().type == "cpu":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // context.get_local_world_size()))
    try:
        return _take_part(orders, team)
    except TrainingStopped as stopped:
        return str(stopped)
    except (ValueError, BankError, OSError) as error:
        ray.get(orders.post.give_up.remote(error))
        raise


def _take_part(orders: Orders, team: Team) -> list[TrainResult]:
    take = partial(take_part, banks=(orders.bank, orders.eval_bank), device=get_device(), team=team)
    if not team.leads:
        return take(orders.entries, stop=StopRequest())
    with Messenger(orders.post) as messenger:
        entries = [replace(entry, watch=messenger.watch(i)) for i, entry in enumerate(orders.entries)]
        return take(entries, stop=messenger.stop)
