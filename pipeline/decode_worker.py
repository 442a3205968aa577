"""Decoding in a child process, one video at a time, so that no video can take the run down.

decord and FFmpeg are native code: on damaged input they may crash, hang or eat all memory, and a Ray worker
that dies of it would be retried with the same video for ever. Here the culprit is always known: the one video
in flight. The child (`decode_process`) is kept between videos, since starting one costs about a second, and
replaced after a crash or a passed limit, or when it has grown so much that the next video would pay for those
before it.
"""

import functools
import time
from dataclasses import dataclass

from storage import FAILED, FILTERED, WRITTEN
from video import Clip, DecodedClip, DecodeError, Fault, Stage, ViewPlan
from video.decode_process import DecodeProcess

GROWN = 0.5
"""Share of the memory limit above which a child that waits is replaced."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeLimits:
    """What one video may cost, and which are left out on purpose."""

    seconds: float = 300.0
    """Wall-clock limit of one video; a slower one counts as failed."""
    memory_gb: float = 4.0
    """Resident memory of a decoding process, in 10^9 bytes; a video that takes more counts as failed."""
    min_frames: int = 1
    """Videos with fewer frames are filtered: left out on purpose, never tried again. An image of which one
    frame is kept is no video.
    """

    def __post_init__(self) -> None:
        for name in ("seconds", "memory_gb", "min_frames"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"limits.{name} is at least 0, not {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeOutcome:
    """What became of one video: its views, or why there are none."""

    outcome: str
    """written (so far), filtered or failed."""
    reason: str = ""
    """One line; empty for a decoded video."""
    error: str = ""
    """The reason as a word, one of `video.Fault`; empty for a decoded video."""
    stage: str = ""
    """Where it happened, one of `video.Stage`; empty for a decoded video."""
    notes: tuple[str, ...] = ()
    """What else is known of a failure, and may differ from run to run."""
    decoder: str = ""
    """Which decoder gave up on the video, where that is known."""
    seconds: float = 0.0
    """Wall-clock time that the video took, whatever became of it."""
    clip: DecodedClip | None = None
    """The frames and facts of a decoded video."""


@functools.cache
def own_process() -> list[DecodeProcess]:
    """This worker's decode process, once started; a list so that a dead one can be replaced."""
    return []


def decode_isolated(clip: Clip, plan: ViewPlan, limits: DecodeLimits) -> DecodeOutcome:
    """Decode one clip in this worker's child process; never raises for the clip's sake."""
    held = own_process()
    if held and not held[0].usable:  # it died between two videos, which is neither one's fault
        held.pop().stop()
    if not held:
        held.append(DecodeProcess())
    started = time.perf_counter()
    try:
        decoded = held[0].decode(clip, plan, seconds=limits.seconds, memory_gb=limits.memory_gb)
    except DecodeError as error:
        return failure(error, seconds=time.perf_counter() - started)
    finally:
        if not held[0].usable or held[0].resident_gb > GROWN * limits.memory_gb:
            held.pop().stop()
    return judged(decoded, limits, seconds=time.perf_counter() - started)


def failure(error: DecodeError, *, seconds: float) -> DecodeOutcome:
    """The outcome of a clip that could not be decoded."""
    return DecodeOutcome(
        outcome=FAILED,
        reason=error.reason,
        error=error.error,
        stage=error.stage,
        notes=tuple(getattr(error, "__notes__", ())),
        decoder=error.decoder,
        seconds=seconds,
    )


def judged(decoded: DecodedClip, limits: DecodeLimits, *, seconds: float) -> DecodeOutcome:
    """The outcome of a decoded clip: it may be too short."""
    still = decoded.decoder == "image" and decoded.frames.shape[1] == 1
    if still or decoded.num_frames >= limits.min_frames:
        return DecodeOutcome(outcome=WRITTEN, clip=decoded, seconds=seconds)
    return DecodeOutcome(
        outcome=FILTERED,
        reason=f"{decoded.num_frames} frames, fewer than the {limits.min_frames} asked for",
        error=Fault.TOO_FEW_FRAMES,
        stage=Stage.DECODE,
        decoder=decoded.decoder,
        seconds=seconds,
    )
