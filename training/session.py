"""A run taken up by one process: what it has been told, how far the run is, and the log it goes on with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from training.interrupt import StopRequest
from training.losses import Diverged, LossLines, Watch
from training.metrics import MetricsLog
from training.run import DIVERGED, RunDirectory, RunError
from training.services import open_trackers
from training.team import ALONE, Team


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """How one process takes part in a training; none of this is part of what a run is."""

    device: torch.device
    stop: StopRequest
    team: Team = ALONE
    watch: Watch | None = None
    """Told of every logged line."""
    log_to: tuple[str, ...] = ()
    """Services that get the log as well."""


def refuse_diverged(directory: RunDirectory) -> None:
    """Raise Diverged where the run's loss became infinite or NaN in an earlier session."""
    if mark := directory.divergence:
        again = (
            f"{directory.path / DIVERGED} keeps that; without it the run goes on from its newest checkpoint"
        )
        raise Diverged(f"{mark['reason']}. {again}", mark["step"])


def restored(restore: Callable[[Path], int], directory: RunDirectory, team: Team) -> int:
    """The steps that the run has done, its newest checkpoint taken over by `restore`.

    Raises:
        RunError: the processes of the team see different checkpoints.
    """
    newest = directory.checkpoint
    done = 0 if newest is None else restore(newest)
    if not team.same(done):
        raise RunError(
            f"expected all workers to see the newest checkpoint of {directory.path}, found that some see an "
            "older one; put the run on a folder that all machines share"
        )
    return done


def lines_of(directory: RunDirectory, done: int, part: Part) -> LossLines:
    """The log, which the leading process writes."""
    log = None
    if part.team.leads:
        log = MetricsLog(directory.path, done=done, trackers=open_trackers(part.log_to, directory))
    return LossLines(log, part.watch, team=part.team)


def flush(lines: LossLines, directory: RunDirectory, team: Team) -> None:
    """Write the losses that wait. Raises Diverged, which the run directory then keeps."""
    try:
        lines.flush()
    except Diverged as error:
        if team.leads:
            directory.mark_diverged(error.step, str(error))
        raise
