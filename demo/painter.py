"""Paints objects on textured backgrounds: the pixels of the demo's world, from arrays of numbers.

A shape is a signed distance: a function of the point in the object's own coordinates (radius 1, y down)
that is negative inside and positive outside. Distances anti-alias themselves (coverage falls from 1 to 0
over one pixel of distance) and vectorise over any number of objects, so that a batch of stills or the
frames of a clip cost one call: about 0.4 ms a picture of 64 x 64 on one core, against several for
supersampled drawing with PIL. The price is that a shape must have a formula.

Every object carries a dark dot towards its own "up", without which a circle could turn unseen.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

HUES = {"red": 0.0, "yellow": 55.0, "green": 125.0, "cyan": 182.0, "blue": 228.0, "pink": 310.0}
"""Colour names and their hue in degrees. A drawn colour strays by at most HUE_SPREAD from its hue."""

HUE_SPREAD = 10.0
DOT_RADIUS = 0.2
DOT_SHADE = 0.05
HALO_WIDTH = 0.35
NOISE = 0.02

Plane = Float[np.ndarray, "n s s"]


def circle(u: Plane, v: Plane) -> Plane:
    return np.hypot(u, v) - 0.9


def square(u: Plane, v: Plane) -> Plane:
    return np.maximum(np.abs(u), np.abs(v)) - 0.8


def triangle(u: Plane, v: Plane) -> Plane:
    side = math.sqrt(3) / 2
    return np.maximum(v, side * np.abs(u) - 0.5 * v) - 0.5


def star(u: Plane, v: Plane) -> Plane:
    """Five points; folding the angle into half a sector leaves one edge, from a tip to a notch."""
    sector = 2 * math.pi / 5
    folded = np.abs(np.mod(np.arctan2(u, -v) + sector / 2, sector) - sector / 2)
    reach = np.hypot(u, v)
    tip, notch = np.array([1.0, 0.0]), 0.48 * np.array([math.cos(sector / 2), math.sin(sector / 2)])
    across = np.array([tip[1] - notch[1], notch[0] - tip[0]])
    across = -across / np.hypot(*across)
    return (reach * np.cos(folded) - 1) * np.float32(across[0]) + reach * np.sin(folded) * np.float32(
        across[1]
    )


def cross(u: Plane, v: Plane) -> Plane:
    u, v = np.abs(u), np.abs(v)
    return np.maximum(np.maximum(u, v) - 0.95, np.minimum(u, v) - 0.3)


def ring(u: Plane, v: Plane) -> Plane:
    return np.abs(np.hypot(u, v) - 0.75) - 0.22


SHAPES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "cross": cross,
    "ring": ring,
}

DOT_DISTANCE = np.array([0.6, 0.5, 0.45, 0.5, 0.65, 0.75], np.float32)
"""How far from the middle each shape's dot sits, in radii, in the order of SHAPES."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sprites:
    """N objects to paint, one a picture, each field an array of length N."""

    shape: Int[np.ndarray, " n"]
    """Position in SHAPES."""
    colour: Float[np.ndarray, "n 3"]
    """RGB, 0 to 1."""
    x: Float[np.ndarray, " n"]
    """Centre, 0 (left edge) to 1."""
    y: Float[np.ndarray, " n"]
    """Centre, 0 (top edge) to 1."""
    radius: Float[np.ndarray, " n"]
    """In sides of the picture."""
    angle: Float[np.ndarray, " n"]
    """Radians clockwise; at 0 the dot points up."""
    glow: Float[np.ndarray, " n"]
    """0 (as it is) to 1 (lit up, with a halo)."""
    opacity: Float[np.ndarray, " n"]
    """0 (absent) to 1."""


def draw_colours(hues: Float[np.ndarray, " n"], rng: np.random.Generator) -> Float[np.ndarray, "n 3"]:
    """RGB colours near the given hues (degrees), each strong enough to keep its name."""
    hue = hues + rng.uniform(-HUE_SPREAD, HUE_SPREAD, len(hues))
    saturation = rng.uniform(0.75, 1.0, (len(hues), 1))
    value = rng.uniform(0.8, 1.0, (len(hues), 1))
    place = np.mod(np.array([5.0, 3.0, 1.0]) + hue[:, None] / 60, 6)
    return (value - value * saturation * np.clip(np.minimum(place, 4 - place), 0, 1)).astype(np.float32)


def draw_backdrops(count: int, size: int, rng: np.random.Generator) -> Float[np.ndarray, "n 3 s s"]:
    """Dull backgrounds, 0 to 1: a tinted grey with blotches, stripes at any angle and a few pebbles."""
    x, y = pixel_grid(size)
    grey = rng.uniform(0.15, 0.6, (count, 1, 1, 1)) + rng.normal(0, 0.03, (count, 3, 1, 1))
    texture = _blotches(count, size, rng) + _stripes(count, x, y, rng) + _pebbles(count, x, y, rng)
    return np.clip(grey.astype(np.float32) + texture[:, None], 0, 1)


def paint(
    sprites: Sprites, backdrops: Float[np.ndarray, "n 3 s s"], rng: np.random.Generator
) -> UInt8[np.ndarray, "n s s 3"]:
    """Each object on its backdrop, with sensor noise from `rng`.

    Colour planes come first until the end: numpy is several times faster where the last axis is long.
    """
    distance, dot = _distances(sprites, backdrops.shape[-1])
    sharpness = (sprites.radius * backdrops.shape[-1])[:, None, None]
    opacity, glow = sprites.opacity[:, None, None], sprites.glow[:, None, None]
    body = np.clip(0.5 - distance * sharpness, 0, 1) * opacity
    speck = np.clip(0.5 - dot * sharpness, 0, 1) * opacity
    halo = 0.6 * glow * opacity * np.exp(-np.maximum(distance, 0) / HALO_WIDTH)
    colour = sprites.colour + (1 - sprites.colour) * 0.65 * sprites.glow[:, None]
    picture = backdrops + (1 - backdrops) * halo[:, None]
    picture += (colour[:, :, None, None] - picture) * body[:, None]
    picture += (DOT_SHADE - picture) * speck[:, None]
    picture += rng.standard_normal(picture.shape, np.float32) * np.float32(NOISE)
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def pixel_grid(size: int) -> tuple[Float[np.ndarray, "s s"], Float[np.ndarray, "s s"]]:
    """x and y of every pixel's middle, 0 to 1."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    return np.broadcast_to(line, (size, size)), np.broadcast_to(line[:, None], (size, size))


def _distances(sprites: Sprites, size: int) -> tuple[Plane, Plane]:
    """Signed distances, in radii, of every pixel to its picture's shape and to the shape's dot."""
    x, y = pixel_grid(size)
    dx = (x - sprites.x[:, None, None]) / sprites.radius[:, None, None]
    dy = (y - sprites.y[:, None, None]) / sprites.radius[:, None, None]
    cos, sin = np.cos(sprites.angle)[:, None, None], np.sin(sprites.angle)[:, None, None]
    u = (dx * cos + dy * sin).astype(np.float32)
    v = (dy * cos - dx * sin).astype(np.float32)
    distance = np.empty_like(u)
    for number, shape in enumerate(SHAPES.values()):
        rows = np.flatnonzero(sprites.shape == number)
        distance[rows] = shape(u[rows], v[rows])
    dot = np.hypot(u, v + DOT_DISTANCE[sprites.shape][:, None, None]) - np.float32(DOT_RADIUS)
    return distance, dot


def _blotches(count: int, size: int, rng: np.random.Generator) -> Plane:
    """Coarse noise, stretched linearly to the picture's size."""
    knots = 7
    place = np.linspace(0, knots - 1, size)
    stretch = np.clip(1 - np.abs(place[:, None] - np.arange(knots)), 0, 1).astype(np.float32)
    coarse = rng.standard_normal((count, knots, knots), np.float32)
    strength = rng.uniform(0.01, 0.08, (count, 1, 1)).astype(np.float32)
    return stretch @ (coarse * strength) @ stretch.T


def _stripes(count: int, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Plane:
    tilt, phase = rng.uniform(0, 2 * math.pi, (2, count, 1, 1)).astype(np.float32)
    waves = 2 * math.pi * rng.uniform(1, 6, (count, 1, 1)).astype(np.float32)
    strength = rng.uniform(0, 0.07, (count, 1, 1)).astype(np.float32)
    return strength * np.sin(waves * (x * np.cos(tilt) + y * np.sin(tilt)) + phase)


def _pebbles(count: int, x: np.ndarray, y: np.ndarray, rng: np.random.Generator, pebbles: int = 4) -> Plane:
    texture = np.zeros((count, *x.shape), np.float32)
    for _ in range(pebbles):
        left, top = rng.uniform(0, 1, (2, count, 1, 1)).astype(np.float32)
        radius = rng.uniform(0.02, 0.05, (count, 1, 1)).astype(np.float32)
        shade = rng.uniform(-0.2, 0.2, (count, 1, 1)).astype(np.float32)
        texture += shade * np.clip(1.5 - np.hypot(x - left, y - top) / radius, 0, 1)
    return texture
