"""Frames by decord, the fast path, where its frame numbers can be trusted.

decord goes to a frame by seeking to a keyframe and counting from there, and it counts wrongly, without a
word, where frames after the keyframe are shown before it (open GOPs, the default of x265), where the
container's times are not those of presentation (AVI with B-frames, as most UCF101 and HMDB51 files) and where
seeking is inexact (MPEG-TS, MPEG-PS, FLV, ASF): in tests with numbered frames 90 % of the frames asked for
were others. It also counts frames that an edit list hides (videos trimmed without re-encoding). All of that
shows in the packets' times, so those are checked first; a file that fails goes to PyAV, which decodes from
the start and is exact.

decord also hides damage: where a frame fails it returns a copy of a neighbour. `fault_tol` makes it raise
instead; it is the share of frames that may fail, and 0 means "no check" there, hence the tiny number. On such
a file too PyAV has the last word, and its reason, not decord's C++ check, is what the user reads.

decord is published for x86-64 only; elsewhere every file goes to PyAV and the rows say so.
"""

import io
from typing import Any

import numpy as np
from jaxtyping import UInt8

from video.containers import is_fragmented
from video.pyav_video import PyAVVideo, Refused

# After PyAV: decord makes its symbols global, and a PyAV loaded later would call decord's libvpx of 2019.
try:
    import decord
    from decord._ffi.base import DECORDError, DECORDLimitReachedError

    FAILURES = (RuntimeError, AssertionError, DECORDError, DECORDLimitReachedError)
except ImportError:  # not published for this platform
    decord = None
    FAILURES = (RuntimeError,)

INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
NO_FAULTS: Any = 1e-9  # declared int there, read as a number


class DecordVideo:
    """An open video, decoded by decord; `look` is the same file opened with PyAV."""

    def __init__(self, data: bytes, look: PyAVVideo):
        """Raises Refused if decord cannot open the file or would show it in another shape."""
        self.name = look.name
        self.decoder = "decord"
        self._look = look
        if not look.alone:
            raise Refused("decord may choose another of several video streams")
        times = look.packet_times  # before decord opens the file, which may crash where this raises
        if not _indexed(data, look):
            raise Refused(f"decord would miscount the frames of this {look.container} file")
        self._reader = _reader(data)
        self.num_frames = len(self._reader)
        if self.num_frames != len(times):
            raise Refused(f"decord counts {self.num_frames} frames, FFmpeg shows {len(times)}")
        if not counts_exactly(times, np.array(self._reader.get_key_indices())):
            raise Refused("decord would miscount the frames: its keyframes are no clean starts")
        self.missing_frames, self.backward_times = look.missing_frames, look.backward_times
        self.fps = look.fps
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
        except FAILURES as error:
            raise Refused(str(error)) from error


def counts_exactly(times: np.ndarray, keys: np.ndarray) -> bool:
    """Whether frames counted from each keyframe are in order of presentation: nothing stored before it is
    shown after it, nothing stored after it is shown before it.

    Args:
        times: presentation times of the packets in stored order, NaN for none.
        keys: positions of the keyframes among them.
    """
    if np.isnan(times).any():
        return False
    before = np.maximum.accumulate(np.concatenate([[-np.inf], times[:-1]]))
    after = np.minimum.accumulate(times[::-1])[::-1]
    return bool(((before < times) & (times == after))[keys].all())


def _indexed(data: bytes, look: PyAVVideo) -> bool:
    """Whether the container lists every packet with its presentation time, so that a seek ends where it
    should."""
    if look.container == "avi":  # lists packets, but in stored order
        return not look.reorders
    return look.container in INDEXED and not is_fragmented(data)


def _reader(data: bytes) -> Any:
    if decord is None:
        raise Refused("decord is not installed")
    decord.logging.set_level(decord.logging.QUIET)
    try:
        return decord.VideoReader(io.BytesIO(data), num_threads=1, fault_tol=NO_FAULTS)
    except FAILURES as error:
        raise Refused(str(error)) from error
