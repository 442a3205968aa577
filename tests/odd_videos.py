"""Videos as data sets hold them: damaged, mislabelled, strange but whole. Each with what must become of it.

Most are drawn, with frames that carry their number; the truncated ones are cut from a video that nobody here
drew, where the machine has OpenCV's examples. All are made in a few seconds.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from av.codec.codec import UnknownCodecError
from PIL import Image

from tests.drawn_videos import rotated_mp4, write_audio
from tests.odd_makers import (
    FRAMES,
    animation,
    damaged,
    drawn,
    encoded,
    file_of,
    locked,
    many,
    playlist,
    promising,
    real,
    two_sizes,
    two_streams,
    uneven,
    with_cover,
    without_frames,
)
from video import Fault

NUMBERS = tuple(range(24))


@dataclass(frozen=True, kw_only=True)
class Odd:
    """One file of the corpus."""

    name: str
    """Its file name."""
    make: Callable[[Path], object]
    """Makes it under a path."""
    error: Fault | None = None
    """How it must fail; None where it must be written."""
    shown: Sequence[int] | None = NUMBERS
    """The number that each frame of it shows; None where frames have none."""
    marks: Mapping[str, int] = field(default_factory=dict)
    """Columns of the facts that are not 0."""


def corpus() -> list[Odd]:
    """Every odd file."""
    return [*broken(), *misleading(), *strange(), *other_codecs(), *marked()]


def build(folder: Path, odds: Sequence[Odd]) -> list[Odd]:
    """Make the files; those whose encoder is missing here are left out of the answer."""
    made = []
    for odd in odds:
        try:
            odd.make(folder / odd.name)
        except UnknownCodecError:
            continue
        made.append(odd)
    return made


def broken() -> list[Odd]:
    """Files that hold less than they should."""
    shares = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    cut = [
        (share, "avi", real) if number % 2 else (share, "mp4", encoded) for number, share in enumerate(shares)
    ]
    return [
        *[
            Odd(
                name=f"cut at {share}.{ending}",
                make=lambda path, share=share, of=of: path.write_bytes(of()[: int(len(of()) * share)]),
                error=Fault.TRUNCATED,
            )
            for share, ending, of in cut
        ],
        Odd(
            name="no moov.mp4",
            make=file_of(lambda: encoded()[: encoded().index(b"moov") - 4]),
            error=Fault.TRUNCATED,
        ),
        Odd(name="no frames.avi", make=without_frames, error=Fault.NO_FRAMES),
        Odd(name="only sound.mp4", make=write_audio, error=Fault.NO_VIDEO),
        Odd(
            name="sound with cover.mp4", make=lambda path: with_cover(path, video=False), error=Fault.NO_VIDEO
        ),
        Odd(name="empty.mp4", make=file_of(bytes), error=Fault.EMPTY),
        Odd(
            name="noise.mp4",
            make=file_of(lambda: np.random.default_rng(0).bytes(50_000)),
            error=Fault.NOT_MEDIA,
        ),
        Odd(name="zeros.mp4", make=file_of(lambda: bytes(50_000)), error=Fault.NOT_MEDIA),
        Odd(name="damaged.mp4", make=file_of(damaged), error=Fault.DAMAGED),
        Odd(name="damaged.jpg", make=file_of(lambda: b"\xff\xd8\xff\xe0" + bytes(99)), error=Fault.DAMAGED),
        Odd(
            name="unknown codec.mp4",
            make=file_of(lambda: encoded().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC")),
            error=Fault.UNKNOWN_CODEC,
        ),
    ]


def misleading() -> list[Odd]:
    """Names that promise something else."""
    root = os.geteuid() == 0
    return [
        Odd(name="mp4 inside.avi", make=file_of(encoded)),
        Odd(
            name="page.mp4", make=file_of(lambda: b"<html>404 not found</html>\n" * 50), error=Fault.NOT_MEDIA
        ),
        Odd(name="playlist.mp4", make=file_of(playlist), error=Fault.NOT_MEDIA),
        Odd(name="picture.mp4", make=lambda path: Image.fromarray(FRAMES[5]).save(path, "PNG"), shown=[5]),
        Odd(name="nowhere.mp4", make=lambda path: path.symlink_to("lost.mp4"), error=Fault.UNREADABLE),
        Odd(name="folder.mp4", make=Path.mkdir, error=Fault.UNREADABLE),
        Odd(name="pipe.mp4", make=os.mkfifo, error=Fault.UNREADABLE),
        Odd(name="locked.mp4", make=locked, error=None if root else Fault.UNREADABLE),
        Odd(name=" with  spaces .mp4", make=file_of(encoded)),
        Odd(name="two\nlines.mp4", make=file_of(encoded)),
        Odd(name="\N{SLICE OF PIZZA} [red]%s{0}'\".mp4", make=file_of(encoded)),
    ]


def strange() -> list[Odd]:
    """Whole videos that decoders stumble over."""
    wide = FRAMES[:2].repeat(80, 1).repeat(80, 2)
    return [
        Odd(name="one frame.mp4", make=drawn(FRAMES[:1]), shown=[0]),
        Odd(name="uneven times.mp4", make=uneven),
        Odd(name="sizes.ts", make=two_sizes, shown=NUMBERS * 2, marks={"backward_times": 1}),
        Odd(
            name="turned.mp4",
            make=file_of(lambda: rotated_mp4(encoded(), 90)),
            shown=None,
            marks={"rotation": 90},
        ),
        Odd(
            name="ten bits.mp4",
            make=drawn(codec="libx265", options={"x265-params": "log-level=none"}, pix_fmt="yuv420p10le"),
        ),
        Odd(name="no subsampling.mp4", make=drawn(pix_fmt="yuv444p")),
        Odd(name="interlaced.mp4", make=drawn(options={"x264-params": "tff=1:log=-1"})),
        Odd(name="odd sizes.mp4", make=drawn(FRAMES[:, :63, :95], pix_fmt="yuv444p")),
        Odd(name="8K.mp4", make=drawn(wide, codec="mjpeg", pix_fmt="yuvj420p", options={}), shown=[0, 1]),
        Odd(name="narrow.mkv", make=drawn(many()[:24, :, :2]), shown=None, marks={"constant_frames": 4}),
        Odd(
            name="long.mp4",
            make=drawn(many(), options={"preset": "ultrafast"}),
            shown=None,
            marks={"constant_frames": 4},
        ),
        Odd(name="no duration.mkv", make=drawn(muxer={"live": "1"})),
        Odd(name="no times.h264", make=drawn()),
        Odd(name="hidden start.mp4", make=drawn(shift=-6), shown=NUMBERS[6:]),
        Odd(name="with cover.mp4", make=with_cover),
        Odd(name="two streams.mkv", make=two_streams),
        Odd(name="fragments.mp4", make=drawn(muxer={"movflags": "frag_keyframe+empty_moov"})),
    ]


def other_codecs() -> list[Odd]:
    """What else is about."""
    plain = {"g": "8"}
    return [
        Odd(name="av1.mp4", make=drawn(codec="libsvtav1", options={"preset": "12"})),
        Odd(name="vp9.webm", make=drawn(codec="libvpx-vp9", options=plain)),
        Odd(name="hevc.mp4", make=drawn(codec="libx265", options={"x265-params": "log-level=none"})),
        Odd(name="mpeg4.avi", make=drawn(codec="mpeg4", options=plain)),
        Odd(name="mpeg2.mpg", make=drawn(codec="mpeg2video", options=plain)),
        Odd(name="mjpeg.avi", make=drawn(codec="mjpeg", pix_fmt="yuvj420p", options={})),
        Odd(name="lossless.mkv", make=drawn(codec="ffv1", options={})),
        Odd(name="moving.gif", make=drawn(codec="gif", pix_fmt="rgb8", options={})),
        Odd(name="moving.webp", make=animation),
    ]


def marked() -> list[Odd]:
    """Videos to be written, and marked."""
    black, grey = np.zeros_like(FRAMES), np.full_like(FRAMES, 128)
    still = np.broadcast_to(FRAMES[7], FRAMES.shape)
    stopped = {"repeated_frames": 3}
    return [
        Odd(
            name="black.mp4",
            make=drawn(black),
            shown=None,
            marks=stopped | {"black_frames": 4, "constant_frames": 4},
        ),
        Odd(name="grey.mp4", make=drawn(grey), shown=None, marks=stopped | {"constant_frames": 4}),
        Odd(name="still.mkv", make=drawn(still, codec="ffv1", options={}), shown=[7] * 24, marks=stopped),
        Odd(name="promises.avi", make=file_of(promising), marks={"missing_frames": 10}),
    ]
