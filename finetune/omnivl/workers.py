"""`framebank pretrain --workers N`: the same on several processes."""

from dataclasses import dataclass
from pathlib import Path

import torch

from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.pretraining.session import PretrainResult, pretrain, samples_by_kind
from finetune.omnivl.origin import Origin
from finetune.place import Place
from finetune.workers import told
from training.post import Messenger
from training.run import RunDirectory
from training.session import Part
from training.team import Team


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainOnWorker:
    """As `decoders.omnivl.pretraining.session.pretrain`, what each worker does."""

    config: PretrainConfig
    origin: Origin
    run: Path
    place: Place

    def __call__(self, team: Team, device: torch.device, messenger: Messenger | None) -> PretrainResult:
        tier = self.origin.open(self.config, device, self.place, self.run)
        samples = samples_by_kind(tier, self.config)
        part = Part(**told(self.place, team, device, messenger))
        return pretrain(self.config, tier, samples, RunDirectory.read(self.run), part)
