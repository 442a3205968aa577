"""Which batches a pre-training takes, when: a function of the step, so that it may go on anywhere.

Decoupled joint pre-training (OmniVL, arXiv 2209.07526) learns space from images first, then space and time
from image and video batches in turn, each kind with a batch size of its own. The paper does not say how the
kinds mix; a declared pattern, the same on all processes, is one-to-one by default. The other schedules are
those that it is compared with.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from training.optim import OptimConfig

Kind = Literal["image", "video"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Schedule = Literal["decoupled", "joint", "image_only", "video_only", "image_then_video"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A run of steps whose batches come in one pattern, with a schedule of the rate of its own."""

    steps: int
    pattern: tuple[Kind, ...]
    """Kinds of batches, over and over."""
    optim: OptimConfig
    """Its rate, warm-up and decay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleConfig:
    """Which batches, when: the paper's decoupled joint pre-training, and what it is compared with."""

    schedule: Schedule = "decoupled"
    """decoupled: images, then both in turn; joint: in turn from the start; image_only; video_only;
    image_then_video: images, then videos only."""
    image_steps: int = 60_000
    """Steps of the first stage."""
    joint_steps: int = 40_000
    """Steps of the second stage; schedules of one stage take the steps of both."""
    images: int = 1
    """Image batches in a row, where they alternate."""
    videos: int = 1
    """Video batches in a row after them."""
    image_batch: int = 256
    """Images a step, over all processes."""
    video_batch: int = 64
    """Clips a step, over all processes."""
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(
            lr=3e-4, weight_decay=0.05, decay_vectors=False, warmup_steps=1000
        )
    )
    """Of the first stage, and of a schedule that has but one."""
    joint_optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(lr=8e-5, weight_decay=0.05, decay_vectors=False, warmup_steps=500)
    )
    """Of the second stage. The optimiser itself goes on: its decay and betas are the first stage's."""

    def __post_init__(self) -> None:
        if min(self.image_steps, self.joint_steps) < 0 or self.image_steps + self.joint_steps < 1:
            raise ValueError(f"expected steps from 0, and one at least, found {self}")
        if min(self.images, self.videos, self.image_batch, self.video_batch) < 1:
            raise ValueError(f"expected images, videos and batches from 1, found {self}")

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.image_steps + self.joint_steps

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is done, one after the other."""
        image: tuple[Kind, ...] = ("image",)
        video: tuple[Kind, ...] = ("video",)
        turns = image * self.images + video * self.videos
        patterns: dict[Schedule, tuple[tuple[Kind, ...], ...]] = {
            "decoupled": (image, turns),
            "joint": (turns,),
            "image_only": (image,),
            "video_only": (video,),
            "image_then_video": (image, video),
        }
        chosen = patterns[self.schedule]
        if len(chosen) == 1:
            return (Stage(steps=self.steps, pattern=chosen[0], optim=self.optim),)
        lengths, optims = (self.image_steps, self.joint_steps), (self.optim, self.joint_optim)
        return tuple(
            Stage(steps=steps, pattern=pattern, optim=optim)
            for steps, pattern, optim in zip(lengths, chosen, optims, strict=True)
        )

    def kinds(self) -> set[Kind]:
        """What the run needs at all."""
        return {kind for stage in self.stages if stage.steps for kind in stage.pattern}

    def batch(self, kind: Kind) -> int:
        """Samples of a batch of that kind."""
        return self.image_batch if kind == "image" else self.video_batch

    def stage_at(self, step: int) -> tuple[Stage, int]:
        """The stage of a 0-based step, and the step within it."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        raise ValueError(f"expected a step below {self.steps}, found one {step} beyond the last")

    def kind_at(self, step: int) -> Kind:
        """What the batch of a 0-based step holds."""
        stage, within = self.stage_at(step)
        return stage.pattern[within % len(stage.pattern)]

    def number_at(self, step: int) -> int:
        """How many batches of the same kind come before a step, over all stages."""
        count, kind = 0, self.kind_at(step)
        for stage in self.stages:
            taken, period = min(step, stage.steps), len(stage.pattern)
            whole, rest = divmod(taken, period)
            count += whole * stage.pattern.count(kind) + stage.pattern[:rest].count(kind)
            step -= taken
        return count

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ScheduleConfig":
        """The schedule of plain values."""
        optims: dict[str, Any] = {name: OptimConfig(**values[name]) for name in ("optim", "joint_optim")}
        return cls(**(values | optims))
