"""A pre-trained model that learns to answer questions about images and clips: what a step takes and changes.

A question's states after the alignment decoder, with a look at the tokens, are what the generation decoder
learns to write the answer from; visual module and both decoders learn, the text encoder and the matching head
have no part in it and stay as they are. A batch is of one kind; kinds take turns by how many questions each
has.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor, nn

from decoders.omnivl.model import OmniVLModel, load_part
from decoders.omnivl.questions.answering import Asked
from decoders.omnivl.schedule import KINDS, Kind
from storage import RowOrder
from training.checkpoint import CheckpointError, load_checkpoint
from training.optim import OptimConfig, learning_rate, make_adamw, set_learning_rate


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerConfig:
    """A training on questions; what is not set here is as in the pre-training."""

    steps: int = 5000
    """Steps in all."""
    batch: int = 64
    """Questions a step."""
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(lr=3e-5, weight_decay=0.05, decay_vectors=False, warmup_steps=200)
    )
    """BLIP's fine-tuning takes 2e-5 from a much longer pre-training."""
    smoothing: float = 0.0
    """Label smoothing of answers."""
    clip_norm: float = 1.0
    """Largest norm of all gradients together; 0 leaves them."""
    seed: int = 0
    """Of order and draws."""
    log_every: int = 20
    """Steps between two writes of the log."""
    save_every: int = 500
    """Steps between two checkpoints."""
    keep: int = 2
    """Checkpoints that stay."""

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.log_every, self.save_every, self.keep) < 1:
            raise ValueError(f"expected steps, batch, log_every, save_every and keep from 1, found {self}")
        if not 0 <= self.smoothing < 1 or self.clip_norm < 0:
            raise ValueError(f"expected smoothing within [0, 1) and clip_norm from 0, found {self}")


class QuestionOrder:
    """Which questions a step takes: all of one kind, each once an epoch of its kind."""

    def __init__(self, asked: Asked, config: AnswerConfig) -> None:
        places: dict[Kind, NDArray[np.int64]] = {
            kind: np.array([n for n, item in enumerate(asked.items) if item.kind == kind], np.int64)
            for kind in KINDS
        }
        self.counts: dict[Kind, int] = {kind: len(found) for kind, found in places.items()}
        self.size = config.batch
        self._orders = {kind: RowOrder(found, config.seed) for kind, found in places.items() if len(found)}

    def kind_at(self, step: int) -> Kind:
        """Of the batch of a 0-based step."""
        return "video" if self._videos(step + 1) > self._videos(step) else "image"

    def numbers(self, step: int) -> NDArray[np.int64]:
        """The questions of a step."""
        kind, videos = self.kind_at(step), self._videos(step)
        return self._orders[kind].batch(videos if kind == "video" else step - videos, self.size)

    def _videos(self, step: int) -> int:
        """Batches of clips before a step."""
        return step * self.counts["video"] // sum(self.counts.values())


class AnswerTrainer:
    """A model that learns to answer, and one step of that."""

    def __init__(self, model: OmniVLModel, config: AnswerConfig) -> None:
        self.model, self.config = model, config
        self.modules: dict[str, nn.Module] = {"visual": model.visual, "heads": model.heads}
        for module in self.modules.values():
            module.requires_grad_(True).train()
        self.optimizer = make_adamw(self.parameters(), config.optim)

    def parameters(self) -> list[nn.Parameter]:
        """All that may learn; what has no part in answers gets no gradient."""
        return [one for module in self.modules.values() for one in module.parameters()]

    def rate(self, step: int) -> float:
        """The learning rate of a 0-based step."""
        return learning_rate(step, self.config.steps, self.config.optim)

    def learn(
        self,
        step: int,
        features: Sequence[Float[Tensor, "N T L C"]],
        questions: Int64[Tensor, "N Q"],
        answers: Int64[Tensor, "N A"],
    ) -> dict[str, Tensor]:
        """0-based step; its loss a token, still on the device."""
        set_learning_rate(self.optimizer, self.rate(step))
        self.optimizer.zero_grad(set_to_none=True)
        heads = self.model.heads
        memory = heads.ask(self.model.visual(features), questions)
        losses, counts = heads.answer_loss(memory, answers, smoothing=self.config.smoothing)
        loss = losses.sum() / counts.sum()
        loss.backward()
        if self.config.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters(), self.config.clip_norm)
        self.optimizer.step()
        return {"loss": loss.detach()}

    def state(self, done: int) -> dict[str, Any]:
        """What a checkpoint after `done` steps holds."""
        states = {name: module.state_dict() for name, module in self.modules.items()}
        return states | {"optimizer": self.optimizer.state_dict(), "next_step": done}

    def restore(self, path: Path) -> int:
        """Take over a checkpoint of the same run; the steps it had done. Raises CheckpointError."""
        state = load_checkpoint(path, self.model.device)
        for name, module in self.modules.items():
            load_part(module, state, name, path)
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except (KeyError, ValueError) as error:
            raise CheckpointError(
                f"expected a checkpoint of a training on questions at {path}, found another ({error}); put "
                "back the run's own"
            ) from error
        return state["next_step"]
