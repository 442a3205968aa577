"""Frames by PyAV: the look that every file gets first, and the decoder for what decord refuses.

A frame's index is its place in the order of presentation, which is the order in which FFmpeg hands frames
out; only frames that were asked for are converted to RGB (conversion costs as much as decoding). Decoding
runs from the start of the video to the last frame needed, on one thread.
"""

import io
from dataclasses import dataclass
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
from video.faults import Fault, Stage
from video.quality import backward_times, missing_frames

NOTHING_SHOWN = "no frames: the video stream is empty"
DAMAGE = (av.error.FFmpegError, IndexError)  # PyAV's own, where damage makes new streams appear while reading


class Refused(Exception):
    """decord cannot serve this file; PyAV may."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Packets:
    """What one pass over the packets of a stream tells, without decoding."""

    times: np.ndarray
    missing: int | None
    backward: int


class PyAVVideo:
    """An open video, decoded by PyAV."""

    decoder = "pyav"

    def __init__(self, data: bytes, name: str):
        """Raises DecodeError if the bytes hold no decodable video."""
        self.name = name
        self._data = data
        self._packets: _Packets | None = None
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
        return self._scanned().times

    @property
    def missing_frames(self) -> int | None:
        """Frames that the container announces beyond its packets; None where it announces no number. Raises
        DecodeError."""
        return self._scanned().missing

    @property
    def backward_times(self) -> int:
        """Packets decoded before the packet stored before them. Raises DecodeError."""
        return self._scanned().backward

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
                raise self._bad(f"damaged: frame {seen} cannot be decoded ({_cause(error)})") from error
        raise self._bad(
            f"damaged: the video ends after {seen} decoded frames, its container announced {self.num_frames}"
        )

    def _rgb(self, frame: VideoFrame) -> np.ndarray:
        turned = self.rotation in (90, 270)
        width, height = (self.height, self.width) if turned else (self.width, self.height)
        array = frame.to_ndarray(format="rgb24", width=width, height=height)
        return np.ascontiguousarray(np.rot90(array, k=-self.rotation // 90))

    def _scanned(self) -> "_Packets":
        if self._packets is None:
            self._packets = self._scan()
        return self._packets

    def _scan(self) -> "_Packets":
        with self._open() as container:
            stream = self._stream(container)
            announced = stream.frames
            try:
                packets = [
                    (packet.pts, packet.dts, packet.is_discard)
                    for packet in container.demux(stream)
                    if packet.size
                ]
                stored = len(packets) if len(packets) >= announced else self._stored()
            except DAMAGE as error:
                raise self._bad(f"damaged: reading stopped ({_cause(error)})") from error
        shown = [pts for pts, _, hidden in packets if not hidden]
        if not shown:
            raise self._bad(NOTHING_SHOWN, Fault.NO_FRAMES)
        return _Packets(
            times=np.array(shown, dtype=np.float64),
            missing=missing_frames(announced, stored),
            backward=backward_times([dts for _, dts, _ in packets]),
        )

    def _stored(self) -> int:
        """Packets of the stream, those included that an edit list leaves out."""
        with self._open({"ignore_editlist": "1"}) as container:
            return sum(bool(packet.size) for packet in container.demux(self._stream(container)))

    def _first(self, container: InputContainer) -> VideoFrame:
        try:
            for frame in container.decode(self._stream(container)):
                return frame
        except DAMAGE as error:
            raise self._bad(f"damaged: no frame can be decoded ({_cause(error)})") from error
        raise self._bad(NOTHING_SHOWN, Fault.NO_FRAMES)

    def _stream(self, container: InputContainer) -> VideoStream:
        """The first video stream that is no cover picture."""
        for stream in container.streams.video:
            if stream.disposition & Disposition.attached_pic:
                continue
            if stream.codec_context is None:
                reason = "unknown codec: FFmpeg has no decoder for the video stream"
                raise self._bad(reason, Fault.UNKNOWN_CODEC, Stage.OPEN)
            return stream
        reason = "no video stream (audio only)" if container.streams.audio else "no video stream"
        raise self._bad(reason, Fault.NO_VIDEO, Stage.OPEN)

    def _open(self, options: dict[str, str] | None = None) -> InputContainer:
        try:
            file = av.open(io.BytesIO(self._data), metadata_errors="replace", options=options)
            container = cast(InputContainer, file)
        except DAMAGE as error:
            reason = f"not a media file: no known container ({_cause(error)})"
            raise self._bad(reason, Fault.NOT_MEDIA, Stage.OPEN) from error
        for stream in container.streams.video:
            if stream.codec_context is not None:
                stream.thread_type = "NONE"
        return container

    def _bad(self, reason: str, error: Fault = Fault.DAMAGED, stage: Stage = Stage.DECODE) -> DecodeError:
        return DecodeError(reason, self.name, error=error, stage=stage, decoder=self.decoder)


def _cause(error: Exception) -> str:
    return f"FFmpeg: {getattr(error, 'strerror', None) or error}"
