"""One decoder in training: its weights, optimiser and loss scaler, and one step of them.

Nothing here has hidden state: the learning rate is a pure function of the step number, and random numbers are
one of (seed, step, row of the batch), see `decoders/draws.py`. A checkpoint therefore holds weights,
optimiser, loss scaler and step, what else learns in the same process changes nothing, and a batch in pieces
is the same batch, but for the rounding of sums.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from decoders.augment import augmented
from decoders.config import TrainConfig
from decoders.dataset import Batch
from decoders.draws import Draws
from decoders.evl import EVLDecoder, load_evl_weights
from training.checkpoint import CheckpointError, load_checkpoint
from training.optim import learning_rate, make_adamw, set_learning_rate
from training.team import ALONE, Team


class Trainer:
    """A decoder, its optimiser and its loss scaler: the state that a checkpoint holds, and one step of it."""

    def __init__(
        self, config: TrainConfig, model: EVLDecoder, device: torch.device, *, team: Team = ALONE
    ) -> None:
        self.config = config
        self.device = device
        self.team = team
        self.model = model.to(device)
        self.optimizer = make_adamw(self.model.parameters(), config.optim)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")  # pyright: ignore[reportPrivateImportUsage]
        self._losses: list[torch.Tensor] = []

    def learn(self, number: int, piece: int, batch: Batch) -> torch.Tensor | None:
        """Learn from one of the `batch_split` pieces of 0-based step `number`. The last one, of number
        `batch_split - 1`, ends the step: then its mean loss over this process's rows, still on the device.
        """
        config = self.config
        if piece == 0:
            set_learning_rate(self.optimizer, learning_rate(number, config.steps, config.optim))
            self.optimizer.zero_grad(set_to_none=True)
            self._losses.clear()
        self._losses.append(self._backward(batch, self._draws(number, piece)))
        if piece + 1 < config.batch_split:
            return None
        self.team.average_gradients(self.model.parameters())  # with an infinite one all skip the step
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return torch.stack(self._losses).sum()

    def _draws(self, number: int, piece: int) -> Draws:
        """The random numbers of a piece."""
        config = self.config
        ours = self.team.part(config.batch_size)
        size = (ours.stop - ours.start) // config.batch_split
        first = ours.start + piece * size
        rows = slice(first, first + size)
        return Draws(seed=config.seed, step=number, rows=rows, total=config.batch_size, device=self.device)

    def _backward(self, batch: Batch, draws: Draws) -> torch.Tensor:
        config, classes = self.config.augment, self.model.classes
        features, targets = augmented(batch.features, batch.targets, config, draws, classes)
        logits = self.model(features, draws)
        loss = F.cross_entropy(logits, targets, label_smoothing=self.config.label_smoothing)
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
