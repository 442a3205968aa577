"""The demo's dataset: a folder of short H.264 videos and a list file with their splits, labels and captions.

Appearance (which shape in which colour) is what a CLIP trained on stills can see in any one frame; motion
is what only the order of frames tells (`demo.motion`). The two label sets are independent of each other in
every split.

    split        clips are of                       what it is for
    train        30 pairs of shape and colour       training decoders
    val          the same pairs, other scenes       choosing among decoders
    test         the same pairs, other scenes       appearance and motion
    test_pairs   the 6 pairs held out               motion of objects that no decoder has met

Scenes of val and the tests come as twins: one clip for each half of a pair of motions, made of the same
pictures in opposite order. A decoder that ignores the order of frames gives twins the same answer and is
right at most once, provided that the frames it is given are the same (any sampling symmetric in time, such
as the middles of 8 segments of 3 frames). Training clips have no twins: all scenes differ.

Each frame is coded for itself, at a constant quantiser: a frame then decodes to the same pixels wherever it
stands in the video. Predicted frames would be smaller, and would leave traces of what came before in them,
which is time's direction told by a single frame. Files are numbered in random order, so that a name says
nothing about its content.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from jaxtyping import UInt8

from demo.drawing import in_processes, write_list
from demo.motion import MOTIONS, PAIRS, WORDINGS, paint_clip
from demo.painter import HUES, SHAPES

T = TypeVar("T")

SPLITS = ("train", "val", "test", "test_pairs")
COLUMNS = ("path", "split", "appearance", "motion", "caption")
HELD_OUT = tuple((shape, (shape + 2) % len(HUES)) for shape in range(len(SHAPES)))
"""Shape and colour (positions in SHAPES and HUES) that only test_pairs shows: every shape once, every
colour once.
"""

ENCODER = {"qp": "22", "preset": "superfast", "g": "1", "bf": "0"}
FORMS = ("{} {}", "a video of {} that {}", "there is {} and it {}")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldConfig:
    """What decides the dataset, to the byte on one machine; all but `workers`, which costs or saves time."""

    seed: int = 0
    """Of scenes, labels and file order."""
    train: int = 600
    """Clips of the split train."""
    val: int = 96
    """Clips of the split val; even, since they come as twins."""
    test: int = 240
    """Clips of the split test; even."""
    test_pairs: int = 96
    """Clips of the split test_pairs; even."""
    size: int = 64
    """Height and width in pixels; even, since chroma is stored at half of it."""
    frames: int = 24
    """Frames a clip; an odd multiple of the frames a decoder samples keeps twins exact."""
    fps: int = 12
    """Frames a second."""
    workers: int = 1
    """Processes that draw; 1 draws in the calling one."""

    def __post_init__(self) -> None:
        for split in SPLITS:
            count = getattr(self, split)
            if count < 0 or (split != "train" and count % 2):
                raise ValueError(
                    f"{split} must be a count of clips, and even where clips are twins; found {count}"
                )
        if self.size < 16 or self.size % 2:
            raise ValueError(f"size must be an even number of at least 16 pixels, found {self.size}")
        if self.frames < 1 or self.fps < 1 or self.workers < 1:
            raise ValueError(f"frames, fps and workers must be at least 1, found {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipPlan:
    """One clip to draw. Twins share `seed` and differ in `motion`."""

    split: str
    shape: int
    colour: int
    motion: str
    seed: tuple[int, ...]


def draw_dataset(
    folder: Path, config: WorldConfig, *, report: Callable[[int, int], None] | None = None
) -> Path:
    """Draws the videos of `config` into FOLDER/clips and returns FOLDER/list.csv, written last.

    The list has a header, COLUMNS, and paths relative to `folder`. `report` is called with the number of
    clips drawn and to draw. Existing files of the same names are replaced.
    """
    plans = plan_clips(config)
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    paths = [f"clips/{number:06d}.mp4" for number in range(len(plans))]
    jobs = [(folder / path, plan, config) for path, plan in zip(paths, plans, strict=True)]
    for done, _ in enumerate(in_processes(_draw, jobs, config.workers), start=1):
        if report is not None:
            report(done, len(jobs))
    rows = [
        (path, plan.split, appearance(plan), plan.motion, caption(plan))
        for path, plan in zip(paths, plans, strict=True)
    ]
    return write_list(folder / "list.csv", COLUMNS, rows)


def plan_clips(config: WorldConfig) -> list[ClipPlan]:
    """All clips in the order of their numbers: every label as often as the next, and no order to be read
    from.
    """
    rng = np.random.default_rng([config.seed, len(SPLITS)])
    plans = [plan for number in range(len(SPLITS)) for plan in _plan_split(number, config, rng)]
    return [plans[place] for place in rng.permutation(len(plans))]


def appearance(plan: ClipPlan) -> str:
    """ "red star"."""
    return f"{list(HUES)[plan.colour]} {list(SHAPES)[plan.shape]}"


def caption(plan: ClipPlan) -> str:
    """One sentence on what is to be seen and what it does, in one of several wordings."""
    rng = np.random.default_rng([*plan.seed, MOTIONS.index(plan.motion)])
    return str(rng.choice(FORMS)).format(f"a {appearance(plan)}", rng.choice(WORDINGS[plan.motion]))


def encode(clip: UInt8[np.ndarray, "t s s 3"], path: Path, *, fps: int) -> None:
    """Writes an H.264 file (yuv420p) of frames coded each for itself, the same bytes every time."""
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=fps, options=ENCODER)
        stream.height, stream.width, stream.pix_fmt = *clip.shape[1:3], "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in clip:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _plan_split(number: int, config: WorldConfig, rng: np.random.Generator) -> Iterator[ClipPlan]:
    split = SPLITS[number]
    twins = split != "train"
    scenes = getattr(config, split) // (2 if twins else 1)
    looks = _deal(_appearances(split), scenes, rng)
    moves = _deal(PAIRS if twins else [(motion,) for motion in MOTIONS], scenes, rng)
    for scene, ((shape, colour), motions) in enumerate(zip(looks, moves, strict=True)):
        for motion in motions:
            seed = (config.seed, number, scene)
            yield ClipPlan(split=split, shape=shape, colour=colour, motion=motion, seed=seed)


def _appearances(split: str) -> list[tuple[int, int]]:
    if split == "test_pairs":
        return list(HELD_OUT)
    every = [(shape, colour) for shape in range(len(SHAPES)) for colour in range(len(HUES))]
    return [pair for pair in every if pair not in HELD_OUT]


def _deal(values: Iterable[T], count: int, rng: np.random.Generator) -> list[T]:
    """`count` values in random order, each as often as the others or once more."""
    values = list(values)
    return [values[place % len(values)] for place in rng.permutation(count)]


def _draw(job: tuple[Path, ClipPlan, WorldConfig]) -> None:
    path, plan, config = job
    clip = paint_clip(
        plan.motion,
        shape=plan.shape,
        colour=plan.colour,
        frames=config.frames,
        size=config.size,
        rng=np.random.default_rng(plan.seed),
    )
    encode(clip, path, fps=config.fps)
