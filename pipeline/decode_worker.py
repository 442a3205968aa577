"""Decoding in a child process, one video at a time, so that no video can take the run down.

decord and FFmpeg are native code: on damaged input they may crash or hang, and a Ray worker that dies of it
would be retried with the same video for ever. Here the culprit is always known: the one video in flight.
The child is an ordinary `python -m pipeline.decode_child`, spoken to over a socket pair; it is kept between
videos (starting one costs about a second) and replaced after a crash or a timeout.
"""

import functools
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing.connection import Pipe
from typing import Any

from pipeline.task import ShardTask, clip_of
from storage import FAILED, FILTERED, WRITTEN
from video import Clip, DecodedClip, DecodeError, ViewPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeLimits:
    """What one video may cost, and which are left out on purpose."""

    seconds: float = 300.0
    """Wall-clock limit of one video; a slower one counts as failed."""
    min_frames: int = 1
    """Videos with fewer frames are filtered: left out on purpose, never tried again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeOutcome:
    """What became of one video: its views, or why there are none."""

    outcome: str
    """written (so far), filtered or failed."""
    reason: str = ""
    """Empty for a decoded video."""
    clip: DecodedClip | None = None
    """The frames and facts of a decoded video."""


class DecodeProcess:
    """A child process that decodes videos one by one."""

    def __init__(self) -> None:
        self._busy = False
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.decode_child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def decode(self, clip: Clip, plan: ViewPlan, *, seconds: float) -> DecodedClip:
        """The clip's views.

        Raises:
            DecodeError: the video's own fault: unreadable, too slow, or fatal to the decoder.
        """
        self._busy = True
        try:
            self._connection.send((clip, plan))
            if not self._connection.poll(seconds):
                raise DecodeError(f"decoding took longer than {seconds:g} s", clip.key)
            answer = self._connection.recv()
        except (EOFError, ConnectionError, BrokenPipeError):
            raise DecodeError(f"the decoder died: {death_of(self._process)}", clip.key) from None
        self._busy = False
        if isinstance(answer, DecodedClip):
            return answer
        raise DecodeError(answer, clip.key)

    @property
    def usable(self) -> bool:
        """Whether the child waits for the next video; false once it died or was too slow."""
        return self._process.poll() is None and not self._busy

    def stop(self) -> None:
        """End the child, busy or not."""
        self._connection.close()
        self._process.kill()
        self._process.wait()


def death_of(process: subprocess.Popen[Any]) -> str:
    """How a child ended, in words."""
    code = process.wait()
    return f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"


@functools.cache
def own_process() -> list[DecodeProcess]:
    """This worker's decode process, once started; a list so that a dead one can be replaced."""
    return []


def decode_isolated(clip: Clip, plan: ViewPlan, limits: DecodeLimits) -> DecodeOutcome:
    """Decode one clip in this worker's child process; never raises for the clip's sake."""
    held = own_process()
    if not held:
        held.append(DecodeProcess())
    try:
        decoded = held[0].decode(clip, plan, seconds=limits.seconds)
    except DecodeError as error:
        if not held[0].usable:
            held.pop().stop()
        return DecodeOutcome(outcome=FAILED, reason=error.reason)
    if decoded.num_frames < limits.min_frames:
        return DecodeOutcome(
            outcome=FILTERED,
            reason=f"{decoded.num_frames} frames, fewer than the {limits.min_frames} asked for",
        )
    return DecodeOutcome(outcome=WRITTEN, clip=decoded)


def decode_shard(row: dict[str, Any], plan: ViewPlan, limits: DecodeLimits) -> dict[str, Any]:
    """The decode stage: every clip of one shard, one after the other.

    Args:
        row: `task`, a pickled ShardTask.

    Returns:
        `work`: the pickled pair of the task and an outcome per clip of it.
    """
    task: ShardTask = pickle.loads(row["task"])
    outcomes = [decode_isolated(clip_of(line), plan, limits) for line in task.lines]
    return {"work": pickle.dumps((task, outcomes), protocol=5)}
