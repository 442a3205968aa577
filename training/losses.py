"""The losses of a run, from the device to its log.

They stay on the device until a log step: nothing waits for the accelerator in between. Where several
processes train together, they average the losses then, and the one that leads writes logs and checkpoints.
"""

import math
from collections.abc import Callable, Mapping

import torch

from training.metrics import MetricsLog
from training.team import ALONE, Team

Watch = Callable[[int, Mapping[str, float]], None]
"""Called with the steps done and the values of each line that enters metrics.jsonl."""


class Diverged(ArithmeticError):
    """The loss is no longer a number.

    Attributes:
        step: the step after which it was not.
    """

    def __init__(self, reason: str, step: int) -> None:
        super().__init__(reason, step)  # so that it survives the way from a worker
        self.step = step

    def __str__(self) -> str:
        return self.args[0]


class LossLines:
    """Losses that wait on the device, and the log they go to; none where another process writes it."""

    def __init__(self, log: MetricsLog | None, watch: Watch | None, *, team: Team = ALONE) -> None:
        self._log = log
        self._watch = watch
        self._team = team
        self._waiting: list[tuple[int, dict[str, torch.Tensor], float]] = []

    def add(self, done: int, losses: Mapping[str, torch.Tensor], rate: float) -> None:
        """Take in what step number `done` measured, under the same names every time, and its rate."""
        self._waiting.append((done, dict(losses), rate))

    def flush(self) -> None:
        """Fetch the losses that wait and write them. Raises Diverged at the first that is no number."""
        waiting, self._waiting = self._waiting, []
        found = [torch.stack(list(losses.values())) for _, losses, _ in waiting]
        means = self._team.mean(torch.stack(found)).tolist() if found else []
        for (done, losses, rate), values in zip(waiting, means, strict=True):
            self.write(done, {**dict(zip(losses, values, strict=True)), "lr": rate})
            if not all(map(math.isfinite, values)):
                self.hand_over()
                odd = next(value for value in values if not math.isfinite(value))
                reason = f"the loss is {odd} at step {done}; lower the rate or warm up, or use bf16"
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
