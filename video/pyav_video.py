"""Frames by PyAV: the look that every file gets first, and the decoder for what decord refuses.

A frame's index is its place in the order of presentation, which is the order in which FFmpeg hands frames
out; only frames that were asked for are converted to RGB (conversion costs as much as decoding). Decoding
runs from the start of the video to the last frame needed, on one thread.
"""

import io
from typing import cast

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8

from video.errors import DecodeError

DAMAGE = (av.error.FFmpegError, IndexError)  # PyAV's own, where damage makes new streams appear while reading


class Refused(Exception):
    """decord cannot serve this file; PyAV may."""


class PyAVVideo:
    """An open video, decoded by PyAV."""

    decoder = "pyav"

    def __init__(self, data: bytes, name: str):
        """Raises DecodeError if the bytes hold no decodable video."""
        self.name = name
        self._data = data
        self._packet_times: np.ndarray | None = None
        with self._open() as container:
            stream = self._stream(container)
            self.alone = len(container.streams.video) == 1
            self.container = container.format.name
            self.fps = float(stream.average_rate or stream.guessed_rate or 0.0)
            first = self._first(container)
            self.reorders = bool(stream.codec_context.has_b_frames)
        self.rotation = 0 if first.rotation % 90 else -first.rotation % 360
        turned = self.rotation in (90, 270)
        self.width, self.height = (first.height, first.width) if turned else (first.width, first.height)

    @property
    def num_frames(self) -> int:
        """Length of the video: packets of its stream that will be shown, counted once. Raises DecodeError."""
        return len(self.packet_times)

    @property
    def packet_times(self) -> np.ndarray:
        """Presentation time of each packet in stored (decoding) order, NaN where the container has none;
        without those that an edit list hides. Costs about 10 us a packet, once. Raises DecodeError."""
        if self._packet_times is None:
            self._packet_times = self._scan()
        return self._packet_times

    def read(self, indices: np.ndarray) -> UInt8[np.ndarray, "n H W 3"]:
        """RGB frames in the order asked, repeats allowed. Raises DecodeError."""
        order = np.asarray(indices).tolist()
        found = self._decode(set(order))
        return np.stack([found[index] for index in order])

    def _decode(self, wanted: set[int]) -> dict[int, np.ndarray]:
        """Decode from the start to the last frame wanted."""
        found: dict[int, np.ndarray] = {}
        seen = 0
        with self._open() as container:
            try:
                for frame in container.decode(self._stream(container)):
                    if seen in wanted:
                        found[seen] = self._rgb(frame)
                    seen += 1
                    if len(found) == len(wanted):
                        return found
            except DAMAGE as error:
                raise DecodeError(
                    f"damaged: frame {seen} cannot be decoded ({_cause(error)})", self.name
                ) from error
        raise DecodeError(
            f"damaged: the video ends after {seen} decoded frames, its container announced {self.num_frames}",
            self.name,
        )

    def _rgb(self, frame: VideoFrame) -> np.ndarray:
        turned = self.rotation in (90, 270)
        width, height = (self.height, self.width) if turned else (self.width, self.height)
        array = frame.to_ndarray(format="rgb24", width=width, height=height)
        return np.ascontiguousarray(np.rot90(array, k=-self.rotation // 90))

    def _scan(self) -> np.ndarray:
        with self._open() as container:
            try:
                packets = container.demux(self._stream(container))
                times = [packet.pts for packet in packets if packet.size and not packet.is_discard]
            except DAMAGE as error:
                raise DecodeError(f"damaged: reading stopped ({_cause(error)})", self.name) from error
        if not times:
            raise DecodeError("no frames: the video stream is empty", self.name)
        return np.array(times, dtype=np.float64)

    def _first(self, container: InputContainer) -> VideoFrame:
        try:
            for frame in container.decode(self._stream(container)):
                return frame
        except DAMAGE as error:
            raise DecodeError(f"damaged: no frame can be decoded ({_cause(error)})", self.name) from error
        raise DecodeError("no frames: the video stream is empty", self.name)

    def _stream(self, container: InputContainer) -> VideoStream:
        """The first video stream that is no cover picture."""
        for stream in container.streams.video:
            if stream.disposition & Disposition.attached_pic:
                continue
            if stream.codec_context is None:
                raise DecodeError("unknown codec: FFmpeg has no decoder for the video stream", self.name)
            return stream
        reason = "no video stream (audio only)" if container.streams.audio else "no video stream"
        raise DecodeError(reason, self.name)

    def _open(self) -> InputContainer:
        try:
            container = cast(InputContainer, av.open(io.BytesIO(self._data), metadata_errors="replace"))
        except DAMAGE as error:
            raise DecodeError(f"not a media file: no known container ({_cause(error)})", self.name) from error
        for stream in container.streams.video:
            if stream.codec_context is not None:
                stream.thread_type = "NONE"
        return container


def _cause(error: Exception) -> str:
    return f"FFmpeg: {getattr(error, 'strerror', None) or error}"
