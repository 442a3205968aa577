"""A child process that decodes videos one by one, and ends where a video takes too much of anything.

Only the parent can enforce a limit on native code: while it waits for the answer it looks at the clock and at
the child's resident memory (`psutil`, some 20 us a look, 20 times a second). One video is in flight at a
time, so the culprit is known. A video that allocates 2 GB a second is about 0.1 GB above its limit when it is
ended; RLIMIT_AS would be exact, but it counts address space, of which libraries reserve far more than they
use.
"""

import signal
import subprocess
import sys
import time
from multiprocessing.connection import Pipe

import psutil

from video import Clip, DecodedClip, DecodeError, Fault, ViewPlan

CHILD = (sys.executable, "-P", "-m", "video.decode_child")
"""The child's command; a file descriptor to talk over is added."""
LOOK_SECONDS = 0.05
START_SECONDS = 120.0
"""In which a child must have started; on a busy machine its imports alone take many seconds."""


class DecodeProcess:
    """A child process that decodes videos one by one."""

    def __init__(self) -> None:
        self._busy = self._started = False
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [*CHILD, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._watched = psutil.Process(self._process.pid)

    def decode(self, clip: Clip, plan: ViewPlan, *, seconds: float, memory_gb: float) -> DecodedClip:
        """The clip's views.

        Args:
            seconds: wall-clock limit.
            memory_gb: limit of the child's resident memory, in 10^9 bytes.

        Raises:
            DecodeError: the video's own fault: unreadable, too slow, too large, or fatal to the decoder.
        """
        self._busy = True
        try:
            self._await_start(clip)
            self._connection.send((clip, plan))
            self._wait(clip, seconds, memory_gb)
            answer = self._connection.recv()
        except (EOFError, ConnectionError, BrokenPipeError):
            reason = f"the decoder died: {death_of(self._process)}"
            raise DecodeError(reason, clip.key, error=Fault.DECODER_DIED) from None
        self._busy = False
        if isinstance(answer, DecodedClip):
            return answer
        raise answer

    def _await_start(self, clip: Clip) -> None:
        """Until the child says that it is there, so that no video is charged for its imports.

        Raises:
            DecodeError: it never does.
        """
        if not self._started and not self._connection.poll(START_SECONDS):
            reason = f"the decoder died: it did not start within {START_SECONDS:g} s"
            raise DecodeError(reason, clip.key, error=Fault.DECODER_DIED)
        if not self._started:
            self._started = self._connection.recv()

    def _wait(self, clip: Clip, seconds: float, memory_gb: float) -> None:
        """Until there is an answer, or the child is gone.

        Raises:
            DecodeError: a limit was passed.
        """
        end = time.monotonic() + seconds
        while not self._connection.poll(min(LOOK_SECONDS, max(0.0, end - time.monotonic()))):
            if time.monotonic() >= end:
                raise DecodeError(f"decoding took longer than {seconds:g} s", clip.key, error=Fault.TOO_SLOW)
            seen = self.resident_gb
            if seen > memory_gb:
                reason = f"decoding took more than {memory_gb:g} GB of memory"
                error = DecodeError(reason, clip.key, error=Fault.TOO_MUCH_MEMORY)
                error.add_note(f"{seen:.2f} GB when it was ended")  # differs from run to run
                raise error

    @property
    def resident_gb(self) -> float:
        """The child's memory now, in 10^9 bytes; 0 once it is gone."""
        try:
            return self._watched.memory_info().rss / 1e9
        except psutil.Error:
            return 0.0

    @property
    def usable(self) -> bool:
        """Whether the child waits for the next video; false once it died or passed a limit."""
        return self._process.poll() is None and not self._busy

    def stop(self) -> None:
        """End the child, busy or not."""
        self._connection.close()
        self._process.kill()
        self._process.wait()


def death_of(process: subprocess.Popen[bytes]) -> str:
    """How a child ended, in words."""
    code = process.wait()
    return f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
