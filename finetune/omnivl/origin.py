"""What a pre-training learns from: a bank's images and clips, or files of them and a tower that learns, too.

Which they are, and the tower, is part of what a run is; where they lie is not.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.pretraining.bank_tier import BankTier
from decoders.omnivl.pretraining.tier import Tier
from finetune.omnivl.config import LiveConfig
from finetune.omnivl.sources import LiveSources, live_clips
from finetune.omnivl.tier import LivePlace, LiveTier
from finetune.place import Place
from storage import Bank


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """A bank, or lists of files and a tower."""

    bank: str = ""
    """Bank whose frozen tokens are learned from: folder or URL."""
    sources: tuple[str, ...] = ()
    """Instead of a bank: lists, captions, folders or tars of images and videos, for a tower that is
    trained."""
    root: str = ""
    """Folder that the lists' paths are relative to; by default each list's own."""
    live: LiveConfig = field(default_factory=LiveConfig)
    """That tower, and the views it sees; of no matter for a bank."""

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Origin":
        """The origin that a session kept."""
        fixed = {"sources": tuple(values["sources"]), "live": LiveConfig.from_json(values["live"])}
        return cls(**(values | fixed))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def open(self, config: PretrainConfig, device: torch.device, place: Place, run: Path) -> Tier:
        """What is named, as a source of samples; `run` is where clips are noted that cannot be decoded.

        Raises:
            ValueError: neither or both are named, or what is named cannot serve the config.
        """
        if bool(self.bank) == bool(self.sources):
            found = "both" if self.bank else "neither"
            raise ValueError(f"expected --bank, or --sources of images and videos, found {found}; name one")
        if self.sources:
            clips = live_clips(LiveSources(sources=self.sources, root=self.root), config.split)
            where = LivePlace(device=device, folder=run, decode_processes=place.decode_processes)
            return LiveTier(config, self.live, clips, where)
        return BankTier(
            Bank(self.bank), config.adapter, config.heads, device, split=config.split, label=config.label
        )
