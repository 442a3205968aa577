"""OmniVL in training: the visual module and the heads, what embeds for the queue, and one step of them.

    loss = UniVLC + matching + language modelling

(arXiv 2209.07526). UniVLC contrasts every sample with the whole batch and a queue of past batches, both
embedded by slowly following copies of the visual module and of the text encoder, which are all that is
copied: a frozen tower is not. Matching asks the alignment decoder of each true pair and of two false ones,
with the text and the visual that look most alike. Captions are generated word by word.

Batches may come in pieces and be shared by processes: each sum is divided by what the whole batch counts, so
gradients are those of the whole. Nothing here has hidden state; a checkpoint holds weights, copies, queue,
optimiser and step, and a run that goes on repeats the losses of one that was not interrupted, bit for bit.

An image's step gives temporal parameters no gradient (None, and not zero: AdamW would still decay them), and
so leaves them as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from decoders.draws import Draws
from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.language.heads import OmniVLHeads
from decoders.omnivl.language.vocabulary import text_mask
from decoders.omnivl.pretraining.matching import matching_loss
from decoders.omnivl.pretraining.momentum import MomentumCopy
from decoders.omnivl.pretraining.negatives import fits, hard_negatives
from decoders.omnivl.pretraining.queue import EmbeddingQueue
from decoders.omnivl.pretraining.univlc import floor, univlc
from decoders.omnivl.pretraining.wording import Texts
from decoders.omnivl.visual import VisualOut
from training.checkpoint import Stateful, restore_parts
from training.optim import learning_rate, make_adamw, set_learning_rate
from training.team import ALONE, Team


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A piece of a step, on the device."""

    inputs: Any
    """What the visual module takes."""
    texts: Texts
    draws: Draws
    """The random numbers of its rows, on the CPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    """What a piece must know of the whole batch, and of what came before."""

    visual: Float[Tensor, "M E"]
    """Keys: the slow copies' embeddings of the whole batch, and the queue's."""
    text: Float[Tensor, "M E"]
    ids: Int64[Tensor, " M"]
    rows: int
    """Samples of the whole batch."""
    pairs: Tensor
    """Pairs that are judged."""
    words: Tensor
    """Words that are to be generated."""


class DualEncoder(nn.Module):
    """Visual module and text encoder together: what the slow copies are of."""

    def __init__(self, visual: nn.Module, text: nn.Module) -> None:
        super().__init__()
        self.visual = visual
        self.text = text

    def forward(
        self, inputs: Any, tokens: Int64[Tensor, "N L"]
    ) -> tuple[Float[Tensor, "N E"], Float[Tensor, "N E"]]:
        """Unit vectors of both."""
        return self.visual(inputs).embedding, self.text(tokens)


class Pretrainer:
    """A visual module and heads that learn together.

    Args:
        visual: from a piece's inputs to VisualOut. heads: on the same device.
    """

    def __init__(
        self, config: PretrainConfig, visual: nn.Module, heads: OmniVLHeads, *, team: Team = ALONE
    ) -> None:
        self.config = config
        self.visual, self.heads = visual.train(), heads.train()
        self.team = team
        self.device = heads.log_temperature.device
        dual = DualEncoder(visual, heads.text)
        self.slow = MomentumCopy(dual, config.objective.momentum)
        self.queue = EmbeddingQueue(config.objective.queue, config.heads.embed).to(self.device)
        self.optimizer = make_adamw(self.parameters(), config.schedule.optim)

    def parameters(self) -> list[nn.Parameter]:
        """All that learns."""
        return [p for module in (self.visual, self.heads) for p in module.parameters() if p.requires_grad]

    def rate(self, number: int) -> float:
        """The learning rate of 0-based step `number`: every stage has a schedule of its own."""
        stage, within = self.config.schedule.stage_at(number)
        return learning_rate(within, stage.steps, stage.optim)

    def learn(self, number: int, pieces: Sequence[Seen]) -> dict[str, Tensor]:
        """0-based step `number`; its losses, this process's part, still on the device. Their means over all
        processes are those of the whole batch; of the contrast, what is above the least there can be.
        """
        set_learning_rate(self.optimizer, self.rate(number))
        self.optimizer.zero_grad(set_to_none=True)
        self.slow.update()
        whole = self._whole(pieces)
        parts = torch.stack([self._backward(piece, whole) for piece in pieces]).sum(dim=0)
        self.team.average_gradients(self.parameters())
        if self.config.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters(), self.config.clip_norm)
        self.optimizer.step()
        rows = slice(whole.rows)
        self.queue.push(whole.visual[rows], whole.text[rows], whole.ids[rows])
        names = ("loss", "contrast", "matching", "generation")
        temperature = self.heads.temperature.detach()
        return dict(zip(names, parts, strict=True)) | {"temperature": temperature}

    @torch.no_grad()
    def _whole(self, pieces: Sequence[Seen]) -> Whole:
        with self._autocast():
            embedded = [self.slow.module(piece.inputs, piece.texts.tokens) for piece in pieces]
        visual, text = (self.team.gather(torch.cat(found).float()) for found in zip(*embedded, strict=True))
        ids = self.team.gather(torch.cat([piece.texts.ids for piece in pieces]))
        keys = self.queue.keys(visual, text, ids)
        counts = torch.stack([self._counts(piece.texts) for piece in pieces]).sum(dim=0)
        pairs, words = self.team.total(counts).clamp(min=1)
        return Whole(visual=keys[0], text=keys[1], ids=keys[2], rows=len(ids), pairs=pairs, words=words)

    def _autocast(self) -> torch.autocast:
        """The precision of the passes."""
        enabled = self.config.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def _counts(self, texts: Texts) -> Float[Tensor, " 2"]:
        """Pairs to be judged and words to be generated of a piece."""
        legal = ~self._taken(texts)
        pairs = len(texts.ids) + legal.any(dim=1).sum() + legal.any(dim=0).sum()
        written = text_mask(texts.tokens, self.config.heads.words.end)[:, 1:]
        return torch.stack([pairs, written[self._captions(texts)].sum()]).float()

    def _captions(self, texts: Texts) -> Bool[Tensor, " N"]:
        """Which samples' texts are learned word by word."""
        every = torch.ones_like(texts.prompts)
        return every if self.config.objective.caption_prompts else ~texts.prompts

    def _taken(self, texts: Texts) -> Bool[Tensor, "N N"]:
        """Where a text (column) is no negative of a visual (row): it fits, or is of another group."""
        rows = torch.arange(len(texts.ids), device=texts.ids.device)
        group = rows // (self.config.objective.negatives_from or len(rows))
        apart = group[:, None] != group
        return apart | fits(texts.ids, texts.classes, texts.prompts, texts.same)

    def _backward(self, piece: Seen, whole: Whole) -> Float[Tensor, " 4"]:
        """Gradients of this piece's share of the loss; the share, and its three parts."""
        objective, zero = self.config.objective, torch.zeros((), device=self.device)
        with self._autocast():
            visual = self.visual(piece.inputs)
            text = self.heads.encode_text(piece.texts.tokens).float()
            matching = self._matching(visual, text, piece) / whole.pairs if objective.matching else zero
            generation = self._generation(visual, piece.texts) / whole.words if objective.generation else zero
        contrast, least = self._contrast(visual.embedding.float(), text, piece.texts.ids, whole)
        loss = contrast + objective.matching * matching + objective.generation * generation
        loss = self.team.size * loss  # gradients are averaged over processes
        loss.backward()
        shares = torch.stack([contrast - least, matching, generation]).detach() * self.team.size
        return torch.cat([loss.detach()[None], shares])

    def _contrast(
        self,
        visual: Float[Tensor, "N E"],
        text: Float[Tensor, "N E"],
        ids: Int64[Tensor, " N"],
        whole: Whole,
    ) -> tuple[Tensor, Tensor]:
        """UniVLC of a piece, both ways, over the samples of the whole batch; the least that it can be."""
        how = {"temperature": self.heads.temperature, "positives": self.config.objective.positives}
        to_text = univlc(visual, whole.text, ids, whole.ids, **how)
        to_visual = univlc(text, whole.visual, ids, whole.ids, **how)
        least = floor(ids, whole.ids, positives=self.config.objective.positives)
        return (to_text + to_visual).sum() / (2 * whole.rows), least.sum() / whole.rows

    def _matching(self, visual: VisualOut, text: Float[Tensor, "N E"], piece: Seen) -> Tensor:
        """The sum of the matching losses of a piece's pairs."""
        with torch.no_grad():
            likeness = visual.embedding @ text.T / self.heads.temperature
            taken = self._taken(piece.texts)
            luck = [piece.draws.uniform(name).to(self.device) for name in ("hard texts", "hard visuals")]
            texts = hard_negatives(likeness, taken, luck[0])
            visuals = hard_negatives(likeness.T, taken.T, luck[1])
        return matching_loss(self.heads, visual, piece.texts.tokens, texts, visuals)[0]

    def _generation(self, visual: VisualOut, texts: Texts) -> Tensor:
        """The sum of the losses of a piece's words. Without a caption the first sample is taken for nothing:
        processes that train together must have gradients of the same parameters.
        """
        chosen = self._captions(texts)
        rows = chosen.nonzero().flatten() if chosen.any() else torch.zeros_like(texts.ids[:1])
        losses, _ = self.heads.caption_loss(
            visual.rows(rows), texts.tokens[rows], smoothing=self.config.objective.smoothing
        )
        return (losses * chosen[rows]).sum()

    def state(self, done: int) -> dict[str, Any]:
        """What a checkpoint after `done` steps holds."""
        return {name: part.state_dict() for name, part in self._parts.items()} | {"next_step": done}

    def restore(self, path: Path) -> int:
        """Take over a checkpoint of the same run; the steps it had done. Raises CheckpointError."""
        return restore_parts(path, self._parts, self.device)

    @property
    def _parts(self) -> dict[str, Stateful]:
        """All that has a state."""
        names = ("visual", "heads", "slow", "queue", "optimizer")
        return {name: getattr(self, name) for name in names}
