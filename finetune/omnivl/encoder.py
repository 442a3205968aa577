"""OmniVL's unified encoder on any of open_clip's ViTs: images and clips by one tower, trained end to end.

Before each block's attention within a frame comes one over time (`decoders.omnivl.space_time`), which begins
as that block's own with an output of zero, and which images skip. So a new encoder is CLIP frame by frame,
exactly, and all but these sub-layers is shared by images and clips. Both have the tower's own patches: the
paper's 3D patch embedding of clips, one frame deep, would be the same convolution.

CLIP's projection to its joint embedding is left out: images are compared with this model's own texts.
"""

from collections.abc import Iterator
from typing import Any

from einops import rearrange, reduce
from jaxtyping import Float, UInt8
from torch import Tensor, is_grad_enabled, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from backbones.taps import FrozenTower
from backbones.weights import LoadedClip
from decoders.omnivl.config import HeadsConfig
from decoders.omnivl.space_time import TemporalAttention, space_time
from decoders.omnivl.visual import VisualOut
from finetune.video_clip import Channels, normalised


class SpaceTimeCLIP(nn.Module):
    """Normalised images or clips to what the heads see.

    Args:
        visual: open_clip's VisionTransformer, whose parameters keep their names under `visual`.
        frames: T of clips. mean, std: of each colour, for `normalised`; for values in [0, 1].

    Raises:
        BackboneError: blocks that are not CLIP's plain ones.
        ValueError: a tower whose tokens have no norm of their own, or that drops patches.
    """

    def __init__(
        self,
        visual: nn.Module,
        heads: HeadsConfig,
        *,
        frames: int,
        mean: Channels = (0.0, 0.0, 0.0),
        std: Channels = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        depth = FrozenTower(visual, (), mean, std).depth
        tower = FrozenTower(visual, range(depth), mean, std)
        _refuse_unfit(tower)
        self.visual = visual
        spatial: Any = tower.visual.transformer.resblocks
        self.temporal = nn.ModuleList(TemporalAttention.like(block, frames) for block in spatial)
        self.project = nn.Linear(tower.width, heads.embed)
        self.translate = nn.Linear(tower.width, heads.width)
        # in a list, or its parameters would be listed under a second name
        self._tower = [tower]

    def forward(self, images: Float[Tensor, "N T 3 h w"]) -> VisualOut:
        """What the heads see. Raises ValueError for clips of another length than the encoder's."""
        [tower] = self._tower
        tokens = tower.visual.ln_post(self.encoded(images))
        averaged = tower.visual.pool_type == "avg"
        pooled = reduce(tokens[:, :, 1:] if averaged else tokens[:, :, :1], "n t l c -> n c", "mean")
        return VisualOut(
            embedding=F.normalize(self.project(pooled), dim=-1),
            tokens=rearrange(self.translate(tokens), "n t l d -> n (t l) d"),
        )

    def encoded(self, images: Float[Tensor, "N T 3 h w"]) -> Float[Tensor, "N T L C"]:
        """Tokens after the last block, without its norm, CLS of every frame first."""
        [tower] = self._tower
        tokens = tower.embedded(rearrange(images, "n t c h w -> (n t) c h w"))
        tokens = rearrange(tokens, "(n t) l c -> n t l c", n=len(images))
        again = tower.visual.transformer.grad_checkpointing and is_grad_enabled()
        for temporal, spatial in self._layers():
            if again:
                tokens = checkpoint(space_time, temporal, spatial, tokens, use_reentrant=False)
            else:
                tokens = space_time(temporal, spatial, tokens)
        return tokens

    def normalised(self, frames: UInt8[Tensor, "N T h w 3"]) -> Float[Tensor, "N T 3 h w"]:
        """Decoded images or clips as the tower takes them, on the model's device."""
        [tower] = self._tower
        return normalised(tower, frames)

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w), patches of a frame."""
        return self._tower[0].grid

    def _layers(self) -> Iterator[tuple[Any, Any]]:
        """Of each block what sees time and what sees space."""
        return zip(self.temporal, self._tower[0].visual.transformer.resblocks, strict=True)

    def recompute(self, blocks: bool = True) -> None:
        """Compute each block again in the backward pass instead of keeping what it made: less memory, a third
        more work.
        """
        self._tower[0].visual.set_grad_checkpointing(blocks)


def space_time_clip(clip: LoadedClip, heads: HeadsConfig, frames: int) -> SpaceTimeCLIP:
    """The encoder that begins as a loaded CLIP, ready to be trained in fp32; the two share their weights.

    Raises:
        ValueError: weights of another type, or a temporal view, of which there is one already.
    """
    if clip.precision != "fp32":
        raise ValueError(f"expected weights in fp32 to train, found {clip.precision}; load them as fp32")
    if clip.view is not None:
        raise ValueError(
            f"expected a CLIP that sees frames one by one, found one with a temporal view ({clip.view}); "
            "time has layers of its own here, take weights without a view"
        )
    model = SpaceTimeCLIP(clip.model.visual, heads, frames=frames, mean=clip.mean, std=clip.std)
    model.requires_grad_(True).train()
    projection: Any = clip.model.visual.proj
    projection.requires_grad_(False)  # to CLIP's own sphere, unused here
    return model


def _refuse_unfit(tower: FrozenTower) -> None:
    if tower.visual.attn_pool is not None:
        raise ValueError(
            "expected a tower that norms its tokens, found one that pools them by attention first (CoCa's); "
            "choose another model"
        )
    if not isinstance(tower.visual.patch_dropout, nn.Identity):
        raise ValueError(
            "expected a tower that keeps all patches, found one that drops some while it trains, others in "
            "each frame: they have no neighbours in time; set patch_dropout to 0"
        )
