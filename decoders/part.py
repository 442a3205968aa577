"""What each process of a team does: a part of what `decoders.heads.train_together` does alone."""

import time
from collections.abc import Sequence

import torch

from decoders.heads import Entry, learn, open_banks, open_head
from decoders.result import TrainResult
from training.interrupt import StopRequest
from training.run import RunDirectory
from training.team import Team


def take_part(
    entries: Sequence[Entry],
    *,
    banks: tuple[str, str | None],
    device: torch.device,
    team: Team,
    stop: StopRequest,
) -> list[TrainResult]:
    """As `train_together`, as one process of a team; another one has opened the run directories. `banks` are
    that to train on and, where it is another, that to evaluate on.
    """
    start = time.perf_counter()
    bank, eval_bank = banks
    data = open_banks(entries, bank=bank, eval_bank=eval_bank, device=device)
    heads = [
        open_head(entry, found, RunDirectory.read(entry.run), device, team=team)
        for entry, found in zip(entries, data, strict=True)
    ]
    return learn(heads, stop, start=start, team=team)
