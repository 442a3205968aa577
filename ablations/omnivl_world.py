"""What OmniVL is tried on: images of objects in a place, and clips of the same objects on their way.

Three shapes in four colours; an image has its object at one of four sides of the picture, a clip has it move
in one of four directions: 48 captions of each kind, all of them seen in training, on other backgrounds and
at other places than those that are asked for. A caption names all three facts, in words that images and
clips share but for the last: "a red star on the left", "a red star that moves left". Every held-out clip is
there backwards, too, as the same frames in opposite order, and is then to be said to move the other way.

Where an object is and where it goes is in the tokens of the patches and in no embedding of the demo's tiny
CLIP, whose text tower hardly tells left from right: both have to be learned.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from demo.drawing import in_processes, write_list
from demo.motion import paint_clip
from demo.painter import HUES, SHAPES, Sprites, draw_backdrops, draw_colours, paint
from demo.world import encode

SHAPE_NAMES = ("circle", "square", "star")
COLOUR_NAMES = ("red", "yellow", "green", "blue")
SIDES = ("left", "right", "top", "bottom")
PLACES = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
WAYS = ("left", "right", "up", "down")
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
SPLITS = ("train", "test", "reversed")
COLUMNS = ("path", "split", "kind", "shape", "colour", "where", "caption")
EDGE = 0.24
"""How far from its side of the picture an object's middle is at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldConfig:
    """What decides the files."""

    seed: int = 0
    """Of all scenes."""
    train: int = 10
    """Images, and clips, of each caption to train on."""
    test: int = 1
    """Images, and clips, of each caption that are held out."""
    size: int = 64
    """Height and width in pixels."""
    frames: int = 24
    """Frames a clip. Of 24, four segments have their middles at 3, 9, 14 and 20, alike from either end: of a
    reversed clip the very same pictures are seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """An image or a clip to draw."""

    kind: str
    """image or clip."""
    split: str
    shape: str
    colour: str
    where: str
    """The side where it is, or the way it goes."""
    seed: tuple[int, ...]

    @property
    def caption(self) -> str:
        """What is to be seen."""
        tail = PLACES[self.where] if self.kind == "image" else f"that moves {self.where}"
        return f"a {self.colour} {self.shape} {tail}"


def draw_world(
    folder: Path, config: WorldConfig, *, workers: int = 1, report: Callable[[int, int], None] | None = None
) -> Path:
    """Draw all files of `config` into `folder`, or find them drawn; the list of them, with captions.

    Raises:
        ValueError: the folder holds a world of other settings.
    """
    listing, drawn = folder / "list.csv", folder / "world.json"
    settings = json.dumps(asdict(config), indent=1)
    if drawn.exists():
        if drawn.read_text() != settings:
            raise ValueError(f"{folder} holds pictures of other settings; choose another folder or delete it")
        return listing
    scenes = list(scenes_of(config))
    for part in ("images", "clips"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    paths = [file_name(number, scene) for number, scene in enumerate(scenes)]
    jobs = [(folder / path, scene, config) for path, scene in zip(paths, scenes, strict=True)]
    for done, _ in enumerate(in_processes(draw, jobs, workers), start=1):
        if report is not None:
            report(done, len(jobs))
    rows = [
        (path, scene.split, scene.kind, scene.shape, scene.colour, scene.where, scene.caption)
        for path, scene in zip(paths, scenes, strict=True)
    ]
    write_list(listing, COLUMNS, rows)
    drawn.write_text(settings)
    return listing


def scenes_of(config: WorldConfig) -> Iterator[Scene]:
    """All of them: each caption as often as the others, and every held-out clip once more, backwards."""
    counts = {"train": config.train, "test": config.test, "reversed": config.test}
    for split, (kind, ends) in product(SPLITS, (("image", SIDES), ("clip", WAYS))):
        if split == "reversed" and kind == "image":
            continue
        for number, (colour, shape, end) in enumerate(product(COLOUR_NAMES, SHAPE_NAMES, ends)):
            for copy in range(counts[split]):
                drawn_as = "test" if split == "reversed" else split
                yield Scene(
                    kind=kind,
                    split=split,
                    shape=shape,
                    colour=colour,
                    where=OPPOSITE[end] if split == "reversed" else end,
                    seed=(config.seed, SPLITS.index(drawn_as), kind == "clip", number, copy),
                )


def file_name(number: int, scene: Scene) -> str:
    """Where a scene lies; its name says nothing of what it shows."""
    return f"images/{number:05d}.png" if scene.kind == "image" else f"clips/{number:05d}.mp4"


def draw(job: tuple[Path, Scene, WorldConfig]) -> None:
    """Draw one."""
    path, scene, config = job
    rng = np.random.default_rng(scene.seed)
    if scene.kind == "image":
        Image.fromarray(paint_still(scene, config.size, rng)).save(path)
        return
    clip = paint_clip(
        f"moves {scene.where}",
        shape=list(SHAPES).index(scene.shape),
        colour=list(HUES).index(scene.colour),
        frames=config.frames,
        size=config.size,
        rng=rng,
    )
    encode(clip, path, fps=12)


def paint_still(scene: Scene, size: int, rng: np.random.Generator) -> UInt8[np.ndarray, "s s 3"]:
    """An object near one side, anywhere along it."""
    radius = rng.uniform(0.14, 0.24)
    near, along = rng.uniform(radius, max(radius, EDGE)), rng.uniform(0.35, 0.65)
    far = 1 - near
    x, y = {"left": (near, along), "right": (far, along), "top": (along, near), "bottom": (along, far)}[
        scene.where
    ]
    hue = np.array([HUES[scene.colour]])
    sprites = Sprites(
        shape=np.array([list(SHAPES).index(scene.shape)]),
        colour=draw_colours(hue, rng),
        x=np.array([x], np.float32),
        y=np.array([y], np.float32),
        radius=np.array([radius], np.float32),
        angle=rng.uniform(0, 2 * np.pi, 1).astype(np.float32),
        glow=np.zeros(1, np.float32),
        opacity=np.ones(1, np.float32),
    )
    return paint(sprites, draw_backdrops(1, size, rng), rng)[0]
