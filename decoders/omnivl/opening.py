"""A pre-trained model and what it is shown, opened together: what the commands that follow a pre-training do.

A bank is opened here. Files need decoders and a live tower, which are another room's: who has them
(`finetune.omnivl.opening`) gives these commands an opener that takes both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from decoders.omnivl.bank_source import BankSource
from decoders.omnivl.model import OmniVLModel, See, Source, bank_visual, open_model
from decoders.omnivl.shown import Shown
from decoders.precision import pick_device
from storage import Bank


@dataclass(frozen=True, kw_only=True, slots=True)
class Opener:
    """Who opens runs and what they are shown."""

    see: See
    """Makes the visual module of a run."""
    source: Callable[[OmniVLModel, Shown, str], Source]
    """Images and clips of a split (empty: all) as a model sees them."""

    def model(self, run: Path, device: str) -> OmniVLModel:
        """The newest checkpoint of a run, on a device by name. Raises as `open_model`."""
        return open_model(run, pick_device(device), self.see)


def source_of_bank(model: OmniVLModel, shown: Shown, split: str) -> Source:
    """The images and clips of a bank. Raises ValueError for files."""
    if not shown.bank:
        raise ValueError(f"expected a bank to take images and clips from, found files ({shown.place})")
    return BankSource(model, Bank(shown.bank), split=split)


BANKS = Opener(see=bank_visual, source=source_of_bank)
"""Runs that learned from a bank, shown a bank."""


def tell_failed(source: Source, console: Console) -> None:
    """Name and count what could not be seen."""
    for key, why in source.failed.items():
        console.print(f"{key}: {why}", soft_wrap=True, highlight=False)
    if source.failed:
        console.print(f"{len(source.failed):,} files could not be decoded and are left out")
