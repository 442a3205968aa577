"""One head of a training loop: a decoder with its clips, its log and its run directory.

A head knows how many steps it has done, and that is all there is to know: clips, views and learning rate are
pure functions of it. So a run that goes on from a checkpoint repeats the losses of an uninterrupted run, bit
for bit (same machine, same number of threads), and so does a head beside others those of a run of its own.

Losses stay on the device until a log step: nothing waits for the accelerator in between.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from decoders.clips import LabelledClips
from decoders.dataset import Batch, FeatureReader
from decoders.evaluate import Exam
from decoders.task import Task
from decoders.trainer import Trainer
from training.checkpoint import save_checkpoint
from training.metrics import MetricsLog
from training.optim import learning_rate
from training.run import RunDirectory

Watch = Callable[[int, Mapping[str, float]], None]
"""Called with the steps done and the values of each line that enters metrics.jsonl."""


class Diverged(ArithmeticError):
    """The loss is no longer a number.

    Attributes:
        step: the step after which it was not.
    """

    def __init__(self, reason: str, step: int) -> None:
        super().__init__(reason)
        self.step = step


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


class LossLines:
    """Losses that wait on the device, and the log they go to."""

    def __init__(self, log: MetricsLog, watch: Watch | None) -> None:
        self.log = log
        self._watch = watch
        self._waiting: list[tuple[int, torch.Tensor, float]] = []

    def add_loss(self, done: int, loss: torch.Tensor, rate: float) -> None:
        self._waiting.append((done, loss, rate))

    def flush(self) -> None:
        """Fetch the losses that wait and write them. Raises Diverged at the first that is no number."""
        waiting, self._waiting = self._waiting, []
        for done, loss, rate in waiting:
            self.write(done, {"loss": loss.item(), "lr": rate})
            if not torch.isfinite(loss):
                self.log.flush()
                reason = f"the loss is {loss.item()} at step {done}; lower the rate or warm up, or use bf16"
                raise Diverged(reason, done)
        self.log.flush()

    def write(self, done: int, values: Mapping[str, float]) -> None:
        self.log.write(done, values)
        if self._watch is not None:
            self._watch(done, values)


class Head:
    """A decoder that learns, and what is due after some of its steps.

    Attributes:
        done: steps done so far.
        begun: steps done when it was opened.
        goal: after how many it stops for now: all, or fewer where it is asked to.
        diverged: why it learns no more, where it diverged, now or in an earlier session.
    """

    def __init__(
        self, trainer: Trainer, data: RunData, directory: RunDirectory, lines: LossLines, done: int
    ) -> None:
        self.trainer = trainer
        self.config = trainer.config
        self.data = data
        self.directory = directory
        self.folder = directory.path
        self.lines = lines
        self.done = self.begun = done
        self.goal = self.config.steps
        mark = directory.divergence
        self.diverged = Diverged(mark["reason"], mark["step"]) if mark else None

    @property
    def unfinished(self) -> bool:
        """Whether there are steps to do."""
        return self.diverged is None and self.done < self.goal

    def learn(self, piece: int, batch: Batch) -> None:
        """One piece of the next step's batch; the last one ends the step."""
        loss = self.trainer.learn(self.done, piece, batch)
        if loss is not None:
            rate = learning_rate(self.done, self.config.steps, self.config.optim)
            self.done += 1
            self.lines.add_loss(self.done, loss, rate)

    def due(self, every: int) -> bool:
        """Whether what is done every so many steps, and after the last, is due."""
        return self.done == self.goal or self.done % every == 0

    @property
    def exam_due(self) -> bool:
        """Whether it is to be evaluated now."""
        return self.data.held_out is not None and self.due(self.config.eval_every)

    def flush(self, *, stopping: bool) -> None:
        """Write the losses so far if anything is due now. One that is no number ends this head."""
        config = self.config
        if stopping or self.exam_due or self.due(config.log_every) or self.due(config.save_every):
            try:
                self.lines.flush()
            except Diverged as error:
                self.diverged, self.done = error, error.step
                self.directory.mark_diverged(error.step, str(error))

    def exam(self) -> Exam:
        """What to evaluate now."""
        held_out = self.data.held_out
        assert held_out is not None
        return Exam(
            model=self.trainer.model,
            reader=held_out.reader,
            clips=held_out.clips,
            classes=self.data.task.classes,
        )

    def write_scores(self, scores: Mapping[str, float]) -> None:
        """Log an evaluation."""
        self.lines.write(self.done, {"eval_top1": scores["top1"], "eval_top5": scores["top5"]})

    def save(self) -> None:
        """Write a checkpoint, and the log up to it."""
        self.lines.log.flush()
        save_checkpoint(self.folder, self.trainer.state(self.done), keep=self.config.keep)

    def close(self) -> None:
        """End the log."""
        self.lines.log.close(complete=self.done == self.goal and self.diverged is None)
