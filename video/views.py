"""A view: one choice of T frames and one crop of them; the views of a clip are the rows a bank keeps of it.

Evaluation views are a grid, temporal x spatial: view t * S + s has the t-th clip in time and the s-th crop.
Training views are V random ones, each with its own frames, box, flip and RandAugment operations, drawn from
(seed, content digest, view number), so a view is the same whichever machine makes it, in whatever order.
Fixing them is what lets augmented views be cached; EVL draws new ones each epoch.

Frames are decoded once for all views, in small groups, and each group is cropped before the next is decoded:
memory is bounded by the group, not by views x frames x a 4K picture.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64, UInt8

from video.clip import Clip
from video.decode import Video, open_video
from video.quality import Quality, qualities
from video.randaugment import RAND_AUGMENT, rand_augment
from video.ranges import read_bytes
from video.sampling import Sampling, frame_indices
from video.transforms import Box, Resize, Size, crop_to, eval_crops, flipped, random_box, window_box

GROUP_BYTES = 64 << 20  # of decoded frames held at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewPlan:
    """Which views are made of every clip, and how."""

    kind: Literal["eval", "train"] = "eval"
    """"eval": the fixed grid of temporal x spatial views; "train": `augmented_views` random ones."""
    sampling: Sampling = field(default_factory=Sampling)
    """Which frames."""
    temporal_views: int = 1
    """Clips along time, evenly spread (eval)."""
    spatial_views: int = 1
    """1 centre crop or 3 along the long side (eval)."""
    augmented_views: int = 1
    """Random views of each clip (train)."""
    seed: int = 0
    """From which random views are drawn (train)."""
    size: int | Size = 224
    """Pixels of a square side, or (h, w)."""
    resize: Resize = "bicubic"
    """"bicubic": as open_clip prepares images; "bilinear": as EVL does."""
    flip: bool = False
    """Mirror every second random view, by chance (train). Wrong where left and right matter."""
    randaugment: str = ""
    """RandAugment policy in timm's notation, "rand-m7-n4-mstd0.5-inc1" in EVL; "" for none (train)."""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Share of the frame's area that a random crop covers (train)."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Width over height of a random crop (train)."""
    short_side: tuple[int, int] = (0, 0)
    """Crop as PySlowFast and Open-VCLIP do: the short side scaled to a random number of pixels from this
    range, and of that a window of `size` anywhere. (0, 0) crops by `crop_scale` and `crop_ratio` (train)."""

    def __post_init__(self):
        _require(self.kind in ("eval", "train"), "kind", "eval or train", self.kind)
        _require(self.resize in ("bicubic", "bilinear"), "resize", "bicubic or bilinear", self.resize)
        whole = isinstance(self.size, int) or len(self.size) == 2
        _require(whole and min(self.hw) >= 1, "size", "a side or (h, w) of at least 1 pixel", self.size)
        _require(self.temporal_views >= 1, "temporal_views", "at least 1", self.temporal_views)
        _require(self.spatial_views in (1, 3), "spatial_views", "1 or 3", self.spatial_views)
        _require(self.augmented_views >= 1, "augmented_views", "at least 1", self.augmented_views)
        _require(self.seed >= 0, "seed", "0 or more", self.seed)
        _require(
            0 < self.crop_scale[0] <= self.crop_scale[1] <= 1,
            "crop_scale",
            "0 < low <= high <= 1",
            self.crop_scale,
        )
        _require(
            0 < self.crop_ratio[0] <= self.crop_ratio[1], "crop_ratio", "0 < low <= high", self.crop_ratio
        )
        self._require_one_side()

    def _require_one_side(self) -> None:
        """Refuse settings that the plan's kind would ignore."""
        train = self.kind == "train"
        wrong = "evl-eval" if train else "evl-train"
        policy = not self.randaugment or RAND_AUGMENT.match(self.randaugment)
        _require(bool(policy), "randaugment", "a policy like 'rand-m7-n4-mstd0.5-inc1'", self.randaugment)
        _require(self.sampling.kind != wrong, "sampling.kind", f"one for kind={self.kind!r}", wrong)
        if train:
            grid = self.temporal_views, self.spatial_views
            _require(grid == (1, 1), "temporal_views, spatial_views", "1 and 1 when kind='train'", grid)
            low, high = self.short_side
            fits = (low, high) == (0, 0) or max(self.hw) <= low <= high
            _require(fits, "short_side", f"(0, 0) or {max(self.hw)} <= low <= high", self.short_side)
        else:
            _require(self.augmented_views == 1, "augmented_views", "1 when kind='eval'", self.augmented_views)
            _require(not self.flip, "flip", "False when kind='eval'", self.flip)
            _require(not self.randaugment, "randaugment", "none when kind='eval'", self.randaugment)
            _require(self.short_side == (0, 0), "short_side", "(0, 0) when kind='eval'", self.short_side)

    @property
    def count(self) -> int:
        """V, views of each clip."""
        return self.augmented_views if self.kind == "train" else self.temporal_views * self.spatial_views

    @property
    def frames(self) -> int:
        """T, frames of a view."""
        return self.sampling.frames

    def with_frames(self, frames: int) -> "ViewPlan":
        """The same plan with another T; of one frame it is the one that the sampling takes then."""
        return replace(self, sampling=replace(self.sampling, frames=frames))

    @property
    def hw(self) -> Size:
        """Height and width of a view in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else (self.size[0], self.size[1])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values of everything that decides the views' pixels; settings of the other kind are left
        out."""
        values: dict[str, Any] = asdict(self) | {"size": list(self.hw)}
        sampling: dict[str, Any] = values["sampling"]
        sampling["padding"] = self.sampling.fill
        for name in ("stride", "padding") if self.sampling.kind == "tsn" else ():
            sampling.pop(name)
        grid = ("temporal_views", "spatial_views")
        random = ("augmented_views", "seed", "flip", "randaugment", "crop_scale", "crop_ratio")
        for name in grid if self.kind == "train" else random:
            values.pop(name)
        if not self.sampling.fps:  # what came later is left out where it is off: older banks stay as they are
            sampling.pop("fps")
        if self.short_side == (0, 0):
            values.pop("short_side")
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ViewPlan":
        """The plan that `to_json` turned into plain values, or `dataclasses.asdict` and JSON did."""
        sampling = dict(values["sampling"])
        if sampling["kind"] != "dense":
            sampling.pop("padding", None)  # fixed by the kind
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        plain["sampling"] = Sampling(**sampling)
        return cls(**plain)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedClip:
    """The views of one clip and what its file turned out to be."""

    frames: UInt8[np.ndarray, "V T h w 3"]
    """RGB, not normalised."""
    indices: Int64[np.ndarray, "V T"]
    """Which frames of the video they are."""
    content: str
    """sha256 of the file's bytes, in hex: the clip's identity."""
    num_frames: int
    """Length of the video."""
    fps: float
    """Frames a second; 0 where there is none (images)."""
    width: int
    """Pixels, after rotation."""
    height: int
    """Pixels, after rotation."""
    rotation: int
    """Degrees clockwise that the file's metadata asked for, applied."""
    decoder: str
    """"decord", "pyav" or "image"."""
    quality: tuple[Quality, ...]
    """What is odd about each of the V views."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Augmentation:
    """What was drawn for one random view."""

    box: Box
    flip: bool
    seed: int


def decode_views(clip: Clip, plan: ViewPlan) -> DecodedClip:
    """Read, decode and crop all views of a clip.

    Raises:
        DecodeError: the clip cannot be read or decoded; its reason names the cause.
    """
    return decode_bytes(read_bytes(clip), clip.key, plan)


def decode_bytes(data: bytes, name: str, plan: ViewPlan) -> DecodedClip:
    """As decode_views, for a file that is already in memory; `name` is for errors."""
    content = hashlib.sha256(data).hexdigest()
    video = open_video(data, name)
    if plan.kind == "eval":
        views = [
            frame_indices(
                plan.sampling, video.num_frames, fps=video.fps, view=view, views=plan.temporal_views
            )
            for view in range(plan.temporal_views)
        ]
        frames = _eval_frames(video, np.stack(views), plan)
        indices = np.repeat(np.stack(views), plan.spatial_views, axis=0)
    else:
        drawn = [_draw(video, plan, content, view) for view in range(plan.count)]
        indices = np.stack([indices for indices, _ in drawn])
        frames = _train_frames(video, indices, [augmentation for _, augmentation in drawn], plan)
    return DecodedClip(
        frames=frames,
        indices=indices,
        content=content,
        num_frames=video.num_frames,
        fps=video.fps,
        width=video.width,
        height=video.height,
        rotation=video.rotation,
        decoder=video.decoder,
        quality=qualities(frames, indices, video.missing_frames, video.backward_times),
    )


def _eval_frames(video: Video, indices: np.ndarray, plan: ViewPlan) -> np.ndarray:
    """indices (temporal, T) -> frames (temporal * spatial, T, h, w, 3)."""
    out = np.empty((plan.temporal_views, plan.spatial_views, plan.frames, *plan.hw, 3), np.uint8)
    for group in _groups(video, indices):
        crops = eval_crops(video.read(group), plan.hw, resize=plan.resize, crops=plan.spatial_views)
        for view, frame in np.argwhere(np.isin(indices, group)):
            out[view, :, frame] = crops[:, np.searchsorted(group, indices[view, frame])]
    return out.reshape(-1, *out.shape[2:])


def _train_frames(
    video: Video, indices: np.ndarray, drawn: list[_Augmentation], plan: ViewPlan
) -> np.ndarray:
    """indices (V, T) -> frames (V, T, h, w, 3). RandAugment sees the whole frame, before the crop, as in
    EVL."""
    out = np.empty((*indices.shape, *plan.hw, 3), np.uint8)
    for group in _groups(video, indices):
        frames = video.read(group)
        for view, augmentation in enumerate(drawn):
            chosen = np.isin(group, indices[view])
            if not chosen.any():
                continue
            cut = frames[chosen]
            if plan.randaugment:
                cut = rand_augment(cut, plan.randaugment, augmentation.seed)
            cut = crop_to(cut, augmentation.box, plan.hw, resize=plan.resize)
            cut = flipped(cut) if augmentation.flip else cut
            places = np.flatnonzero(np.isin(indices[view], group))
            out[view, places] = cut[np.searchsorted(group[chosen], indices[view, places])]
    return out


def _draw(video: Video, plan: ViewPlan, content: str, view: int) -> tuple[np.ndarray, _Augmentation]:
    """Everything random about one view, always drawn in the same order."""
    rng = np.random.default_rng([plan.seed, int(content, 16), view])
    indices = frame_indices(plan.sampling, video.num_frames, fps=video.fps, rng=rng)
    box = _draw_box(video, plan, rng)
    flip = bool(rng.random() < 0.5) and plan.flip
    return indices, _Augmentation(box=box, flip=flip, seed=int(rng.integers(2**32)))


def _draw_box(video: Video, plan: ViewPlan, rng: np.random.Generator) -> Box:
    if plan.short_side != (0, 0):
        return window_box(video.height, video.width, rng, size=plan.hw, short_side=plan.short_side)
    return random_box(video.height, video.width, rng, scale=plan.crop_scale, ratio=plan.crop_ratio)


def _groups(video: Video, indices: np.ndarray) -> list[np.ndarray]:
    """The distinct indices in ascending order, cut so that a group's frames stay below GROUP_BYTES."""
    distinct = np.unique(indices)
    length = max(1, GROUP_BYTES // (video.width * video.height * 3))
    return [distinct[start : start + length] for start in range(0, len(distinct), length)]


def _require(valid: bool, name: str, expected: str, found: object) -> None:
    if not valid:
        raise ValueError(f"views.{name}: expected {expected}; found {found!r}; change it or leave it out")
