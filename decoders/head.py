"""One head of a training loop: a decoder with its clips, its log and its run directory.

A head knows how many steps it has done, and that is all there is to know: clips, views and learning rate are
pure functions of it. So a run that goes on from a checkpoint repeats the losses of an uninterrupted run, bit
for bit (same machine, same number of threads), and so does a head beside others those of a run of its own.

Losses stay on the device until a log step: nothing waits for the accelerator in between. Where several
processes train together, they average the losses then, and the one that leads writes logs and checkpoints.
"""

import math
from collections.abc import Callable, Mapping

import torch

from decoders.dataset import Batch
from decoders.evaluate import Exam
from decoders.run_data import RunData
from decoders.team import ALONE, Team
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


class LossLines:
    """Losses that wait on the device, and the log they go to; none where another process writes it."""

    def __init__(self, log: MetricsLog | None, watch: Watch | None, *, team: Team = ALONE) -> None:
        self._log = log
        self._watch = watch
        self._team = team
        self._waiting: list[tuple[int, torch.Tensor, float]] = []

    def add_loss(self, done: int, loss: torch.Tensor, rate: float) -> None:
        self._waiting.append((done, loss, rate))

    def flush(self) -> None:
        """Fetch the losses that wait and write them. Raises Diverged at the first that is no number."""
        waiting, self._waiting = self._waiting, []
        losses = torch.stack([loss for _, loss, _ in waiting]) if waiting else torch.empty(0)
        for (done, _, rate), loss in zip(waiting, self._team.mean(losses).tolist(), strict=True):
            self.write(done, {"loss": loss, "lr": rate})
            if not math.isfinite(loss):
                self.hand_over()
                reason = f"the loss is {loss} at step {done}; lower the rate or warm up, or use bf16"
                raise Diverged(reason, done)
        self.hand_over()

    def write(self, done: int, values: Mapping[str, float]) -> None:
        if self._log is not None:
            self._log.write(done, values)
        if self._watch is not None:
            self._watch(done, values)

    def hand_over(self) -> None:
        """Give everything written so far to the operating system."""
        if self._log is not None:
            self._log.flush()

    def close(self, *, complete: bool) -> None:
        if self._log is not None:
            self._log.close(complete=complete)


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
                if self.trainer.team.leads:
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
        self.lines.hand_over()
        if self.trainer.team.leads:
            save_checkpoint(self.folder, self.trainer.state(self.done), keep=self.config.keep)

    def close(self) -> None:
        """End the log."""
        self.lines.close(complete=self.done == self.goal and self.diverged is None)
