"""The training loop: one step, what is due after some steps, and nothing that a checkpoint does not hold.

Nothing here has hidden state: clips, views and learning rate are pure functions of the step number, and
dropout draws from a stream seeded by (seed, step). A checkpoint therefore holds weights, optimiser, loss
scaler and step, and a run that goes on from it repeats the losses of an uninterrupted run, bit for bit (same
machine, same number of threads). The price is a reseeding per step, microseconds.

Losses stay on the device until a log step: the loop never waits for the accelerator in between.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from decoders.clips import ClipOrder, LabelledClips
from decoders.config import TrainConfig
from decoders.dataset import Batch, FeatureReader, evaluation_batches, training_batches
from decoders.evaluate import EVAL_ROWS, score
from decoders.evl import EVLDecoder, load_evl_weights
from decoders.precision import autocast
from decoders.task import Task
from training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from training.interrupt import StopRequest
from training.metrics import MetricsLog
from training.optim import learning_rate, make_adamw, set_learning_rate

Watch = Callable[[int, Mapping[str, float]], None]
"""Called with the steps done and the values of each line that enters metrics.jsonl."""


class TrainingStopped(KeyboardInterrupt):
    """Asked to stop by a signal; a checkpoint was saved first."""


class Diverged(ArithmeticError):
    """The loss is no longer a number."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The clips to evaluate on while training, and the bank they are read from."""

    reader: FeatureReader
    clips: LabelledClips


@dataclass(frozen=True, kw_only=True, slots=True)
class RunData:
    """What a run reads: the training order and, where asked for, the evaluation clips."""

    reader: FeatureReader
    order: ClipOrder
    held_out: HeldOut | None
    task: Task

    def describe(self) -> dict[str, Any]:
        """The part of the run's identity that depends on the rows: another set of clips is another run."""
        return {"clips": len(self.order.clips), "digest": self.order.clips.digest}


class Trainer:
    """A decoder, its optimiser and its loss scaler: the state that a checkpoint holds, and one step of it."""

    def __init__(self, config: TrainConfig, model: EVLDecoder, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.model = model.to(device).train()
        self.optimizer = make_adamw(self.model.parameters(), config.optim)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")  # pyright: ignore[reportPrivateImportUsage]

    def step(self, number: int, pieces: Iterator[Batch]) -> torch.Tensor:
        """0-based step `number` over the next `batch_split` pieces; its mean loss, still on the device."""
        set_learning_rate(self.optimizer, learning_rate(number, self.config.steps, self.config.optim))
        self.optimizer.zero_grad(set_to_none=True)
        with seeded(self.device, self.config.seed, number + 1):
            losses = [self._backward(next(pieces)) for _ in range(self.config.batch_split)]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return torch.stack(losses).sum()

    def _backward(self, batch: Batch) -> torch.Tensor:
        with autocast(self.device, self.config.precision):
            logits = self.model(batch.features)
        loss = F.cross_entropy(logits.float(), batch.targets, label_smoothing=self.config.label_smoothing)
        loss = loss / self.config.batch_split
        self.scaler.scale(loss).backward()
        return loss.detach()

    def state(self, done: int) -> dict[str, Any]:
        """What a checkpoint after `done` steps holds, under EVL's names."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss_scaler": self.scaler.state_dict(),
            "next_step": done,
        }

    def restore(self, path: Path) -> int:
        """Take over a checkpoint of the same run; the steps it had done."""
        state = load_checkpoint(path, self.device)
        missing = {"model", "optimizer", "loss_scaler", "next_step"} - state.keys()
        if missing:
            raise CheckpointError(
                f"expected a checkpoint to go on from at {path}, found one without {sorted(missing)}"
            )
        load_evl_weights(self.model, path)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["loss_scaler"])
        return state["next_step"]


class LossLines:
    """Losses that wait on the device, and the log they go to."""

    def __init__(self, log: MetricsLog, watch: Watch | None) -> None:
        self._log = log
        self._watch = watch
        self._waiting: list[tuple[int, torch.Tensor, float]] = []

    def add_loss(self, done: int, loss: torch.Tensor, rate: float) -> None:
        self._waiting.append((done, loss, rate))

    def flush(self) -> None:
        """Fetch the losses that wait and write them. Raises Diverged at the first that is no number."""
        for done, loss, rate in self._waiting:
            self.write(done, {"loss": loss.item(), "lr": rate})
            if not torch.isfinite(loss):
                raise Diverged(
                    f"the loss is {loss.item()} at step {done}; lower the rate or warm up, or use bf16"
                )
        self._waiting.clear()
        self._log.flush()

    def write(self, done: int, values: Mapping[str, float]) -> None:
        self._log.write(done, values)
        if self._watch is not None:
            self._watch(done, values)


class Loop:
    """Steps, and what is due after some of them."""

    def __init__(self, trainer: Trainer, data: RunData, folder: Path, lines: LossLines) -> None:
        self._trainer = trainer
        self._config = trainer.config
        self._data = data
        self._folder = folder
        self._lines = lines

    def run(self, done: int, stop: StopRequest) -> None:
        """All steps from `done` on."""
        config, data = self._config, self._data
        steps = range(done, config.steps)
        batches = training_batches(data.reader, data.order, steps, config.batch_size, config.batch_split)
        with closing(batches):
            for number in steps:
                loss = self._trainer.step(number, batches)
                rate = learning_rate(number, config.steps, config.optim)
                self._lines.add_loss(number + 1, loss, rate)
                self._after(number + 1, stop.requested)
        if not config.steps:
            self._save(0)

    def _after(self, done: int, stopping: bool) -> None:
        config = self._config
        last = done == config.steps
        if last or stopping or done % config.log_every == 0:
            self._lines.flush()
        if self._data.held_out is not None and (last or done % config.eval_every == 0):
            self._evaluate(done, self._data.held_out)
        if last or stopping or done % config.save_every == 0:
            self._save(done)
        if stopping and not last:
            raise TrainingStopped(
                f"stopped after step {done} of {config.steps}; go on with: "
                f"framebank train resume --run {self._folder}"
            )

    def _evaluate(self, done: int, held_out: HeldOut) -> None:
        batches = evaluation_batches(held_out.reader, held_out.clips, EVAL_ROWS)
        scores = score(self._trainer.model, batches, self._data.task.classes, self._config.precision)
        self._lines.flush()
        self._lines.write(done, {"eval_top1": scores["top1"], "eval_top5": scores["top5"]})

    def _save(self, done: int) -> None:
        self._lines.flush()
        save_checkpoint(self._folder, self._trainer.state(done), keep=self._config.keep)


@contextmanager
def seeded(device: torch.device, seed: int, stream: int) -> Iterator[None]:
    """Random numbers inside depend on (seed, stream) alone; the generators outside are left as they were."""
    value = int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0] >> 1)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        # torch.manual_seed would also queue a reseeding, with a stack trace, for a CUDA that is not in use
        torch.default_generator.manual_seed(value)
        if device.type == "cuda":
            torch.cuda.manual_seed(value)
        yield
