"""Small real videos for tests: frames that carry their own number, encoded by PyAV's bundled encoders."""

import struct
from collections.abc import Mapping
from pathlib import Path

import av
import numpy as np

CELL = 12  # pixels a side of one bit of the number
BITS = 8


def numbered_frames(count: int, *, height: int = 64) -> np.ndarray:
    """uint8 (count, height, 96, 3): each frame shows its index as a row of black and white cells, and a block
    that moves below it."""
    frames = np.full((count, height, CELL * BITS, 3), 60, np.uint8)
    for index, frame in enumerate(frames):
        for bit in range(BITS):
            frame[: CELL + 4, bit * CELL : (bit + 1) * CELL] = 220 if index >> bit & 1 else 20
        frame[24:, :, 0] = index % 250
        frame[30:50, index % 80 : index % 80 + 12] = (200, 180, 40)
    return frames


def frame_number(frame: np.ndarray) -> int:
    """The index that a frame of numbered_frames shows."""
    middle = frame[4:CELL, CELL // 2 :: CELL].mean(axis=(0, 2))
    return sum(1 << bit for bit, value in enumerate(middle) if value > 120)


def write_video(
    path: Path | str,
    frames: np.ndarray,
    *,
    codec: str = "libx264",
    fps: int = 25,
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    muxer: Mapping[str, str] | None = None,
    shift: int = 0,
) -> Path:
    """Encode uint8 frames (n, h, w, 3); `shift` moves all times by frames (MP4 hides those below 0)."""
    with av.open(str(path), "w", options=dict(muxer or {})) as container:
        stream = container.add_stream(codec, rate=fps, options=dict(options or {}))
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pix_fmt
        for frame in [*(av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames), None]:
            for packet in stream.encode(frame):
                if shift:
                    ticks = int(shift / fps / packet.time_base)
                    packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
                container.mux(packet)
    return Path(path)


def write_audio(path: Path | str) -> Path:
    """A second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16000
        for packet in [*stream.encode(silence), *stream.encode(None)]:
            container.mux(packet)
    return Path(path)


def rotated_mp4(data: bytes, degrees: int) -> bytes:
    """An MP4 with its display matrix changed to `degrees` clockwise."""
    header = data.index(b"tkhd") + 4
    matrix = header + 4 + 20 + 8 + 8
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    values = struct.pack(">9i", cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    return data[:matrix] + values + data[matrix + 36 :]
