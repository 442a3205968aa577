"""CLIP for videos, to be trained end to end: the image tower, its temporal view, and the trained scale.

A clip's logits are the mean over its frames of scaled cosines with a constant class matrix
(`backbones.text`), as in Open-VCLIP (arXiv 2302.00624): the text tower gets no gradient there, so it is not
part of this model. Parameters have open_clip's names and shapes, `visual.*` and `logit_scale`, and are shared
with the loaded CLIP.
"""

from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from backbones.config import TemporalView
from backbones.taps import FrozenTower
from backbones.text import zero_shot_scores
from backbones.weights import LoadedClip

Channels = tuple[float, float, float]


class VideoCLIP(nn.Module):
    """Normalised clips and a class matrix to logits.

    Args:
        mean, std: of each colour, for `normalised`; for values in [0, 1].

    Attributes:
        view: what frames see of each other; None for plain CLIP.
    """

    def __init__(
        self,
        visual: nn.Module,
        logit_scale: nn.Parameter,
        view: TemporalView | None,
        *,
        mean: Channels = (0.0, 0.0, 0.0),
        std: Channels = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        self.visual = visual
        self.logit_scale = logit_scale
        self.view = view
        # in a list, or its parameters would be listed under a second name
        self._tower = [FrozenTower(visual, (), mean, std, view=view)]

    def forward(
        self, images: Float[Tensor, "N T 3 h w"], classes: Float[Tensor, "K E"]
    ) -> Float[Tensor, "N K"]:
        """Logits: the mean over frames of the scaled cosine with each class."""
        return zero_shot_scores(self.embed(images), classes, logit_scale=self.logit_scale.float().exp())

    def normalised(self, frames: UInt8[Tensor, "N T h w 3"]) -> Float[Tensor, "N T 3 h w"]:
        """Decoded clips as the tower takes them, on the model's device."""
        [tower] = self._tower
        return normalised(tower, frames)

    def embed(self, images: Float[Tensor, "N T 3 h w"]) -> Float[Tensor, "N T E"]:
        """The joint embedding of every frame, not normalised."""
        [tower] = self._tower
        found = tower(rearrange(images, "n t c h w -> (n t) c h w"), frames=images.shape[1]).pooled
        return rearrange(found, "(n t) e -> n t e", n=len(images))

    def recompute(self, blocks: bool = True) -> None:
        """Compute each block again in the backward pass instead of keeping what it made: less memory, a third
        more work.
        """
        self._tower[0].visual.set_grad_checkpointing(blocks)


def normalised(tower: FrozenTower, frames: UInt8[Tensor, "N T h w 3"]) -> Float[Tensor, "N T 3 h w"]:
    """Decoded clips as a tower takes them, on the device of its weights."""
    images = tower.to(tower.device).normalise(rearrange(frames, "n t h w c -> (n t) h w c"))
    return rearrange(images, "(n t) c h w -> n t c h w", n=len(frames))


def trainable(clip: LoadedClip) -> VideoCLIP:
    """The image tower and scale of a loaded CLIP, with its temporal view, ready to be trained in fp32."""
    if clip.precision != "fp32":
        raise ValueError(f"expected weights in fp32 to train, found {clip.precision}; load them as fp32")
    model = VideoCLIP(clip.model.visual, clip.model.logit_scale, clip.view, mean=clip.mean, std=clip.std)
    return model.requires_grad_(True).train()
