"""Stills with captions: what the tiny CLIP is trained on, and all that it ever sees.

A still is one object in one state; a caption names some of its attributes in words. Since captions are
partial, many of them are true of several stills in a batch ("a photo of a star" of every star), so each
still and caption also comes as a row of attribute codes, and `fits` says exactly which caption is true of
which still: a contrastive loss that took every other caption in the batch for false would be taught lies.

Every pair of shape and colour appears here, those that the motion decoders never train on among them: what
they are tested for is whether motion carries over to an appearance that the *decoder* has not met.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt8

from demo.painter import HUES, SHAPES, Sprites, draw_backdrops, draw_colours, paint

ATTRIBUTES = ("shape", "colour", "size", "column", "row", "dot", "glow")
"""The columns of the codes. A caption's code is UNSAID where it is silent."""

UNSAID = -1
NOTHING = len(SHAPES)
"""The shape code of an empty scene."""

SMALLEST, LARGEST = 0.09, 0.28
SIZES = ("small", "", "large")
SIDES = ("top", "right", "bottom", "left")
TEMPLATES = ("a photo of {}", "a picture of {}", "{}", "an image of {}", "this is {}", "there is {} here")
EMPTY = ("an empty scene", "nothing", "a photo of nothing", "an empty background")
PLACES = {
    (0, 0): "in the top left corner", (1, 0): "at the top", (2, 0): "in the top right corner",
    (0, 1): "on the left", (1, 1): "in the centre", (2, 1): "on the right",
    (0, 2): "in the bottom left corner", (1, 2): "at the bottom", (2, 2): "in the bottom right corner",
}  # fmt: skip


MENTIONED = np.array([0.9, 0.8, 0.3, 0.4, 0.3, 0.5])
"""How often a caption names shape, colour, size, place, dot and glow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stills:
    """N stills, each with a caption that is true of it."""

    pictures: UInt8[np.ndarray, "n s s 3"]
    sprites: Sprites
    captions: list[str]
    codes: Int[np.ndarray, "n a"]
    """What is to be seen, by ATTRIBUTES."""
    said: Int[np.ndarray, "n a"]
    """What the caption says of it; UNSAID elsewhere."""


def draw_stills(
    count: int, rng: np.random.Generator, *, size: int = 64, empty: float = 0.03, hardness: float = 1.0
) -> Stills:
    """Stills of random objects in random states. `empty` is the share of scenes without any object.

    At `hardness` 0 all objects are large and near upright, and captions name nothing but shape and colour;
    at 1 anything goes.
    """
    sprites, hues = draw_sprites(count, rng, empty=empty, hardness=hardness)
    codes = read_codes(sprites, hues)
    spoken = [describe(row, rng, detail=hardness) for row in codes]
    return Stills(
        pictures=paint(sprites, draw_backdrops(count, size, rng), rng),
        sprites=sprites,
        captions=[caption for caption, _ in spoken],
        codes=codes,
        said=np.stack([said for _, said in spoken]),
    )


def draw_sprites(
    count: int, rng: np.random.Generator, *, empty: float = 0.0, hardness: float = 1.0
) -> tuple[Sprites, Int[np.ndarray, " n"]]:
    """Random objects, and the number of each one's colour in HUES."""
    hues = rng.integers(0, len(HUES), count)
    smallest = LARGEST - (LARGEST - SMALLEST) * (0.4 + 0.6 * hardness)
    radius = rng.uniform(smallest, LARGEST, count).astype(np.float32)
    x, y = rng.uniform(radius, 1 - radius, (2, count)).astype(np.float32)
    sprites = Sprites(
        shape=rng.integers(0, len(SHAPES), count),
        colour=draw_colours(np.array(list(HUES.values()))[hues], rng),
        x=x,
        y=y,
        radius=radius,
        angle=((0.1 + 0.9 * hardness) * rng.uniform(-math.pi, math.pi, count)).astype(np.float32),
        glow=np.where(rng.random(count) < 0.15, rng.uniform(0.6, 1, count), 0).astype(np.float32),
        opacity=(rng.random(count) >= empty).astype(np.float32),
    )
    return sprites, hues


def read_codes(sprites: Sprites, hues: Int[np.ndarray, " n"]) -> Int[np.ndarray, "n a"]:
    """The attribute codes of what the sprites look like."""
    column, row = np.digitize(sprites.x, (0.4, 0.6)), np.digitize(sprites.y, (0.4, 0.6))
    size = np.digitize(sprites.radius, (0.14, 0.21))
    side = np.mod(np.round(sprites.angle / (math.pi / 2)), 4).astype(int)
    codes = np.stack([sprites.shape, hues, size, column, row, side, sprites.glow > 0.5], axis=1).astype(
        np.int64
    )
    codes[sprites.opacity == 0] = [NOTHING, *[UNSAID - 1] * (len(ATTRIBUTES) - 1)]
    return codes


def describe(
    codes: Int[np.ndarray, " a"], rng: np.random.Generator, *, detail: float = 1.0
) -> tuple[str, Int[np.ndarray, " a"]]:
    """A caption of a still, as full or sparse as chance has it, and the codes of what it says.

    `detail` scales the chances of all but shape and colour. Middle sizes and the dots of small objects go
    unsaid.
    """
    if codes[0] == NOTHING:
        return str(rng.choice(EMPTY)), np.array([NOTHING, *[UNSAID] * (len(ATTRIBUTES) - 1)])
    shape, colour, size, place, dot, glow = rng.random(6) < MENTIONED * np.array([1, 1, *[detail] * 4])
    wanted = [shape, colour, size and codes[2] != 1, place, place, dot and codes[2] > 0, glow and codes[6]]
    said = np.where(wanted, codes, UNSAID)
    return str(rng.choice(TEMPLATES)).format(phrase(said)), said


def phrase(said: Int[np.ndarray, " a"]) -> str:
    """The words for the codes: "a small red star on the left with its dot at the top"."""
    shape, colour, size, column, row, dot, glow = said.tolist()
    words = [
        "glowing" if glow == 1 else "",
        SIZES[size] if size != UNSAID else "",
        list(HUES)[colour] if colour != UNSAID else "",
        list(SHAPES)[shape] if shape != UNSAID else "object",
    ]
    text = "a " + " ".join(word for word in words if word)
    text = text.replace("a object", "an object")
    if column != UNSAID:
        text += " " + PLACES[column, row]
    if dot != UNSAID:
        text += f" with its dot at the {SIDES[dot]}"
    return text


def fits(said: Int[np.ndarray, "m a"], codes: Int[np.ndarray, "n a"]) -> Bool[np.ndarray, "n m"]:
    """Whether caption m is true of still n: all that it says is to be seen."""
    return ((said[None] == UNSAID) | (said[None] == codes[:, None])).all(axis=2)
