"""Tokens and maps of drawn clips in memory, and decoders that learn from them.

The clips are the demo's, 8 frames each, painted and never coded as videos; the tower is its tiny CLIP in
fp32, of which the last block is kept, in float16. The decoders are the demo's too: appearance without
temporal modules, motion with them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from backbones.config import BackboneConfig
from backbones.maps import cross_frame_maps
from backbones.weights import load_clip
from decoders.clips import ClipOrder, LabelledClips
from decoders.config import TrainConfig
from decoders.dataset import Batch
from decoders.draws import seeded
from decoders.evl import BlockFeatures, EVLDecoder, TokenShape
from decoders.recipes import shapes
from decoders.trainer import Trainer
from demo.motion import MOTIONS, paint_clip
from demo.world import ClipPlan, WorldConfig, appearance, plan_clips
from pipeline.recipes import TINY_CLIP

FRAMES, SIZE = 8, 64
LABELS = ("appearance", "motion")
PIECE = 50
LARGEST = 60_000
"""What injected tokens are scaled down to where they would not fit into float16."""
Change = Callable[[np.ndarray], np.ndarray]
"""Values (n, ...) in float16 to values of the same shape in fp32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Features:
    """One block of N clips."""

    out: np.ndarray
    """Tokens (N, T, L, C)."""
    map_prev: np.ndarray
    """(N, T-1, P, P)."""
    map_next: np.ndarray
    """(N, T-1, P, P)."""

    def rows(self, rows: NDArray[np.int64]) -> list[BlockFeatures]:
        """Some clips as a decoder of one layer wants them."""
        taps = (self.out, self.map_prev, self.map_next)
        out, prev, after = (torch.from_numpy(values[rows]).float() for values in taps)
        return [BlockFeatures(out=out, map_prev=prev, map_next=after)]

    def part(self, rows: NDArray[np.int64]) -> "Features":
        """Some clips only."""
        return Features(out=self.out[rows], map_prev=self.map_prev[rows], map_next=self.map_next[rows])

    def changed(self, *, tokens: Change | None = None, maps: Change | None = None) -> "Features":
        """The same with values that went through some storage and back."""
        out = self.out if tokens is None else in_pieces(tokens, self.out)
        if maps is None:
            return replace(self, out=out)
        prev, after = in_pieces(maps, self.map_prev), in_pieces(maps, self.map_next)
        return Features(out=out, map_prev=prev, map_next=after)


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Clips with their features and classes; the first `train` are to learn from, the others are held out."""

    features: Features
    targets: dict[str, NDArray[np.int64]]
    """Label set to (N,) classes."""
    train: int

    def clips(self, label: str) -> LabelledClips:
        """The clips to learn from."""
        rows = np.arange(self.train)
        return LabelledClips(rows=rows[:, None], targets=self.targets[label][rows], unlabelled=0)

    @property
    def held_out(self) -> NDArray[np.int64]:
        """Numbers of the others."""
        return np.arange(self.train, len(self.features.out))


def draw_world(train: int, test: int, seed: int = 0) -> World:
    """Paint, look, keep."""
    world = WorldConfig(seed=seed, train=train, val=0, test=test, test_pairs=0)
    plans = sorted(plan_clips(world), key=lambda plan: plan.split != "train")
    looks = sorted({appearance(plan) for plan in plans})
    targets = {
        "appearance": np.array([looks.index(appearance(plan)) for plan in plans]),
        "motion": np.array([MOTIONS.index(plan.motion) for plan in plans]),
    }
    return World(features=look_at(plans), targets=targets, train=train)


@torch.inference_mode()
def look_at(plans: list[ClipPlan]) -> Features:
    """The tower's last block of every clip, in float16."""
    clip = load_clip(BackboneConfig(name=str(TINY_CLIP)))
    last = clip.tower().depth - 1
    tower = clip.tower((last,))
    pieces = []
    for start in range(0, len(plans), PIECE):
        frames = np.stack([paint(plan) for plan in plans[start : start + PIECE]])
        taps = tower(tower.normalise(torch.from_numpy(frames).flatten(0, 1)))
        out, q, k = (tap[last].unflatten(0, (-1, FRAMES)) for tap in (taps.out, taps.q, taps.k))
        pieces.append([values.half().numpy() for values in (out, *cross_frame_maps(q, k))])
    out, prev, after = (np.concatenate(found) for found in zip(*pieces, strict=True))
    return Features(out=out, map_prev=prev, map_next=after)


def paint(plan: ClipPlan) -> np.ndarray:
    """uint8 (T, h, w, 3)."""
    rng = np.random.default_rng(plan.seed)
    return paint_clip(
        plan.motion, shape=plan.shape, colour=plan.colour, frames=FRAMES, size=SIZE, rng=rng
    ).copy()


def with_outliers(features: Features, *, channels: int = 3, seed: int = 0) -> Features:
    """Tokens as a large CLIP has them: some channels times 100 and the CLS token times 50."""
    out = features.out.astype(np.float32)
    out[..., np.random.default_rng(seed).choice(out.shape[-1], channels, replace=False)] *= 100
    out[..., 0, :] *= 50
    halvings = max(0, int(np.ceil(np.log2(abs(out).max() / LARGEST))))
    return replace(features, out=(out * 0.5**halvings).astype(np.float16))


def fit(world: World, label: str, *, steps: int, seed: int) -> EVLDecoder:
    """A decoder that learned from the training clips."""
    config, features = decoder_config(label, steps, seed), world.features
    frames, _, width = features.out.shape[1:]
    side = round(features.map_prev.shape[-1] ** 0.5)
    shape = TokenShape(width=width, frames=frames, grid=(side, side))
    with seeded(seed):
        model = EVLDecoder(config.decoder, shape, int(world.targets[label].max()) + 1)
    trainer, order = Trainer(config, model, torch.device("cpu")), ClipOrder(world.clips(label), seed)
    for step in range(steps):
        rows, targets = order.batch(step, config.batch_size)
        trainer.learn(step, 0, Batch(features=features.rows(rows), targets=torch.from_numpy(targets)))
    return model


def decoder_config(label: str, steps: int, seed: int) -> TrainConfig:
    """The demo's recipe."""
    recipe = replace(shapes(), steps=steps, seed=seed)
    return recipe if label == "motion" else replace(recipe, decoder=recipe.decoder.without_temporal())


@torch.no_grad()
def logits(model: EVLDecoder, features: Features, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, K) of some clips."""
    pieces = np.split(rows, range(PIECE, len(rows), PIECE))
    return np.concatenate([model(features.rows(piece)).numpy() for piece in pieces])


def in_pieces(change: Change, values: np.ndarray) -> np.ndarray:
    """A change of all rows, a few at a time to save memory."""
    changed = np.empty(values.shape, np.float32)
    for start in range(0, len(values), PIECE):
        changed[start : start + PIECE] = change(values[start : start + PIECE])
    return changed
