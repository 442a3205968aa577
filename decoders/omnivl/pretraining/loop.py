"""The loop of a pre-training: steps of two kinds of batches, and what is due after some of them.

Images and clips are read ahead side by side, each kind by its own stream, and taken as the schedule says. All
processes of a team run this loop, and come to everything that they agree on at the same steps.
"""

from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from decoders.omnivl.pretraining.order import Piece, SampleOrder
from decoders.omnivl.pretraining.tier import Tier
from decoders.omnivl.pretraining.trainer import Pretrainer, Seen
from decoders.omnivl.pretraining.wording import Wording
from decoders.omnivl.schedule import Kind
from training.checkpoint import save_checkpoint
from training.interrupt import StopRequest, TrainingStopped
from training.losses import LossLines
from training.run import RunDirectory
from training.session import flush

Batches = Generator[list[tuple[Piece, Any]], None, None]


@dataclass(slots=True)
class Pretraining:
    """A pre-training under way."""

    trainer: Pretrainer
    tier: Tier
    orders: dict[Kind, SampleOrder]
    wordings: dict[Kind, Wording]
    directory: RunDirectory
    lines: LossLines
    done: int
    """Steps so far."""

    def run(self, stop: StopRequest) -> None:
        """All steps that are left.

        Raises:
            TrainingStopped: `stop` said so; everything is saved.
            Diverged: a loss is infinite or NaN; the run is marked so.
        """
        schedule = self.trainer.config.schedule
        steps = range(self.done, schedule.steps)
        with ExitStack() as stack:
            streams: dict[Kind, Batches] = {
                kind: stack.enter_context(closing(self.tier.batches(order, steps)))
                for kind, order in self.orders.items()
            }
            for step in steps:
                kind = schedule.kind_at(step)
                losses = self.trainer.learn(step, self._seen(kind, next(streams[kind])))
                self.done = step + 1
                self.lines.add(self.done, losses, self.trainer.rate(step))
                self._settle(stopping=self.trainer.team.any(stop.requested))

    def _seen(self, kind: Kind, pieces: list[tuple[Piece, Any]]) -> list[Seen]:
        """The pieces of a step, with their texts."""
        wording, device = self.wordings[kind], self.trainer.device
        return [
            Seen(inputs=inputs, texts=wording.texts(piece.numbers, piece.draws).to(device), draws=piece.draws)
            for piece, inputs in pieces
        ]

    def _settle(self, *, stopping: bool) -> None:
        """What is due after a step."""
        config, last = self.trainer.config, self.done == self.trainer.config.schedule.steps
        saving = stopping or last or self.done % config.save_every == 0
        if saving or self.done % config.log_every == 0:
            flush(self.lines, self.directory, self.trainer.team)
        if saving and self.trainer.team.leads:
            save_checkpoint(self.directory.path, self.trainer.state(self.done), keep=config.keep)
        if stopping and not last:
            size = self.trainer.team.size
            workers = f" --workers {size}" if size > 1 else ""
            raise TrainingStopped(
                f"stopped after step {self.done} of {config.schedule.steps}; go on with: "
                f"framebank pretrain resume --run {self.directory.path}{workers}"
            )
