"""`framebank pretrain --workers N`: the same on several processes, see `training/workers.py`."""

from dataclasses import dataclass
from pathlib import Path

import torch

from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.pretraining.session import PretrainResult, pretrain, samples_by_kind
from finetune.omnivl.origin import Origin
from finetune.tuning.place import Place
from storage import BankError
from training.cluster import connect
from training.interrupt import StopRequest
from training.losses import Diverged, Watch
from training.post import Messenger
from training.run import RunDirectory
from training.session import Part
from training.team import Crew, Team
from training.workers import gpus_each, on_workers
from video import VideoError


def pretrain_on_workers(
    config: PretrainConfig, origin: Origin, directory: RunDirectory, place: Place, watch: Watch | None
) -> PretrainResult:
    """As `decoders.omnivl.pretraining.session.pretrain`, on the workers that `place` asks for.

    Raises WorkersFailed where they died too often, or found no room on the cluster.
    """
    connect()
    crew = Crew(workers=place.workers, gpus_per_worker=place.gpus_per_worker)
    part = _TakePart(config=config, origin=origin, run=directory.path, place=place)

    def show(_: int, done: int, values: dict[str, float]) -> None:
        if watch is not None:
            watch(done, values)

    return on_workers(
        part,
        crew=crew,
        gpus=gpus_each(crew, place.device),
        run=directory.path,
        watch=show,
        hopeless=(ValueError, OSError, BankError, VideoError, Diverged),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _TakePart:
    """What each worker does."""

    config: PretrainConfig
    origin: Origin
    run: Path
    place: Place

    def __call__(self, team: Team, device: torch.device, messenger: Messenger | None) -> PretrainResult:
        part = Part(
            device=device,
            stop=StopRequest() if messenger is None else messenger.stop,
            team=team,
            watch=None if messenger is None else messenger.watch(0),
            log_to=self.place.log_to,
        )
        tier = self.origin.open(self.config, device, self.place, self.run)
        samples = samples_by_kind(tier, self.config)
        return pretrain(self.config, tier, samples, RunDirectory.read(self.run), part)
