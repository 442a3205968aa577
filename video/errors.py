"""What can go wrong between a user's folder and a tensor of frames.

Two kinds, because they are handled differently: an InputError is a mistake in what the user asked for and
ends the run at once, before anything is decoded; a DecodeError belongs to one clip, is recorded with its
reason, and the run goes on.
"""

from video.faults import Fault, Stage


class VideoError(Exception):
    """Base of everything this room raises on purpose."""


class InputError(VideoError, ValueError):
    """A folder, list or tar pattern that cannot be listed: says what was expected, what was found, what to
    do."""


class DecodeError(VideoError):
    """One clip that could not be read or decoded. `reason`, also its text, is one line that names the cause;
    `name` is the clip's, where it is known. Notes (`add_note`) hold what differs from run to run."""

    def __init__(
        self,
        reason: str,
        name: str = "",
        *,
        error: Fault = Fault.DAMAGED,
        stage: Stage = Stage.DECODE,
        decoder: str = "",
    ):
        super().__init__(reason, name)  # so that the error survives pickling; the rest travels as attributes
        self.reason = reason
        self.name = name
        self.error = error
        self.stage = stage
        self.decoder = decoder
        """Which decoder gave up; empty where none was asked."""

    def __str__(self) -> str:
        return self.reason
