"""How the odd videos are made: by PyAV's own encoders, from drawn frames, some of them damaged afterwards."""

import functools
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.drawn_videos import numbered_frames, write_audio, write_video

REAL = Path("/usr/share/doc/opencv-doc/examples/data/Megamind.avi")
FRAMES = numbered_frames(24)
GOP = {"g": "8", "bf": "0"}


@functools.cache
def encoded(name: str = "a.mp4", **settings: str) -> bytes:
    """The numbered frames as a file's bytes; `settings` are options of the encoder."""
    with tempfile.TemporaryDirectory() as folder:
        return write_video(Path(folder) / name, FRAMES, options=GOP | settings).read_bytes()


@functools.cache
def real() -> bytes:
    """An AVI from elsewhere, or one of ours."""
    if REAL.exists():
        return REAL.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        return write_video(Path(folder) / "a.avi", FRAMES, codec="mpeg4").read_bytes()


def file_of(data: Callable[[], bytes]) -> Callable[[Path], object]:
    """A maker of a file with these bytes."""
    return lambda path: path.write_bytes(data())


def drawn(frames: np.ndarray = FRAMES, **settings) -> Callable[[Path], object]:
    """A maker of a video of these frames."""
    return lambda path: write_video(path, frames, **({"options": GOP} | settings))


def without_frames(path: Path) -> None:
    """A video stream with nothing in it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.start_encoding()


def damaged() -> bytes:
    """A third of the stream overwritten with ones, so that no unit's length makes sense."""
    data = bytearray(encoded())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    third = (end - start) // 3
    data[start + third : start + 2 * third] = b"\xff" * third
    return bytes(data)


def playlist() -> bytes:
    """A playlist of another file, which nobody asked to open."""
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:5", "#EXTINF:5,", "file:///etc/hostname", "#EXT-X-ENDLIST", ""]
    return "\n".join(lines).encode()


def locked(path: Path) -> None:
    """A file that nobody may read (but root)."""
    path.write_bytes(encoded())
    path.chmod(0)


def many() -> np.ndarray:
    """3000 tiny frames, brighter and brighter, again and again."""
    level = (np.arange(3000) % 200 + 30).astype(np.uint8)
    return np.broadcast_to(level[:, None, None, None], (3000, 16, 24, 3))


def uneven(path: Path) -> None:
    """Frames that stand for different times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=GOP)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 50)
        for number, array in enumerate([*FRAMES, None]):
            frame = None if array is None else av.VideoFrame.from_ndarray(array, format="rgb24")
            if frame is not None:
                frame.pts = number * 2 + (number % 5 == 0)
                frame.time_base = Fraction(1, 50)
            container.mux(stream.encode(frame))


def two_sizes(path: Path) -> None:
    """Two transport streams, one after the other, the second larger."""
    with tempfile.TemporaryDirectory() as folder:
        one = write_video(Path(folder) / "a.ts", FRAMES, options=GOP)
        two = write_video(Path(folder) / "b.ts", FRAMES.repeat(2, 1).repeat(2, 2), options=GOP)
        path.write_bytes(one.read_bytes() + two.read_bytes())


def with_cover(path: Path, *, video: bool = True) -> None:
    """A cover picture before a video, or before sound."""
    inside = path.with_suffix(".inside.mp4")
    (drawn() if video else write_audio)(inside)
    with av.open(str(inside)) as source, av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 96, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        copy = container.add_stream_from_template(source.streams[0])
        container.mux(cover.encode(av.VideoFrame.from_ndarray(FRAMES[23], format="rgb24")))
        container.mux(cover.encode())
        for packet in source.demux(source.streams[0]):
            if packet.size:
                packet.stream = copy
                container.mux(packet)
    inside.unlink()


def two_streams(path: Path) -> None:
    """The numbered frames, and black ones beside them."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25, options=GOP) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for array in FRAMES:
            for stream, shown in zip(streams, (array, array * 0), strict=True):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode())


def animation(path: Path) -> None:
    """A WebP that moves."""
    first, *rest = [Image.fromarray(frame) for frame in FRAMES]
    first.save(path, "WEBP", save_all=True, append_images=rest, lossless=True)


def promising() -> bytes:
    """An AVI whose header announces ten frames more than it has."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder) / "a.avi", FRAMES, codec="mpeg4", options=GOP)
        data = bytearray(path.read_bytes())
    length = data.index(b"strh") + 8 + 32
    data[length : length + 4] = (len(FRAMES) + 10).to_bytes(4, "little")
    return bytes(data)
