"""The same decoder on a live tower: frames in, logits out, no bank between.

What a bank stores is computed on the way: taps of the blocks that the decoder reads, and the cross-frame
maps from their queries and keys. A decoder trained from a bank gives the same logits here, within the storage
error of fp16.
Where the tower's weights require gradients they reach it through the tokens and the maps; with the tower of
`load_clip`, which is frozen, nothing is recorded for it.
"""

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import nn

from backbones.maps import cross_frame_maps
from backbones.taps import FrozenTower, Taps
from decoders.evl import BlockFeatures, EVLDecoder
from finetune.video_clip import normalised


class LiveEVL(nn.Module):
    """A tower with taps and a decoder that reads its last tapped blocks."""

    def __init__(self, tower: FrozenTower, decoder: EVLDecoder) -> None:
        super().__init__()
        _check_fit(tower, decoder)
        self.tower = tower
        self.decoder = decoder
        self.blocks = decoder.config.blocks_of(tower.blocks)

    def forward(self, frames: UInt8[torch.Tensor, "N T h w 3"]) -> Float[torch.Tensor, "N K"]:
        """Logits of decoded clips."""
        return self.classify(self.normalised(frames))

    def normalised(self, frames: UInt8[torch.Tensor, "N T h w 3"]) -> Float[torch.Tensor, "N T 3 h w"]:
        """Decoded clips as the tower takes them."""
        return normalised(self.tower, frames)

    def classify(self, images: Float[torch.Tensor, "N T 3 h w"]) -> Float[torch.Tensor, "N K"]:
        """Logits of normalised clips."""
        return self.decoder(self.features(images))

    def features(self, images: Float[torch.Tensor, "N T 3 h w"]) -> list[BlockFeatures]:
        """What a bank would hold of normalised clips, one per decoder layer."""
        clips = len(images)
        taps = self.tower(rearrange(images, "n t c h w -> (n t) c h w"), frames=images.shape[1])
        found = {block: self._block(taps, block, clips) for block in set(self.blocks)}
        return [found[block] for block in self.blocks]

    def _block(self, taps: Taps, block: int, clips: int) -> BlockFeatures:
        dtype = self.decoder.decoder.cls_token.dtype
        tokens = taps.out[block] if self.decoder.config.tokens == "all" else taps.out[block][:, :1]
        out = rearrange(tokens, "(n t) l c -> n t l c", n=clips).to(dtype)
        if not self.decoder.config.cross_frame:
            return BlockFeatures(out=out)
        q, k = (rearrange(tap[block], "(n t) l h d -> n t l h d", n=clips) for tap in (taps.q, taps.k))
        map_prev, map_next = cross_frame_maps(q, k)
        return BlockFeatures(out=out, map_prev=map_prev.to(dtype), map_next=map_next.to(dtype))


def _check_fit(tower: FrozenTower, decoder: EVLDecoder) -> None:
    """Raise ValueError where the tower taps too few blocks or its tokens are of another shape."""
    if len(tower.blocks) < decoder.config.depth:
        raise ValueError(
            f"expected {decoder.config.depth} tapped blocks, as many as the decoder reads, found "
            f"{len(tower.blocks)} ({tower.blocks}); tap more blocks"
        )
    found, expected = (tower.width, tower.grid), (decoder.shape.width, decoder.shape.grid)
    if found != expected:
        raise ValueError(
            f"expected a tower of width and grid {expected}, as the decoder was trained on, found {found}"
        )
