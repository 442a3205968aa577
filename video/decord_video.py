"""Frames by decord, the fast path.

decord hides damage: where a frame fails it returns a copy of a neighbour. `fault_tol` makes it raise instead;
it is the share of frames that may fail, and 0 means "no check" there, hence the tiny number. On such a file
PyAV has the last word, so that its reason, not decord's C++ check, is what the user reads.

decord is published for x86-64 only; elsewhere every file goes to PyAV and the rows say so.
"""

import io

import numpy as np
from jaxtyping import UInt8

try:
    import decord
except ImportError:  # not published for this platform
    decord = None

from video.pyav_video import PyAVVideo, Refused

NO_FAULTS = 1e-9


class DecordVideo:
    """An open video, decoded by decord; `look` is the same file opened with PyAV."""

    def __init__(self, data: bytes, look: PyAVVideo):
        """Raises Refused if decord cannot open the file or would show it in another shape."""
        self.name = look.name
        self.decoder = "decord"
        self._look = look
        self._reader = _reader(data)
        self.num_frames = len(self._reader)
        self.fps = float(self._reader.get_avg_fps())
        self.rotation = look.rotation
        self.width, self.height = look.width, look.height
        if self.rotation and self._frames([0]).shape[1:3] != (self.height, self.width):
            raise Refused("decord does not apply this file's rotation")

    def read(self, indices: np.ndarray) -> UInt8[np.ndarray, "n H W 3"]:
        """RGB frames in the order asked, repeats allowed. Raises DecodeError."""
        try:
            return self._frames(np.asarray(indices).tolist())
        except Refused:
            self.decoder = self._look.decoder
            return self._look.read(indices)

    def _frames(self, indices: list[int]) -> np.ndarray:
        try:
            return self._reader.get_batch(indices).asnumpy()
        except (RuntimeError, decord.DECORDError) as error:
            raise Refused(str(error)) from error


def _reader(data: bytes) -> "decord.VideoReader":
    if decord is None:
        raise Refused("decord is not installed")
    decord.logging.set_level(decord.logging.QUIET)
    try:
        return decord.VideoReader(io.BytesIO(data), num_threads=1, fault_tol=NO_FAULTS)
    except (RuntimeError, AssertionError, decord.DECORDError) as error:
        raise Refused(str(error)) from error
