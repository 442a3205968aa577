"""The trainings of the ablation of Open-VCLIP: what differs between them, and what does not.

They take the published recipe's form (AdamW, weight decay 0.01 on matrices, a cosine with a floor at 1/100,
gradients clipped at 1, regulariser U(0, 0.6) with C = 0.5, an average from the second epoch on) with a rate
and a number of epochs that suit a tower of 0.8 million weights and a few hundred videos. A clip is 4 frames:
half the work of 8, and enough to see a change.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ablations.openvclip_exam import Weights
from backbones.checkpoint import read_checkpoint
from finetune.interpolate import RegulariserConfig
from finetune.place import Place
from finetune.tuning.command import finetune
from finetune.tuning.config import TuneConfig
from finetune.tuning.data import Sources
from finetune.tuning.session import WEIGHTS, TuneResult
from pipeline.recipes import TINY_CLIP
from training.checkpoint import load_checkpoint
from training.losses import Watch
from training.optim import OptimConfig
from training.run import RunDirectory, RunError
from video import Sampling, ViewPlan

FRAMES = 4
TRAIN_VIEWS = ViewPlan(
    kind="train",
    sampling=Sampling(kind="tsn", frames=FRAMES),
    size=64,
    crop_scale=(0.6, 1.0),
    crop_ratio=(0.85, 1.18),
)
"""A frame from each quarter and a box, as `ablations.views` draws them; new ones in every epoch."""
TEST_VIEWS = ViewPlan(sampling=Sampling(kind="tsn", frames=FRAMES), size=64)
BATCH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """What sets a training apart."""

    window: int
    """Frames before and after that the tower's blocks see."""
    weight: float
    """C, of the loss at interpolated weights."""


TRAININGS = {
    "frames alone": Training(window=0, weight=0.0),
    "temporal view": Training(window=1, weight=0.0),
    "regularised": Training(window=1, weight=0.5),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesson:
    """One training."""

    training: str
    """One of TRAININGS."""
    seed: int
    epochs: int
    rate: float
    """Learning rate at its peak."""

    def config(self) -> TuneConfig:
        """As `finetune.tuning` takes it."""
        training = TRAININGS[self.training]
        return TuneConfig(
            name=str(TINY_CLIP),
            weights="",
            window=training.window,
            boundary="zeros",
            views=TRAIN_VIEWS,
            test_views=TEST_VIEWS,
            templates="photo",
            regulariser=RegulariserConfig(weight=training.weight),
            optim=OptimConfig(lr=self.rate, weight_decay=0.01, decay_vectors=False, floor=0.01),
            warmup_epochs=1.0 if self.epochs > 1 else 0.0,
            epochs=self.epochs,
            average_from=min(2, self.epochs),
            batch_size=BATCH,
            seed=self.seed,
            keep=1,
        )


def learn(
    lesson: Lesson, source: Path, run: Path, *, announce: Callable[[int], None], watch: Watch
) -> TuneResult:
    """Train on the clips of a list in a run directory, or go on there."""
    sources = Sources(source=str(source))
    return finetune(
        lesson.config(), sources, run=run, place=Place(device="cpu"), announce=announce, watch=watch
    )


def tuned_weights(run: Path, *, averaged: bool) -> Weights:
    """The average of a finished run's epochs, or its last weights, by CLIP's names.

    Raises:
        RunError: the run has no checkpoint.
    """
    if averaged:
        return read_checkpoint(run / WEIGHTS).tensors
    newest = RunDirectory.read(run).checkpoint
    if newest is None:
        raise RunError(f"expected a finished training at {run}, found no checkpoint; train it first")
    return load_checkpoint(newest, "cpu")["model"]
