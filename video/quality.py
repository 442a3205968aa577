"""What is odd about a decoded row, as small numbers: marks, not verdicts.

A bank keeps a row of a video that plays badly, since leaving it out would be a choice about the data set that
is not framebank's to make; it says how badly, so that the choice can be made later. Frames are judged as the
tower sees them, after resizing and cropping. That is what a training gets, and it is cheap: 1 to 4 ms for 8
frames of 224 x 224, whose decoding takes some hundred.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

BLACK_LEVEL = 25  # of 255: a tenth of full brightness
BLACK_SHARE = 0.98
CONSTANT_RANGE = 2  # of 255: what rounding and colour conversion make of a single colour
GRID = 7  # a frame that varies on every 7th pixel is not constant; most are done with here


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """Marks of one view; all 0 for a sound one."""

    repeated_frames: int
    """Frames with an index of their own that equal, pixel for pixel, one with another index."""
    black_frames: int
    """Frames of which at least 98 % of all values are at most 25 of 255."""
    constant_frames: int
    """Frames of a single colour: no channel varies by more than 2 of 255. Black ones count here too."""
    missing_frames: int | None
    """Frames that the container announces beyond those it holds; None where it announces no number."""
    backward_times: int
    """Packets whose decoding time is before that of the packet stored before them."""


def qualities(
    frames: UInt8[np.ndarray, "V T h w 3"],
    indices: Int64[np.ndarray, "V T"],
    missing: int | None,
    backward: int,
) -> tuple[Quality, ...]:
    """Marks of each view of a clip.

    Args:
        frames, indices: the views and which frames of the video they are.
        missing, backward: frames announced in vain and steps back in time, as the video's packets told.
    """
    return tuple(
        Quality(
            repeated_frames=repeated_frames(view, chosen),
            black_frames=sum(is_black(frame) for frame in view),
            constant_frames=sum(is_constant(frame) for frame in view),
            missing_frames=missing,
            backward_times=backward,
        )
        for view, chosen in zip(frames, indices, strict=True)
    )


def repeated_frames(frames: UInt8[np.ndarray, "T h w 3"], indices: Int64[np.ndarray, " T"]) -> int:
    """Distinct indices less distinct pictures under them: one frame asked for twice is no repeat."""
    _, first = np.unique(indices, return_index=True)
    return len(first) - len({frames[place].tobytes() for place in first})


def is_black(frame: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Whether a frame is dark nearly everywhere."""
    return bool(np.count_nonzero(frame <= BLACK_LEVEL) >= BLACK_SHARE * frame.size)


def is_constant(frame: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Whether a frame shows a single colour."""
    return _uniform(frame[::GRID, ::GRID]) and _uniform(frame)


def missing_frames(announced: int, found: int) -> int | None:
    """How many frames a container promises in vain; `announced` is 0 where it promises no number."""
    return max(0, announced - found) if announced else None


def backward_times(times: Sequence[float | None]) -> int:
    """Steps back among decoding times in stored order; packets without one are passed over."""
    known = np.array([time for time in times if time is not None], dtype=np.float64)
    return int((np.diff(known) < 0).sum())


def _uniform(frame: np.ndarray) -> bool:
    columns_high, columns_low = frame.max(0), frame.min(0)  # the long, contiguous axis first: quicker
    return int((columns_high.max(0).astype(int) - columns_low.min(0)).max()) <= CONSTANT_RANGE
