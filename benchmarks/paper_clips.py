"""Clips as Kinetics has them, cut out of a few real videos: list files, H.264, short side 256, some of them
shorter than a recipe's span.

Two videos make two classes. The first two clips of a list are of different classes, so that as few as two can
be learned from; the second of each list has 60 frames, which EVL's 8 x 16 frames reach past.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from benchmarks.video_files import write_video

SHORT_SIDE = 256
LISTS = ("train", "val")
H264 = {"preset": "veryfast", "crf": "20"}


@dataclass(frozen=True, slots=True)
class Cut:
    """One clip: frames `first` to `last` (not included) of the video whose class this is."""

    split: str
    label: int
    first: int
    last: int


CUTS = (
    Cut("train", 0, 0, 300),
    Cut("train", 1, 0, 60),
    Cut("train", 0, 300, 450),
    Cut("train", 1, 60, 200),
    Cut("val", 0, 450, 750),
    Cut("val", 1, 200, 260),
)


def write_clips(originals: Path, folder: Path, *, short_side: int = SHORT_SIDE) -> dict[str, Path]:
    """Cut `originals`' two longest videos into clips in `folder`; the list file of each split.

    Raises:
        ValueError: the folder has no two videos that are long enough.
    """
    videos = longest(originals)
    for number, cut in enumerate(CUTS):
        frames = read_frames(videos[cut.label], cut.first, cut.last, short_side)
        write_video(folder / name_of(number), frames, "libx264", "yuv420p", H264)
    return {split: write_list(folder, split) for split in LISTS}


def write_list(folder: Path, split: str) -> Path:
    """`path label` lines, as Kinetics-400's lists for EVL are."""
    lines = [f"{name_of(number)} {cut.label}\n" for number, cut in enumerate(CUTS) if cut.split == split]
    path = folder / f"{split}.csv"
    path.write_text("".join(lines))
    return path


def name_of(number: int) -> str:
    """File name of a clip."""
    return f"clip-{number}.mp4"


def longest(folder: Path) -> list[Path]:
    """The two videos with the most frames, if these are enough for all cuts."""
    lengths = {path: count_frames(path) for path in sorted(folder.glob("*.avi"))}
    found = sorted(lengths, key=lambda path: -lengths[path])[:2]
    needed = [max(cut.last for cut in CUTS if cut.label == label) for label in (0, 1)]
    if len(found) < 2 or any(lengths[path] < least for path, least in zip(found, needed, strict=True)):
        raise ValueError(
            f"expected two videos (*.avi) of at least {needed[0]} and {needed[1]} frames in {folder}, found "
            f"{sorted(lengths.values(), reverse=True)}; Debian's opencv-doc has vtest.avi and Megamind.avi"
        )
    return found


def count_frames(path: Path) -> int:
    """How many frames can be decoded."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def read_frames(path: Path, first: int, last: int, short_side: int) -> Iterator[np.ndarray]:
    """Frames as pictures whose short side has so many pixels."""
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number >= last:
                return
            if number >= first:
                scale = short_side / min(frame.width, frame.height)
                width, height = (round(side * scale / 2) * 2 for side in (frame.width, frame.height))
                yield frame.to_ndarray(format="rgb24", width=width, height=height)
