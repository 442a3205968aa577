"""Videos that benchmarks write, to be decoded by what they measure."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np

RATE = 25


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    codec: str,
    pixels: str,
    options: Mapping[str, str] | None = None,
) -> None:
    """Encode frames (h, w, 3) uint8, all of one size, at 25 a second.

    Args:
        codec: FFmpeg's name of the encoder; `pixels`: of the pixel format; `options`: of the encoder.
    """
    with av.open(str(path), "w") as container:
        stream = cast(av.VideoStream, container.add_stream(codec, rate=RATE, options=dict(options or {})))
        for number, frame in enumerate(frames):
            if not number:
                stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], pixels
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
