"""What a fine-tuning is asked to do."""

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from backbones.config import BackboneConfig, Boundary, Precision
from finetune.evaluation.config import OPENVCLIP_TEST, Templates
from finetune.interpolate import RegulariserConfig
from training.optim import OptimConfig
from video import Sampling, ViewPlan

OPENVCLIP_TRAIN = ViewPlan(
    kind="train",
    sampling=Sampling(kind="dense", frames=8, stride=16, fps=30),
    resize="bilinear",
    short_side=(224, 256),
    flip=True,
)
"""Open-VCLIP's clips: 8 frames 16/30 s apart, short side of 224 to 256 pixels, a window of 224, half of them
flipped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneConfig:
    """One fine-tuning: everything that decides the losses, and not where things lie or on what they run."""

    name: str = "ViT-B-16"
    """The network: an open_clip ViT, a folder or a .json file."""
    weights: str = "openai"
    """CLIP's weights that training begins from: a tag, OpenAI's archive, or any weight file."""
    window: int = 1
    """Frames before and after that every block sees (the temporal view); 0 trains plain CLIP."""
    boundary: Boundary = "zeros"
    """What the ends of a clip see beyond it; of no matter without a temporal view."""
    views: ViewPlan = OPENVCLIP_TRAIN
    """Frames and crop of a clip, drawn anew in every epoch."""
    test_views: ViewPlan = OPENVCLIP_TEST
    """Frames and crops of a clip in evaluations."""
    templates: Templates = "action"
    """Prompts that class names are put into: Open-VCLIP's 28, or `a photo of a {}.` alone."""
    split: str = ""
    """Clips to train on; empty takes all of the source."""
    eval_split: str = ""
    """Clips to evaluate on, of the evaluation source, where there is one; empty takes all of it."""
    regulariser: RegulariserConfig = field(default_factory=RegulariserConfig)
    """The interpolated pass of every step; weight 0 is plain fine-tuning."""
    optim: OptimConfig = field(default_factory=lambda: OPENVCLIP_OPTIM)
    """Optimiser and schedule; warm-up is counted in epochs, see below."""
    warmup_epochs: float = 2.0
    """Epochs of linear warm-up, from just above the optimiser's floor."""
    epochs: int = 22
    """Passes over the clips."""
    average_from: int = 2
    """The first epoch after which weights enter the average that is the result; 0 takes the last weights
    instead."""
    batch_size: int = 64
    """Clips a step, over all processes."""
    batch_split: int = 1
    """Pieces a process cuts its part of a batch into to save memory; their gradients are added up."""
    clip_norm: float = 1.0
    """Greatest L2 norm of a step's gradients, both passes together; 0 leaves them as they are."""
    precision: Precision = "fp32"
    """Of the passes, by autocast; weights stay fp32. fp16 scales the loss."""
    recompute: bool = False
    """Compute each block again in the backward pass: much less memory, a third more work."""
    seed: int = 0
    """Decides the order of clips, their views and the shares of the regulariser."""
    log_every: int = 10
    """Steps between writes of the log; every step's losses are in it all the same."""
    save_every: int = 500
    """Steps between checkpoints; there is one after each epoch, too."""
    keep: int = 2
    """Checkpoints kept; older ones are deleted."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "batch_split", "log_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("window", "warmup_epochs", "average_from", "clip_norm"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, found {getattr(self, name)}")
        if self.average_from > self.epochs:
            raise ValueError(
                f"average_from is one of {self.epochs} epochs, or 0 for none, found {self.average_from}"
            )
        if self.optim.warmup_steps:
            raise ValueError(
                f"warm-up is counted in epochs here: expected optim.warmup_steps 0, found "
                f"{self.optim.warmup_steps}; set warmup_epochs"
            )
        if self.views.kind != "train" or self.test_views.kind != "eval":
            kinds = self.views.kind, self.test_views.kind
            raise ValueError(f"expected views of kind train and test_views of kind eval, found {kinds}")
        self.backbone  # refuses what cannot be  # noqa: B018

    @property
    def backbone(self) -> BackboneConfig:
        """The CLIP that training begins from, with its temporal view."""
        boundary = self.boundary if self.window else None
        return BackboneConfig(name=self.name, weights=self.weights, window=self.window, boundary=boundary)

    def steps_until(self, epochs: int | float, clips: int) -> int:
        """Steps after which so many clips were seen so many times."""
        return math.ceil(epochs * clips / self.batch_size)

    def schedule(self, clips: int) -> OptimConfig:
        """The optimiser's settings with the warm-up in steps."""
        return replace(self.optim, warmup_steps=self.steps_until(self.warmup_epochs, clips))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` turns them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TuneConfig":
        """The config that `to_json` turned into plain values."""
        kinds = {"regulariser": RegulariserConfig, "optim": OptimConfig}
        parts: dict[str, Any] = {name: kind(**values[name]) for name, kind in kinds.items()}
        plans: dict[str, Any] = {name: ViewPlan.from_json(values[name]) for name in ("views", "test_views")}
        return cls(**(values | parts | plans))


OPENVCLIP_OPTIM = OptimConfig(lr=3.33e-6, weight_decay=0.01, decay_vectors=False, floor=0.01)
"""As published for a batch of 64."""
