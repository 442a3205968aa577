"""The texts of a batch: which caption, or which prompt of its class, each sample brings at a step.

Drawn from (seed, step, place in the whole batch), so that they are the same for any number of processes and
pieces. Prompts are as CLIP has them for images and as ActionCLIP has them for videos.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int64
from numpy.typing import NDArray
from torch import Tensor

from decoders.draws import Draws
from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.pretraining.samples import CLASS_IDS, NO_CLASS, Samples

Tokenise = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """The texts of N samples, and what is known of whom else they fit."""

    tokens: Int64[Tensor, "N L"]
    ids: Int64[Tensor, " N"]
    """Equal ids are positives of each other."""
    classes: Int64[Tensor, " N"]
    """Class of each sample's visual; -1 where it is not known."""
    prompts: Bool[Tensor, " N"]
    """Whether the text names a class, instead of being a caption."""
    same: Int64[Tensor, " N"]
    """Equal numbers mean equal texts."""

    def to(self, device: torch.device) -> "Texts":
        """The same on a device."""
        return Texts(
            tokens=self.tokens.to(device),
            ids=self.ids.to(device),
            classes=self.classes.to(device),
            prompts=self.prompts.to(device),
            same=self.same.to(device),
        )

    def __getitem__(self, rows: slice) -> "Texts":
        """Those of some samples."""
        return Texts(
            tokens=self.tokens[rows],
            ids=self.ids[rows],
            classes=self.classes[rows],
            prompts=self.prompts[rows],
            same=self.same[rows],
        )


class Wording:
    """Draws the texts of samples of one kind."""

    def __init__(self, samples: Samples, config: PretrainConfig, tokenise: Tokenise) -> None:
        self.samples = samples
        self.share = config.objective.label_share
        self.prompts = config.image_prompts if samples.kind == "image" else config.video_prompts
        self.tokenise = tokenise

    def texts(self, numbers: NDArray[np.int64], draws: Draws) -> Texts:
        """The texts of some samples at a step; `draws` are those of their places in the whole batch."""
        samples, luck = self.samples, draws.uniform("texts", 2).tolist()
        by_class = [
            self._takes_class(number, share)
            for number, (share, _) in zip(numbers.tolist(), luck, strict=True)
        ]
        texts = [
            self._text(number, named, choice)
            for number, named, (_, choice) in zip(numbers.tolist(), by_class, luck, strict=True)
        ]
        prompts = torch.tensor(by_class)
        classes = torch.from_numpy(samples.classes[numbers])
        return Texts(
            tokens=self.tokenise(texts),
            ids=torch.where(prompts, classes + CLASS_IDS, torch.from_numpy(samples.ids[numbers])),
            classes=classes,
            prompts=prompts,
            same=torch.tensor([number_of(text) for text in texts]),
        )

    def _takes_class(self, number: int, luck: float) -> bool:
        """Whether a sample brings its class and not a caption."""
        samples = self.samples
        if samples.classes[number] == NO_CLASS:
            return False
        return not samples.captions[number] or luck < self.share

    def _text(self, number: int, named: bool, luck: float) -> str:
        samples = self.samples
        choices = self.prompts if named else samples.captions[number]
        text = choices[int(luck * len(choices))]
        return text.format(samples.names[samples.classes[number]]) if named else text


def number_of(text: str) -> int:
    """A number that equal texts share, and no others do (56 bits of a digest)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
