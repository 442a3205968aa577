"""Where a pre-training finds images and clips; which they are is part of what a run is, where they lie is
not."""

from dataclasses import dataclass
from typing import Any

import torch

from decoders.omnivl.bank_tier import BankTier
from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.tier import Tier
from finetune.tuning.place import Place
from storage import Bank


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """A bank of images and clips, or lists of them for a tower that is trained."""

    bank: str = ""
    """Bank whose frozen tokens are learned from: folder or URL."""

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Origin":
        """The origin that a session kept."""
        return cls(**values)

    def open(self, config: PretrainConfig, device: torch.device, place: Place) -> Tier:
        """What is named, as a source of samples. Raises ValueError where it cannot serve the config."""
        if not self.bank:
            raise ValueError("expected --bank, found none; name what to learn from")
        return BankTier(
            Bank(self.bank),
            config.adapter,
            config.heads,
            device,
            split=config.split,
            label=config.label,
        )
