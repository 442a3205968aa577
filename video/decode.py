"""Opening a clip's bytes as a video: decord first, PyAV where decord cannot, Pillow for images.

decord 0.6 is the fastest of the three for sparse frames but carries an FFmpeg of 2019: it has no AV1 decoder,
explains its failures poorly and prints some of them. So every file is first looked at with PyAV, whose FFmpeg
is current: 1-3 ms to open, plus one decoded frame, against some hundred for decoding a clip. That look finds
audio-only, foreign and broken files and gives each its true reason; what remains goes to decord, and to PyAV
if decord refuses. Both return the same frames under the same indices (a test numbers frames and reads the
numbers back).

Bytes rather than paths, because the content digest needs all bytes anyhow, a member of a tar has no path, and
what is hashed is then what is decoded. The price is memory: about twice the file's size while it is open.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from video.containers import truncation
from video.decord_video import DecordVideo
from video.errors import DecodeError
from video.faults import Fault, Stage
from video.image import ImageVideo, is_image
from video.pyav_video import PyAVVideo, Refused


class Video(Protocol):
    """An open video. `rotation`: degrees clockwise that its metadata asks for, already applied to frames,
    width and height. `missing_frames` and `backward_times`: see `video.quality.Quality`."""

    fps: float
    width: int
    height: int
    rotation: int
    decoder: str

    @property
    def num_frames(self) -> int:
        """Length of the video. Raises DecodeError."""
        ...

    @property
    def missing_frames(self) -> int | None:
        """Frames announced in vain. Raises DecodeError."""
        ...

    @property
    def backward_times(self) -> int:
        """Steps back in time. Raises DecodeError."""
        ...

    def read(self, indices: np.ndarray) -> UInt8[np.ndarray, "n H W 3"]:
        """RGB frames in the order asked, repeats allowed. Raises DecodeError."""
        ...


def open_video(data: bytes, name: str) -> Video:
    """Open a video or image.

    Args:
        data: the whole file.
        name: the clip's name, for errors.

    Raises:
        DecodeError: empty, truncated, audio only, no media file, or undecodable; the reason says which.
    """
    if not data:
        raise DecodeError("empty file (0 bytes)", name, error=Fault.EMPTY, stage=Stage.OPEN)
    if missing := truncation(data):
        raise DecodeError(f"truncated: {missing}", name, error=Fault.TRUNCATED, stage=Stage.OPEN)
    if is_image(data):
        return ImageVideo(data, name)
    look = PyAVVideo(data, name)
    try:
        return DecordVideo(data, look)
    except Refused:
        return look


def decoder_versions() -> dict[str, str]:
    """Versions of the libraries that decide pixel values, for the bank's spec; "absent" for one not
    installed."""
    return {package: _version(package) for package in ("av", "decord", "pillow")}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
