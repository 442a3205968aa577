"""The work of a round: groups of heads, each trained on one read of the bank."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoders.config import TrainConfig
from decoders.heads import HeadsWatch, train_heads
from decoders.sweeps.config import SweepPlaces
from training.interrupt import StopRequest, TrainingStopped


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Heads that train together, and how far."""

    heads: Mapping[str, TrainConfig]
    """Trial's name to its config."""
    until: Mapping[str, int]
    """Trial's name to the steps to do by the end of the round."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a worker on another machine."""
        heads = {name: config.to_json() for name, config in self.heads.items()}
        return {"heads": heads, "until": dict(self.until)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Job":
        """The job that `to_json` turned into plain values."""
        heads = {name: TrainConfig.from_json(config) for name, config in values["heads"].items()}
        return cls(heads=heads, until=values["until"])


JobRunner = Callable[[Sequence[Job], SweepPlaces, HeadsWatch], None]
"""Does all jobs of a round; tells the watch of what is logged, as far as it hears of it."""


def trials_folder(places: SweepPlaces) -> Path:
    """Where the run directories lie."""
    return Path(places.folder) / "trials"


def run_job(job: Job, places: SweepPlaces, watch: HeadsWatch) -> None:
    """Train a job's heads as far as it says, from where their run directories left them."""
    train_heads(
        job.heads,
        bank=places.bank,
        folder=trials_folder(places),
        eval_bank=places.eval_bank or None,
        device=places.device,
        watch=watch,
        until=job.until,
        log_to=places.log_to,
    )


def run_here(jobs: Sequence[Job], places: SweepPlaces, watch: HeadsWatch) -> None:
    """One job after the other, in this process. Raises TrainingStopped after SIGINT or SIGTERM, everything
    saved.
    """
    with StopRequest() as stop:
        for job in jobs:
            run_job(job, places, watch)
            if stop.requested:  # in the very last step, where nothing was left to stop
                raise TrainingStopped("stopped between two jobs")


def absolute(location: str) -> str:
    """The same place for a process in another folder; URLs and empty ones stay."""
    return location if not location or "://" in location else os.path.abspath(location)
