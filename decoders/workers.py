"""`framebank train --workers N`: heads trained on several processes, see `training/workers.py`.

The command's process has the run directories open; what a worker does (`decoders/part.py`) knows nothing of
Ray. Workers that died go on from the newest checkpoint in each run directory.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from decoders.heads import Entry, open_banks, open_runs
from decoders.loop import rows_each
from decoders.part import take_part
from decoders.result import TrainResult
from storage import BankError
from training.cluster import connect
from training.interrupt import StopRequest
from training.post import Messenger
from training.team import Crew, Team
from training.workers import gpus_each, on_workers


def train_on_workers(
    entries: Sequence[Entry], *, bank: str | Path, eval_bank: str | Path | None, device: str, crew: Crew
) -> list[TrainResult]:
    """As `decoders.heads.train_together`, on several processes.

    Raises:
        ValueError: as there; a batch that the workers cannot share.
        WorkersFailed: workers died too often, or found no room on the cluster.
    """
    for entry in entries:
        rows_each(entry.config, crew.workers)
    data = open_banks(entries, bank=bank, eval_bank=eval_bank, device=torch.device("cpu"))
    connect()
    gpus = gpus_each(crew, device)
    session = {"bank": str(bank), "eval_bank": str(eval_bank or bank), "device": "cuda" if gpus else "cpu"}
    part = _TakePart(
        entries=tuple(replace(entry, watch=None) for entry in entries),
        banks=(str(bank), None if eval_bank is None else str(eval_bank)),
    )

    def watch(head: int, done: int, values: dict[str, float]) -> None:
        tell = entries[head].watch
        if tell is not None:
            tell(done, values)

    with ExitStack() as stack:
        stack.enter_context(open_runs(entries, data, session | {"workers": crew.workers}))
        hopeless = (ValueError, BankError, OSError)
        return on_workers(part, crew=crew, gpus=gpus, run=entries[0].run, watch=watch, hopeless=hopeless)


@dataclass(frozen=True, kw_only=True, slots=True)
class _TakePart:
    """What each worker does."""

    entries: tuple[Entry, ...]
    banks: tuple[str, str | None]

    def __call__(self, team: Team, device: torch.device, messenger: Messenger | None) -> list[TrainResult]:
        take = partial(take_part, banks=self.banks, device=device, team=team)
        if messenger is None:
            return take(self.entries, stop=StopRequest())
        entries = [replace(entry, watch=messenger.watch(i)) for i, entry in enumerate(self.entries)]
        return take(entries, stop=messenger.stop)
