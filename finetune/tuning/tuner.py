"""CLIP's image tower in training: its weights, optimiser and average, and one step of them.

Open-VCLIP (arXiv 2302.00624) takes two gradients of a batch, at interpolated and at present weights
(`finetune/interpolate.py`), clips their sum, and averages the weights of its epochs. With the regulariser's
weight at 0 this is plain fine-tuning, and CLIP's own weights are not kept.

Nothing here has hidden state. CLIP has no dropout; the share of a step is a function of (seed, step), the
rate one of the step. So a checkpoint holds weights, optimiser, loss scaler, average and step, and a run that
goes on repeats the losses of one that was not interrupted, bit for bit (same machine and threads).

Memory beside the activations, in copies of the weights in fp32: weights, gradients and two of the optimiser;
one of CLIP's own for the regulariser, and one for interpolated weights, which is there only while gradients
are not, in the first pass; one of the average.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from finetune.averaging import RunningAverage
from finetune.interpolate import anchor_of, clip_gradients, draw_share, regularised_gradients
from finetune.tuning.batches import VideoBatch
from finetune.tuning.config import TuneConfig
from finetune.video_clip import VideoCLIP
from training.checkpoint import Stateful, restore_parts
from training.optim import OptimConfig, learning_rate, make_adamw, set_learning_rate
from training.team import ALONE, Team

_AUTOCAST = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Tuner:
    """A model that learns to name clips.

    Args:
        model: with CLIP's own weights, on its device. classes: one row a class, a constant.
        steps, schedule: of the whole run.
    """

    def __init__(
        self,
        config: TuneConfig,
        model: VideoCLIP,
        classes: Float[Tensor, "K E"],
        *,
        steps: int,
        schedule: OptimConfig,
        team: Team = ALONE,
    ) -> None:
        self.config = config
        self.model = model
        self.classes = classes
        self.steps = steps
        self.schedule = schedule
        self.team = team
        self.device = model.logit_scale.device
        self.anchor = anchor_of(model) if config.regulariser.weight else {}
        self.optimizer = make_adamw(model.parameters(), schedule)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")  # pyright: ignore[reportPrivateImportUsage]
        self.average = RunningAverage()
        model.recompute(config.recompute)

    def rate(self, number: int) -> float:
        """The learning rate of 0-based step `number`."""
        return learning_rate(number, self.steps, self.schedule)

    def learn(self, number: int, batch: VideoBatch) -> dict[str, Tensor]:
        """0-based step `number`; its mean losses over this process's clips, still on the device."""
        config = self.config
        set_learning_rate(self.optimizer, self.rate(number))
        self.optimizer.zero_grad(set_to_none=True)
        pieces = batch.pieces(config.batch_split)
        losses = regularised_gradients(
            self.model,
            self.anchor,
            lambda factor: self._backward(pieces, factor),
            share=draw_share(config.regulariser, seed=config.seed, step=number),
            weight=config.regulariser.weight,
        )
        self._step()
        between = {} if losses.interpolated is None else {"loss_interpolated": losses.interpolated}
        return {"loss": losses.current, **between}

    def _step(self) -> None:
        """Clip the sum of both passes, over all processes, and take the step."""
        self.team.average_gradients(self.model.parameters())
        if self.config.clip_norm:
            self.scaler.unscale_(self.optimizer)
            clip_gradients(self.model.parameters(), self.config.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _backward(self, pieces: Sequence[VideoBatch], factor: float) -> Tensor:
        """Gradients of `factor` times the loss, piece by piece; the loss."""
        total = torch.zeros((), device=self.device)
        for piece in pieces:
            loss = self._loss(piece) / len(pieces)
            self.scaler.scale(factor * loss).backward()
            total += loss.detach()
        return total

    def _loss(self, piece: VideoBatch) -> Tensor:
        with self.autocast():
            logits = self.model(self.model.normalised(piece.frames), self.classes)
        return F.cross_entropy(logits.float(), piece.targets.to(self.device))

    def autocast(self) -> torch.autocast:
        """The precision of the passes."""
        dtype = _AUTOCAST[self.config.precision]
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32)

    def tensors(self) -> dict[str, Tensor]:
        """The result so far: the average, or the present weights where there is none."""
        return self.average.mean or {name: p.detach() for name, p in self.model.named_parameters()}

    def end_epoch(self, epoch: int) -> None:
        """Take the weights into the average after `epoch` (from 1)."""
        if 0 < self.config.average_from <= epoch:
            self.average.add({name: p.detach() for name, p in self.model.named_parameters()})

    def state(self, done: int) -> dict[str, Any]:
        """What a checkpoint after `done` steps holds."""
        return {name: part.state_dict() for name, part in self._parts.items()} | {"next_step": done}

    def restore(self, path: Path) -> int:
        """Take over a checkpoint of the same run; the steps it had done. Raises CheckpointError."""
        return restore_parts(path, self._parts, self.device)

    @property
    def _parts(self) -> dict[str, Stateful]:
        """All that has a state."""
        return {
            "model": self.model,
            "optimizer": self.optimizer,
            "loss_scaler": self.scaler,
            "average": self.average,
        }
