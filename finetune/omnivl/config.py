"""What a pre-training end to end has beside all that a bank's has: a tower that it trains, and new views."""

from dataclasses import asdict, dataclass
from typing import Any

from backbones.config import BackboneConfig
from video import Sampling, ViewPlan

IMAGES = ViewPlan(kind="train", sampling=Sampling(frames=1), crop_scale=(0.5, 1.0))
"""A random crop, as BLIP's. Not mirrored: captions speak of left and right."""
CLIPS = ViewPlan(kind="train", sampling=Sampling(kind="tsn", frames=8), crop_scale=(0.5, 1.0))
"""A frame of each eighth of a video, all with the same crop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveConfig:
    """The encoder of an end-to-end pre-training, and what it sees."""

    name: str = "ViT-B-16"
    """The network: an open_clip ViT, a folder or a .json file."""
    weights: str = "openai"
    """CLIP's weights that training begins from: a tag, OpenAI's archive, or any weight file."""
    image_views: ViewPlan = IMAGES
    """Crop of an image, drawn anew in every epoch."""
    video_views: ViewPlan = CLIPS
    """Frames and crop of a video, likewise; it has as many positions in time as these have frames."""
    recompute: bool = False
    """Compute each block again in the backward pass: much less memory, a third more work."""

    def __post_init__(self) -> None:
        kinds = self.image_views.kind, self.video_views.kind
        if kinds != ("train", "train"):
            raise ValueError(f"expected image_views and video_views of kind train, found {kinds}")
        if self.image_views.frames != 1 or self.video_views.frames < 2:
            found = self.image_views.frames, self.video_views.frames
            raise ValueError(f"expected 1 frame of images and 2 or more of videos, found {found}")

    @property
    def backbone(self) -> BackboneConfig:
        """The CLIP that training begins from: one that sees frames one by one."""
        return BackboneConfig(name=self.name, weights=self.weights)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` turns them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "LiveConfig":
        """The config that `to_json` turned into plain values."""
        plans: dict[str, Any] = {
            name: ViewPlan.from_json(values[name]) for name in ("image_views", "video_views")
        }
        return cls(**(values | plans))
