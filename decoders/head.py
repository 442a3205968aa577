"""One head of a training loop: a decoder with its clips, its log and its run directory.

A head knows how many steps it has done, and that is all there is to know: clips, views and learning rate are
pure functions of it. So a run that goes on from a checkpoint repeats the losses of an uninterrupted run, bit
for bit (same machine, same number of threads), and so does a head beside others those of a run of its own.
"""

from collections.abc import Mapping

from decoders.dataset import Batch
from decoders.evaluate import Exam
from decoders.run_data import RunData
from decoders.trainer import Trainer
from training.checkpoint import save_checkpoint
from training.losses import Diverged, LossLines
from training.optim import learning_rate
from training.run import RunDirectory


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
            self.lines.add(self.done, {"loss": loss}, rate)

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
