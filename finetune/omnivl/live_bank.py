"""Frames to what OmniVL's heads see, as from a bank: a frozen tower, and an adapter trained on banks.

So what was pre-trained on a bank sees videos that are in none, and a bank's numbers have something to be
compared with: they are equal, within what a bank's type rounds.
"""

from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from backbones.taps import FrozenTower
from decoders.omnivl.adapter import BankVisual
from decoders.omnivl.visual import VisualOut
from finetune.video_clip import normalised


class LiveBankVisual(nn.Module):
    """Normalised images or clips to what the heads see, through the taps of a tower.

    The tower is no part of what is trained, moved or saved: parameters are the adapter's alone.

    Raises:
        ValueError: a tower that taps too few blocks, or whose tokens are of another shape.
    """

    def __init__(self, tower: FrozenTower, adapter: BankVisual) -> None:
        super().__init__()
        _check_fit(tower, adapter)
        self.adapter = adapter
        self._tower = [tower]

    @property
    def tower(self) -> FrozenTower:
        """What makes the tokens."""
        return self._tower[0]

    @property
    def blocks(self) -> tuple[int, ...]:
        """The tapped blocks that the adapter reads: the last ones."""
        return self.tower.blocks[-self.adapter.config.blocks :]

    def forward(self, images: Float[Tensor, "N T 3 h w"]) -> VisualOut:
        """What the heads see. Raises ValueError for clips of another length than the adapter's."""
        return self.adapter(self.features(images))

    def features(self, images: Float[Tensor, "N T 3 h w"]) -> list[Float[Tensor, "N T L C"]]:
        """What a bank would hold of them, shallow to deep."""
        taps = self.tower(rearrange(images, "n t c h w -> (n t) c h w"), frames=images.shape[1])
        return [rearrange(taps.out[block], "(n t) l c -> n t l c", n=len(images)) for block in self.blocks]

    def normalised(self, frames: UInt8[Tensor, "N T h w 3"]) -> Float[Tensor, "N T 3 h w"]:
        """Decoded images or clips as the tower takes them, on its device."""
        return normalised(self.tower, frames)


def _check_fit(tower: FrozenTower, adapter: BankVisual) -> None:
    wanted = adapter.config.blocks
    if len(tower.blocks) < wanted:
        raise ValueError(
            f"expected {wanted} tapped blocks, as many as the adapter reads, found {len(tower.blocks)} "
            f"({tower.blocks}); tap more blocks"
        )
    found, expected = (tower.width, tower.grid), (adapter.width, adapter.grid)
    if found != expected:
        raise ValueError(
            f"expected a tower of width and grid {expected}, as the adapter was made for, found {found}"
        )
