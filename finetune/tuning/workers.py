"""`framebank finetune --workers N`: the same on several processes, see `training/workers.py`."""

from dataclasses import dataclass
from pathlib import Path

import torch

from finetune.tuning.config import TuneConfig
from finetune.tuning.data import Sources
from finetune.tuning.place import Place
from finetune.tuning.session import TunePart, TuneResult, clip_of, materials_of, tune
from training.cluster import connect
from training.interrupt import StopRequest
from training.losses import Diverged, Watch
from training.post import Messenger
from training.run import RunDirectory
from training.team import Crew, Team
from training.workers import gpus_each, on_workers
from video import VideoError


def tune_on_workers(
    config: TuneConfig, sources: Sources, directory: RunDirectory, place: Place, watch: Watch | None
) -> TuneResult:
    """As `tune`, on the workers that `place` asks for, each with its part of every batch.

    Raises WorkersFailed where they died too often, or found no room on the cluster.
    """
    connect()
    crew = Crew(workers=place.workers, gpus_per_worker=place.gpus_per_worker)
    part = _TakePart(config=config, sources=sources, run=directory.path, place=place)

    def show(_: int, done: int, values: dict[str, float]) -> None:
        if watch is not None:
            watch(done, values)

    return on_workers(
        part,
        crew=crew,
        gpus=gpus_each(crew, place.device),
        run=directory.path,
        watch=show,
        hopeless=(ValueError, OSError, VideoError, Diverged),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _TakePart:
    """What each worker does."""

    config: TuneConfig
    sources: Sources
    run: Path
    place: Place

    def __call__(self, team: Team, device: torch.device, messenger: Messenger | None) -> TuneResult:
        part = TunePart(
            device=device,
            decode_processes=self.place.decode_processes,
            stop=StopRequest() if messenger is None else messenger.stop,
            team=team,
            watch=None if messenger is None else messenger.watch(0),
            log_to=self.place.log_to,
        )
        materials = materials_of(self.config, self.sources)
        return tune(self.config, clip_of(self.config), materials, RunDirectory.read(self.run), part)
