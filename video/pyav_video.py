"""Frames by PyAV: the look that every file gets first, and the decoder for what decord refuses.

A frame's index is its place among the presentation times of the stream's packets, so reading frame i means
decoding until the frame with that time appears; only frames that were asked for are converted to RGB
(conversion costs as much as decoding). Decoding runs from the start of the video to the last frame needed, on
one thread.
"""

import io

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame
from jaxtyping import UInt8

from video.errors import DecodeError


class Refused(Exception):
    """decord cannot serve this file; PyAV may."""


class PyAVVideo:
    """An open video, decoded by PyAV."""

    decoder = "pyav"

    def __init__(self, data: bytes, name: str):
        """Raises DecodeError if the bytes hold no decodable video."""
        self.name = name
        self._data = data
        self._times: list[int] | None = None
        with self._open() as container:
            if not container.streams.video:
                raise DecodeError(_without_video(container), name)
            stream = container.streams.video[0]
            self.codec = stream.codec_context.name
            self.fps = float(stream.average_rate or stream.guessed_rate or 0.0)
            first = self._first(container)
        self.rotation = -first.rotation % 360
        turned = self.rotation in (90, 270)
        self.width, self.height = (first.height, first.width) if turned else (first.width, first.height)

    @property
    def num_frames(self) -> int:
        """Number of frames: packets of the stream that will be shown."""
        return len(self._packet_times())

    def read(self, indices: np.ndarray) -> UInt8[np.ndarray, "n H W 3"]:
        """RGB frames in the order asked, repeats allowed. Raises DecodeError."""
        times = self._packet_times()
        wanted = {times[index] for index in np.asarray(indices).tolist()}
        found = self._decode(wanted)
        if missing := sorted(times.index(time) for time in wanted - found.keys()):
            raise DecodeError(
                f"damaged: {len(missing)} of {len(wanted)} frames asked for cannot be decoded "
                f"(first: {missing[0]} of {len(times)})",
                self.name,
            )
        return np.stack([found[times[index]] for index in np.asarray(indices).tolist()])

    def _decode(self, wanted: set[int]) -> dict[int, np.ndarray]:
        """Decode from the start until all wanted presentation times have been seen."""
        found: dict[int, np.ndarray] = {}
        with self._open() as container:
            try:
                for frame in container.decode(container.streams.video[0]):
                    if frame.pts in wanted and frame.pts not in found:
                        found[frame.pts] = self._rgb(frame)
                    if len(found) == len(wanted):
                        break
            except av.error.FFmpegError as error:
                raise DecodeError(f"damaged: decoding stopped ({_cause(error)})", self.name) from error
        return found

    def _rgb(self, frame: VideoFrame) -> np.ndarray:
        turned = self.rotation in (90, 270)
        width, height = (self.height, self.width) if turned else (self.width, self.height)
        array = frame.to_ndarray(format="rgb24", width=width, height=height)
        return np.ascontiguousarray(np.rot90(array, k=-self.rotation // 90))

    def _packet_times(self) -> list[int]:
        """Sorted presentation times of the packets that will be shown, read once."""
        if self._times is None:
            with self._open() as container:
                try:
                    packets = container.demux(container.streams.video[0])
                    times = [p.pts for p in packets if p.size and p.pts is not None and not p.is_discard]
                except av.error.FFmpegError as error:
                    raise DecodeError(f"damaged: reading stopped ({_cause(error)})", self.name) from error
            self._times = sorted(set(times))
        if not self._times:
            raise DecodeError("no frames: the video stream has no packet with a presentation time", self.name)
        return self._times

    def _first(self, container: av.container.InputContainer) -> VideoFrame:
        try:
            for frame in container.decode(container.streams.video[0]):
                return frame
        except av.error.FFmpegError as error:
            raise DecodeError(f"damaged: no frame can be decoded ({_cause(error)})", self.name) from error
        raise DecodeError("no frames: the video stream is empty", self.name)

    def _open(self) -> av.container.InputContainer:
        try:
            container = av.open(io.BytesIO(self._data), metadata_errors="replace")
        except av.error.FFmpegError as error:
            raise DecodeError(f"not a media file: no known container ({_cause(error)})", self.name) from error
        for stream in container.streams.video:
            stream.thread_type = "NONE"
        return container


def _without_video(container: av.container.InputContainer) -> str:
    return "no video stream (audio only)" if container.streams.audio else "no video stream"


def _cause(error: av.error.FFmpegError) -> str:
    return f"FFmpeg: {error.strerror or error}"
