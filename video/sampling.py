"""Which frames of a video make a clip: pure functions from a length to indices.

Dense sampling takes T frames a fixed stride apart, TSN sampling (Wang et al., 2016, arXiv 1608.00859) one
frame from each of T equal segments. Dense clips keep the speed of the motion and see a part of the video,
segments see all of it. With a generator the choice is random (training); without one it is fixed
(evaluation).

The two EVL kinds reproduce that method's published indices (Lin et al., 2022, arXiv 2208.03550), which pad a
video that is too short in two different ways: in training the last *sampled* frame is repeated, in evaluation
the last frame of the video.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int64

Kind = Literal["dense", "tsn", "evl-train", "evl-eval"]
Padding = Literal["last-frame", "last-sampled"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How T frames are chosen."""

    kind: Kind = "dense"
    """"dense": T x stride; "tsn": one frame per segment; "evl-train", "evl-eval": EVL's own dense indices and
    padding."""
    frames: int = 8
    """T, frames in a clip."""
    stride: int = 16
    """Distance between sampled frames, in frames of the video; TSN has none."""
    padding: Padding | None = None
    """What fills a dense clip when the video is too short: its last frame (None means this one) or the last
    sampled one."""
    fps: float = 0.0
    """Frames a second at which a dense clip's stride is meant: 16 at 30 is 16/30 s in any video. 0 counts the
    video's own frames."""

    def __post_init__(self):
        kinds, paddings = get_args(Kind), (None, *get_args(Padding))
        if self.kind not in kinds:
            raise ValueError(
                f"sampling.kind: expected one of {kinds}; found {self.kind!r}; choose one of them"
            )
        if self.frames < 1 or self.stride < 1:
            raise ValueError(
                f"sampling: expected frames and stride of at least 1; found {self.frames} and {self.stride}; "
                "raise them (for one frame per segment use kind='tsn')"
            )
        if self.padding not in paddings:
            raise ValueError(
                f"sampling.padding: expected one of {paddings}; found {self.padding!r}; choose one"
            )
        if self.fps < 0 or (self.fps and self.kind != "dense"):
            raise ValueError(
                f"sampling.fps: expected 0, or a positive rate where kind is dense; found {self.fps} and "
                f"kind {self.kind!r}; leave it out or use dense"
            )
        if self.padding is not None and self.kind != "dense":
            raise ValueError(
                f"sampling.padding: expected none, since kind {self.kind!r} fixes its own; "
                f"found {self.padding!r}; leave it out or use dense"
            )

    @property
    def fill(self) -> Padding:
        """The padding in force."""
        return "last-sampled" if self.kind == "evl-train" else self.padding or "last-frame"

    def stride_at(self, fps: float) -> float:
        """Distance between sampled frames, in frames of a video of so many a second (0: it has no rate)."""
        return self.stride * fps / self.fps if self.fps and fps else self.stride

    def span_at(self, fps: float) -> int:
        """Frames of such a video from the first to the last sampled one."""
        return round((self.frames - 1) * self.stride_at(fps)) + 1


def frame_indices(
    sampling: Sampling,
    num_frames: int,
    *,
    fps: float = 0.0,
    view: int = 0,
    views: int = 1,
    rng: np.random.Generator | None = None,
) -> Int64[np.ndarray, " T"]:
    """Indices of the T frames of one view.

    Args:
        sampling: the rule.
        num_frames: length of the video.
        fps: its frames a second, 0 where it has no rate; of no matter without `sampling.fps`.
        view, views: which of how many temporal views; only without `rng`.
        rng: makes the choice random (training).

    Raises:
        ValueError: no frames, or an EVL kind used on the other side.
    """
    if num_frames < 1:
        raise ValueError(f"expected a video of at least 1 frame; found {num_frames}; leave it out")
    if sampling.kind == "evl-train" and rng is None:
        raise ValueError(
            "sampling 'evl-train' is random: expected a generator; found none; use 'evl-eval' to evaluate"
        )
    if sampling.kind == "evl-eval" and rng is not None:
        raise ValueError(
            "sampling 'evl-eval' is fixed: expected no generator; found one; use 'evl-train' to train"
        )
    if sampling.kind == "tsn":
        return tsn_indices(num_frames, sampling.frames, view=view, views=views, rng=rng)
    start = dense_start(num_frames, sampling.span_at(fps), view=view, views=views, rng=rng)
    return dense_indices(num_frames, sampling, start=start, fps=fps)


def dense_start(
    num_frames: int, span: int, *, view: int = 0, views: int = 1, rng: np.random.Generator | None = None
) -> int:
    """First frame of a dense clip: random, or view i of V at round(slack / (V - 1) * i), the middle for one
    view."""
    slack = max(0, num_frames - span)
    if rng is not None:
        return int(rng.integers(slack + 1))
    if views == 1:
        return slack // 2
    return round(slack / (views - 1) * view)


def dense_indices(
    num_frames: int, sampling: Sampling, *, start: int = 0, fps: float = 0.0
) -> Int64[np.ndarray, " T"]:
    """T indices from `start`, a stride apart; those past the end are the last frame or the last one
    sampled."""
    steps = np.round(np.arange(sampling.frames) * sampling.stride_at(fps)).astype(np.int64)
    inside = steps[start + steps < num_frames]
    last = start + inside[-1] if sampling.fill == "last-sampled" else num_frames - 1
    return np.minimum(start + steps, last)


def tsn_indices(
    num_frames: int, frames: int, *, view: int = 0, views: int = 1, rng: np.random.Generator | None = None
) -> Int64[np.ndarray, " T"]:
    """One index from each of T equal segments of [0, num_frames - 1], whose ends both belong to them.

    Random: uniform in the segment. Fixed: view i of V at the fraction (2 i + 1) / (2 V) of every segment,
    which is the centre for a single view.
    """
    edges = np.array([round((num_frames - 1) / frames * i) for i in range(frames + 1)], dtype=np.int64)
    start, end = edges[:-1], edges[1:]
    if rng is not None:
        return rng.integers(start, end, endpoint=True, dtype=np.int64)
    return start + (end - start) * (2 * view + 1) // (2 * views)
