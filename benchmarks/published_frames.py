"""Which frames EVL's published code takes, written down a second time: from its rules, not from ours.

Training takes `frames` a `stride` apart from a random start; past the end, the last one that was taken is
repeated. Evaluation repeats the video's last frame instead, and view i of V starts at round(slack / (V - 1) *
i), a single view in the middle. With segments (TSN) there is one frame from each of as many equal parts of
[0, length - 1]; which one is evaluated is not published, since evaluation by segments fails in that code.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def is_published(plan: Mapping[str, Any], view: int, found: Sequence[int], length: int) -> bool:
    """Whether the published code could have taken these frames for a view of a video of `length` frames.

    Args:
        plan: the views of a bank, as its spec has them.
        view: number of the view: the crops of one time, then those of the next.
    """
    kind, frames = plan["sampling"]["kind"], plan["sampling"]["frames"]
    if kind == "tsn":
        edges = [round((length - 1) / frames * i) for i in range(frames + 1)]
        return (
            all(low <= index <= high for low, index, high in zip(edges, found, edges[1:], strict=False))
            and len(found) == frames
        )
    stride = plan["sampling"]["stride"]
    if kind == "evl-train":
        return list(found) == training_frames(found[0], length, frames, stride)
    in_time, time = plan["temporal_views"], view // plan["spatial_views"]
    return list(found) == evaluation_frames(length, frames, stride, start_of=(time, in_time))


def training_frames(start: int, length: int, frames: int, stride: int) -> list[int]:
    """From `start`, if training can start there: where the span fits, or at 0. Otherwise none."""
    if start > max(0, length - (frames - 1) * stride - 1):
        return []
    taken = [start + i * stride for i in range(frames) if start + i * stride < length]
    return taken + [taken[-1]] * (frames - len(taken))


def evaluation_frames(length: int, frames: int, stride: int, *, start_of: tuple[int, int]) -> list[int]:
    """The i-th view of V in time, `start_of` = (i, V)."""
    view, views = start_of
    slack = max(0, length - (frames - 1) * stride - 1)
    start = slack // 2 if views == 1 else round(slack / (views - 1) * view)
    taken = [start + i * stride for i in range(frames) if start + i * stride < length]
    return taken + [length - 1] * (frames - len(taken))
