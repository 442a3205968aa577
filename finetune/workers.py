"""Trainings from videos on several processes, see `training/workers.py`: where, and what each of them is
told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from finetune.place import Place
from storage import BankError
from training.cluster import connect
from training.interrupt import StopRequest
from training.losses import Diverged, Watch
from training.post import Messenger
from training.team import Crew, Team
from training.workers import gpus_each, on_workers
from video import VideoError

Result = TypeVar("Result")
TakePart = Callable[[Team, torch.device, Messenger | None], Result]
"""What each worker does."""


def on_place(part: TakePart[Result], place: Place, run: Path, watch: Watch | None) -> Result:
    """What `part` comes to on the workers that `place` asks for, each with its part of every batch.

    Raises WorkersFailed where they died too often, or found no room on the cluster.
    """
    connect()
    crew = Crew(workers=place.workers, gpus_per_worker=place.gpus_per_worker)

    def show(_: int, done: int, values: dict[str, float]) -> None:
        if watch is not None:
            watch(done, values)

    return on_workers(
        part,
        crew=crew,
        gpus=gpus_each(crew, place.device),
        run=run,
        watch=show,
        hopeless=(ValueError, OSError, BankError, VideoError, Diverged),
    )


def told(place: Place, team: Team, device: torch.device, messenger: Messenger | None) -> dict[str, Any]:
    """The fields of a worker's `training.session.Part`."""
    return {
        "device": device,
        "stop": StopRequest() if messenger is None else messenger.stop,
        "team": team,
        "watch": None if messenger is None else messenger.watch(0),
        "log_to": place.log_to,
    }
