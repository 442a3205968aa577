"""The groups of a round as Ray Tune trials, on all machines of a cluster.

Tune schedules the groups, as many at a time as there are cores or GPUs for, and begins one again whose worker
or machine was lost; it goes on from its heads' checkpoints, which lie in the sweep's folder, not with Tune.
Who goes on to the next round is decided by `decoders/sweeps/rounds.py` here as elsewhere, so Tune and a
single machine come to the same curves and the same winner (bit for bit where the machines and their numbers
of threads are alike). Tune's own records go below the sweep's folder and are forgotten with each round.

Ctrl-C ends the workers at once: what they did since their last checkpoints is done again later.
"""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ray import tune

from decoders.heads import HeadsWatch
from decoders.sweeps.config import RayOptions, SweepPlaces
from decoders.sweeps.jobs import Job, JobRunner, absolute, run_job
from training.cluster import connect
from training.interrupt import TrainingStopped
from training.lock import RunBusy

BUSY_SECONDS, PAUSE = 60.0, 1.0
"""How long a group waits for a dead worker's locks, and between two looks; file servers keep them a while."""
REPORT_SECONDS = 2.0
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


class WorkerFailed(RuntimeError):
    """A group of heads failed more often than it may."""


def on_ray(options: RayOptions) -> JobRunner:
    """What does the jobs of a round on the Ray cluster at hand (see `training.cluster.connect`)."""
    return partial(_run, options)


def _run(options: RayOptions, jobs: Sequence[Job], places: SweepPlaces, watch: HeadsWatch) -> None:
    """Raises TrainingStopped after Ctrl-C, WorkerFailed with the worker's own error."""
    connect()
    shared = _shared(jobs, places)
    storage = Path(shared.folder) / "tune"
    shutil.rmtree(storage, ignore_errors=True)
    trainable = tune.with_parameters(
        train_group, jobs=[job.to_json() for job in jobs], places=asdict(shared), threads=options.ray_cpus
    )
    resources = {"cpu": options.ray_cpus, "gpu": options.ray_gpus}
    run_config = tune.RunConfig(
        name="round",
        storage_path=str(storage),
        failure_config=tune.FailureConfig(max_failures=options.ray_retries),
        callbacks=[_Listener(watch)],
        verbose=0,
    )
    with _environment(QUIET), _signals_kept():
        grid = tune.Tuner(
            tune.with_resources(trainable, resources),
            param_space={"number": tune.grid_search(list(range(len(jobs))))},
            run_config=run_config,
        ).fit()
    if grid.errors:
        raise WorkerFailed(
            f"a group of heads failed {options.ray_retries + 1} times: {grid.errors[0]}\nWhat was saved is "
            "kept; run the same command to go on"
        )
    if grid.num_terminated < len(jobs):
        raise TrainingStopped("stopped between two reports")


def train_group(
    config: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]], places: Mapping[str, Any], threads: int
) -> None:
    """One Tune trial: the heads of a job, as `run_job` trains them anywhere."""
    torch.set_num_threads(threads)
    job = Job.from_json(jobs[config["number"]])
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            run_job(job, SweepPlaces(**places), _reporter())
            return
        except RunBusy:
            if time.monotonic() > until:
                raise
        time.sleep(PAUSE)


def _reporter() -> HeadsWatch:
    """Tells Tune of evaluations, and now and then of other lines: each report is a round trip."""
    told = time.monotonic()

    def report(name: str, done: int, values: Mapping[str, float]) -> None:
        nonlocal told
        if "eval_top1" in values or time.monotonic() - told >= REPORT_SECONDS:
            told = time.monotonic()
            tune.report({"trial": name, "steps_done": done, "values": dict(values)})  # `done` would end it

    return report


class _Listener(tune.Callback):
    """Hands on what trials report."""

    def __init__(self, watch: HeadsWatch) -> None:
        self._watch: HeadsWatch = watch

    def __getstate__(self) -> dict[str, Any]:
        """Tune writes itself down, to be restored; nobody restores it here, and a display cannot be."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "trial" in result:
            self._watch(result["trial"], result["steps_done"], result["values"])


def _shared(jobs: Sequence[Job], places: SweepPlaces) -> SweepPlaces:
    """The same places for workers that run in other folders. Raises ValueError where a config names a file
    by a path that only means something here.
    """
    for name, config in [item for job in jobs for item in job.heads.items()]:
        if config.init != absolute(config.init):
            raise ValueError(
                f"expected an absolute path for --init with --ray, found {config.init!r} in {name}; workers "
                f"run in other folders. Begin the sweep again with {absolute(config.init)}"
            )
    own = {name: absolute(getattr(places, name)) for name in ("bank", "folder", "eval_bank", "test_bank")}
    return replace(places, **own)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """What a signal does here is the same afterwards: Tune takes them over, and does not give them back."""
    if threading.current_thread() is not threading.main_thread():  # nor does Tune take them there
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that Tune reads, set for as long as it runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
