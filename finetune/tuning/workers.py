"""`framebank finetune --workers N`: the same on several processes."""

from dataclasses import dataclass
from pathlib import Path

import torch

from finetune.place import Place
from finetune.tuning.config import TuneConfig
from finetune.tuning.data import Sources
from finetune.tuning.session import TunePart, TuneResult, clip_of, materials_of, tune
from finetune.workers import told
from training.post import Messenger
from training.run import RunDirectory
from training.team import Team


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneOnWorker:
    """As `tune`, what each worker does."""

    config: TuneConfig
    sources: Sources
    run: Path
    place: Place

    def __call__(self, team: Team, device: torch.device, messenger: Messenger | None) -> TuneResult:
        said = told(self.place, team, device, messenger)
        part = TunePart(decode_processes=self.place.decode_processes, **said)
        materials = materials_of(self.config, self.sources)
        return tune(self.config, clip_of(self.config), materials, RunDirectory.read(self.run), part)
