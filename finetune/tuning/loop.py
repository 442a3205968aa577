"""The loop of a fine-tuning: steps, and what is due after some of them.

A step that ends an epoch puts the weights into the average, evaluates them and saves. All processes of a team
run this loop, and come to everything that they agree on at the same steps.
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from finetune.decoding import Decoders
from finetune.failures import Failures
from finetune.tuning.batches import ClipStream
from finetune.tuning.data import Material
from finetune.tuning.exam import examine
from finetune.tuning.tuner import Tuner
from training.checkpoint import save_checkpoint
from training.interrupt import StopRequest, TrainingStopped
from training.losses import LossLines
from training.run import RunDirectory
from training.session import flush


@dataclass(slots=True)
class Tuning:
    """A fine-tuning under way."""

    tuner: Tuner
    stream: ClipStream
    held_out: Material | None
    """What it is evaluated on after each epoch."""
    directory: RunDirectory
    lines: LossLines
    done: int
    """Steps so far."""

    @property
    def folder(self) -> Path:
        """The run directory."""
        return self.directory.path

    def run(self, decoders: Decoders, stop: StopRequest) -> None:
        """All steps that are left.

        Raises:
            TrainingStopped: `stop` said so; everything is saved.
            Diverged: a loss is infinite or NaN; the run is marked so.
        """
        steps = range(self.done, self.tuner.steps)
        failures = Failures(self.folder / "failed.jsonl", self.stream.clips)
        with closing(self.stream.batches(steps, decoders, failures)) as batches:
            for step in steps:
                losses = self.tuner.learn(step, next(batches))
                self.done = step + 1
                self.lines.add(self.done, losses, self.tuner.rate(step))
                self._settle(decoders, stopping=self.tuner.team.any(stop.requested))

    def _settle(self, decoders: Decoders, *, stopping: bool) -> None:
        """What is due after a step."""
        config, epoch = self.tuner.config, self._epoch_ended()
        if epoch:
            self.tuner.end_epoch(epoch)
        saving = stopping or bool(epoch) or self.done % config.save_every == 0
        if saving or self.done % config.log_every == 0:
            flush(self.lines, self.directory, self.tuner.team)
        if epoch and self.held_out is not None:
            self._log({"epoch": float(epoch), **examine(self.tuner, self.held_out, decoders)})
        if saving and self.tuner.team.leads:
            self.lines.hand_over()
            save_checkpoint(self.folder, self.tuner.state(self.done), keep=config.keep)
        if stopping and self.done < self.tuner.steps:
            size = self.tuner.team.size
            workers = f" --workers {size}" if size > 1 else ""
            raise TrainingStopped(
                f"stopped after step {self.done} of {self.tuner.steps}; go on with: "
                f"framebank finetune resume --run {self.folder}{workers}"
            )

    def _epoch_ended(self) -> int:
        """The number (from 1) of the last epoch that this step ended, 0 where it ended none."""
        config, clips = self.tuner.config, len(self.stream.clips)
        ended = [
            epoch for epoch in range(1, config.epochs + 1) if config.steps_until(epoch, clips) == self.done
        ]
        return max(ended, default=0)

    def _log(self, values: Mapping[str, float]) -> None:
        self.lines.write(self.done, values)
