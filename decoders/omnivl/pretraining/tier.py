"""Where a pre-training takes images and clips from: a bank, or files that a live tower sees."""

from collections.abc import Generator
from typing import Any, Protocol, runtime_checkable

from torch import nn

from decoders.omnivl.pretraining.order import Piece, SampleOrder
from decoders.omnivl.pretraining.samples import Samples
from decoders.omnivl.schedule import Kind


@runtime_checkable
class Tier(Protocol):
    """Samples, and what sees them."""

    def samples(self, kind: Kind) -> Samples:
        """All images, or all clips, that have a text. Raises ValueError where there are none."""
        ...

    def visual(self) -> nn.Module:
        """A new module from a piece's inputs to VisualOut, weights drawn from torch's current generator."""
        ...

    def batches(self, order: SampleOrder, steps: range) -> Generator[list[tuple[Piece, Any]], None, None]:
        """For each step of the order's kind its pieces and their inputs, on the device, made ahead; none of
        them may be changed. Where a sample cannot be had, its piece says the number of that which stands in
        for it, whose text is the right one. Closing it leaves no thread and no process.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What of it is part of what a run is: plain JSON values."""
        ...
