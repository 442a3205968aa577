"""What a run reads: the clips to train on and those to evaluate on, and the banks they are read from."""

from dataclasses import dataclass
from typing import Any

import torch

from decoders.clips import LabelledClips, labelled_clips
from decoders.config import TrainConfig
from decoders.dataset import FeatureReader, open_features
from decoders.task import Task, check_bank, pose_task
from storage import Bank


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The clips to evaluate on while training, and the bank they are read from."""

    reader: FeatureReader
    clips: LabelledClips


@dataclass(frozen=True, kw_only=True, slots=True)
class RunData:
    """What a run reads: the clips to train on and, where asked for, those to evaluate on."""

    reader: FeatureReader
    clips: LabelledClips
    held_out: HeldOut | None
    task: Task

    def describe(self) -> dict[str, Any]:
        """The part of the run's identity that depends on the rows: another set of clips is another run."""
        return {"clips": len(self.clips), "digest": self.clips.digest}


def open_data(config: TrainConfig, bank: Bank, eval_bank: Bank, device: torch.device) -> RunData:
    """What a run of `config` reads. Raises ValueError where the banks cannot serve it."""
    task = pose_task(bank, config)
    reader, clips = _read_split(bank, task, config, config.split, device)
    held_out = None
    if config.eval_split:
        check_bank(task, eval_bank, config)
        held_out = HeldOut(*_read_split(eval_bank, task, config, config.eval_split, device))
    drawn = clips.first_views(config.views)
    return RunData(reader=reader, clips=drawn, held_out=held_out, task=task)


def _read_split(
    bank: Bank, task: Task, config: TrainConfig, split: str, device: torch.device
) -> tuple[FeatureReader, LabelledClips]:
    """What is read of a split, and which clips it has."""
    reader = open_features(bank, task, config, device)
    label, classes = config.label, task.classes
    return reader, labelled_clips(bank, split=split, label=label, classes=classes, arrays=reader.arrays)
