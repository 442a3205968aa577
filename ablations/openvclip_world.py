"""What the ablation of Open-VCLIP sees: short videos of an object of which every frame hides another part.

A grey sheet with a straight edge lies over the object, in every frame at another angle, and leaves a bit more
than half of it to be seen. The object drifts a little. So a frame alone often does not say what shape it
is, and several together do. Whether it helps to look at their patches together, or to average what each frame
says is enough, is what the temporal view is asked here. H.264 adds its own: it takes away the fine noise that
the tiny CLIP's stills have.

Time runs either way: a tower with the temporal view takes its neighbours as a set, and a clip's score is the
mean over frames, so such a model answers a clip and its reverse alike, whatever it was taught. Motions that
come in mirrored pairs, as the demo's, it could not learn.

Stills are the same objects as CLIP knows them: whole, uncompressed, one picture.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from demo.drawing import in_processes, write_list
from demo.motion import still_track
from demo.painter import HUES, SHAPES, Sprites, draw_backdrops, draw_colours, paint, pixel_grid
from demo.world import encode

COLUMNS = ("path", "split", "shape", "colour")
DRIFT = 0.15
"""Deviation of how far an object wanders in a clip, in sides of the picture."""
EDGE = 0.2
"""Where the sheet begins, in radii from the object's middle."""
SHEET = 1.3
"""Half of the sheet's side, in radii."""

Kind = tuple[int, int]
"""Shape and colour, as positions in SHAPES and HUES."""
KINDS: tuple[Kind, ...] = tuple(product(range(len(SHAPES)), range(len(HUES))))
"""All 36 kinds of objects."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenConfig:
    """What decides the videos."""

    seed: int = 0
    """Of all scenes."""
    train: int = 24
    """Clips of each kind to train on."""
    test: int = 8
    """Clips of each kind to test on."""
    stills: int = 2
    """Stills of each kind."""
    size: int = 64
    """Height and width in pixels."""
    frames: int = 12
    """Frames a clip."""
    fps: int = 12
    """Frames a second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One clip or still."""

    split: str
    """train, test or still."""
    kind: Kind
    number: int
    """Among those of its kind and split."""

    @property
    def path(self) -> str:
        """Of a clip, relative to the folder of the list."""
        return f"clips/{self.split}-{self.kind[0]}{self.kind[1]}-{self.number:03d}.mp4"


def plan_scenes(config: HiddenConfig, taught: Iterable[Kind]) -> list[Scene]:
    """Training clips of the kinds that are taught, then test clips and stills of all kinds."""
    wanted = [("train", kind, config.train) for kind in sorted(set(taught))]
    wanted += [("test", kind, config.test) for kind in KINDS]
    wanted += [("still", kind, config.stills) for kind in KINDS]
    return [
        Scene(split=split, kind=kind, number=number)
        for split, kind, count in wanted
        for number in range(count)
    ]


def paint_scene(scene: Scene, config: HiddenConfig) -> UInt8[np.ndarray, "t s s 3"]:
    """Its frames; of a still the one."""
    still = scene.split == "still"
    frames = 1 if still else config.frames
    split = ("train", "test", "still").index(scene.split)
    rng = np.random.default_rng([config.seed, split, *scene.kind, scene.number])
    sprites = _sprites(scene.kind, frames, rng)
    backdrop = draw_backdrops(1, config.size, rng)
    painted = paint(sprites, np.broadcast_to(backdrop, (frames, *backdrop.shape[1:])), rng)
    return painted if still else _hidden(painted, sprites, rng)


def draw_scenes(
    folder: Path,
    config: HiddenConfig,
    scenes: Sequence[Scene],
    *,
    workers: int,
    report: Callable[[int, int], None],
) -> Path:
    """Draw what is missing of some clips into FOLDER/clips; FOLDER/list.csv, written last.

    `report` is told how many are there, and of how many.

    Raises:
        ValueError: the folder holds videos of other settings.
    """
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    _keep_settings(folder / "world.json", config)
    missing = [scene for scene in scenes if not (folder / scene.path).exists()]
    there = len(scenes) - len(missing)
    report(there, len(scenes))
    jobs = [(folder / scene.path, scene, config) for scene in missing]
    for done, _ in enumerate(in_processes(_draw, jobs, workers), start=there + 1):
        report(done, len(scenes))
    hues, shapes = list(HUES), list(SHAPES)
    rows = [(scene.path, scene.split, shapes[scene.kind[0]], hues[scene.kind[1]]) for scene in scenes]
    return write_list(folder / "list.csv", COLUMNS, rows)


def _sprites(kind: Kind, frames: int, rng: np.random.Generator) -> Sprites:
    """An object that drifts a little."""
    track = still_track(frames, rng)
    radius, steps = track.radius[0], np.linspace(-0.5, 0.5, frames)
    x, y = (
        np.clip(middle + steps * rng.normal(0, DRIFT), radius, 1 - radius)
        for middle in (track.x[0], track.y[0])
    )
    track = replace(track, x=x, y=y)
    hue = np.array(list(HUES.values()))[[kind[1]]]
    return Sprites(
        shape=np.full(frames, kind[0]),
        colour=np.repeat(draw_colours(hue, rng), frames, axis=0),
        **{name: getattr(track, name).astype(np.float32) for name in type(track).__slots__},
    )


def _hidden(
    clip: UInt8[np.ndarray, "t s s 3"], sprites: Sprites, rng: np.random.Generator
) -> UInt8[np.ndarray, "t s s 3"]:
    """The clip with a sheet over its object, in every frame at an angle and in a grey of its own."""
    angle = rng.uniform(0, 2 * np.pi, (len(clip), 1, 1))
    grey = rng.integers(60, 140, (len(clip), 1, 1, 1))
    x, y = pixel_grid(clip.shape[1])
    dx, dy = _away(x, sprites.x, sprites.radius), _away(y, sprites.y, sprites.radius)
    under = (dx * np.cos(angle) + dy * np.sin(angle) > EDGE) & (np.maximum(abs(dx), abs(dy)) < SHEET)
    return np.where(under[..., None], grey, clip).astype(np.uint8)


def _away(
    places: Float[np.ndarray, "s s"], middle: Float[np.ndarray, " t"], radius: Float[np.ndarray, " t"]
) -> Float[np.ndarray, "t s s"]:
    """Distance of pixels from an object's middle along an axis, in radii."""
    return (places - middle[:, None, None]) / radius[:, None, None]


def _keep_settings(path: Path, config: HiddenConfig) -> None:
    settings = json.dumps(asdict(config), indent=1)
    if path.exists() and path.read_text() != settings:
        raise ValueError(
            f"{path.parent} holds videos of other settings; choose another --folder or delete it"
        )
    path.write_text(settings)


def _draw(job: tuple[Path, Scene, HiddenConfig]) -> None:
    """Draw one clip; under its name it is whole."""
    path, scene, config = job
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    encode(paint_scene(scene, config), unfinished, fps=config.fps)
    os.replace(unfinished, path)
