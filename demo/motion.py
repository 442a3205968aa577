"""Moves that only time tells: six pairs, each the other's film played backwards.

One half of a pair is painted and the other half is the same kind of clip with its frames turned round,
noise and all. So the frames of the two halves have the same distribution, whatever the seed: a decoder that
takes the frames for an unordered bag can at best guess the pair and toss a coin, 0.5 over all classes.
(Between pairs a bag tells a lot: the object is somewhere else, or of another size.) A clip of a scene and
its twin (same seed, other half) consist of exactly the same pictures.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from demo.painter import HUES, Sprites, draw_backdrops, draw_colours, paint

PAIRS = (
    ("moves right", "moves left"),
    ("moves down", "moves up"),
    ("approaches", "recedes"),
    ("turns clockwise", "turns counter-clockwise"),
    ("appears", "vanishes"),
    ("flashes then hops", "hops then flashes"),
)
"""The first of each pair is painted, the second is the first backwards."""

MOTIONS = tuple(name for pair in PAIRS for name in pair)

WORDINGS = {
    "moves right": ("moves to the right", "slides right", "goes from left to right", "travels rightwards"),
    "moves left": ("moves to the left", "slides left", "goes from right to left", "travels leftwards"),
    "moves down": ("moves down", "sinks", "goes from top to bottom", "travels downwards"),
    "moves up": ("moves up", "rises", "goes from bottom to top", "travels upwards"),
    "approaches": ("approaches", "comes closer", "grows from small to large", "gets larger"),
    "recedes": ("recedes", "goes away", "shrinks from large to small", "gets smaller"),
    "turns clockwise": (
        "turns clockwise",
        "rotates clockwise",
        "spins to the right",
        "rotates like a clock's hand",
    ),
    "turns counter-clockwise": (
        "turns counter-clockwise",
        "rotates counter-clockwise",
        "spins to the left",
        "rotates against a clock's hand",
    ),
    "appears": ("appears", "shows up", "comes out of nothing", "is absent and then present"),
    "vanishes": ("vanishes", "fades away", "turns into nothing", "is present and then absent"),
    "flashes then hops": (
        "flashes then hops",
        "lights up and then jumps",
        "glows first and jumps afterwards",
        "hops after a flash",
    ),
    "hops then flashes": (
        "hops then flashes",
        "jumps and then lights up",
        "jumps first and glows afterwards",
        "flashes after a hop",
    ),
}
"""Ways to say each motion of a subject; the first is the plainest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """An object's state over T frames; each field an array of length T, units as in Sprites."""

    x: Float[np.ndarray, " t"]
    y: Float[np.ndarray, " t"]
    radius: Float[np.ndarray, " t"]
    angle: Float[np.ndarray, " t"]
    glow: Float[np.ndarray, " t"]
    opacity: Float[np.ndarray, " t"]


def paint_clip(
    motion: str, *, shape: int, colour: int, frames: int, size: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "t s s 3"]:
    """A clip of `motion`; the two halves of a pair, given generators in the same state, are each other's
    reverse.

    `shape` and `colour` are positions in SHAPES and HUES. An unknown motion raises KeyError.
    """
    track = _PAINTED[_FORWARD[motion]](frames, rng)
    hue = np.array(list(HUES.values()))[[colour]]
    sprites = Sprites(
        shape=np.full(frames, shape),
        colour=np.repeat(draw_colours(hue, rng), frames, axis=0),
        **{name: getattr(track, name).astype(np.float32) for name in Track.__slots__},
    )
    backdrop = np.broadcast_to(draw_backdrops(1, size, rng), (frames, 3, size, size))
    clip = paint(sprites, backdrop, rng)
    return clip if motion in _PAINTED else clip[::-1]


def still_track(frames: int, rng: np.random.Generator) -> Track:
    """An object that stays as and where it is; every motion changes one or two fields of such a track."""
    radius = rng.uniform(0.14, 0.24)
    x, y = rng.uniform(radius, 1 - radius, 2)
    ones = np.ones(frames)
    return Track(
        x=x * ones,
        y=y * ones,
        radius=radius * ones,
        angle=rng.uniform(0, 2 * np.pi) * ones,
        glow=0 * ones,
        opacity=ones,
    )


def move_right(frames: int, rng: np.random.Generator) -> Track:
    track = still_track(frames, rng)
    return replace(track, x=_crossing(track.radius[0], frames, rng))


def move_down(frames: int, rng: np.random.Generator) -> Track:
    track = still_track(frames, rng)
    return replace(track, y=_crossing(track.radius[0], frames, rng))


def approach(frames: int, rng: np.random.Generator) -> Track:
    track = still_track(frames, rng)
    near = rng.uniform(0.2, 0.28)
    radius = np.linspace(rng.uniform(0.45, 0.6) * near, near, frames)
    x, y = rng.uniform(near, 1 - near, (2, 1)) * np.ones((2, frames))
    return replace(track, x=x, y=y, radius=radius)


def turn_clockwise(frames: int, rng: np.random.Generator) -> Track:
    track = still_track(frames, rng)
    return replace(track, angle=track.angle + np.linspace(0, rng.uniform(0.8, 1.6) * np.pi, frames))


def appear(frames: int, rng: np.random.Generator) -> Track:
    moment = rng.uniform(0.25, 0.75) * frames
    return replace(
        still_track(frames, rng), opacity=np.clip((np.arange(frames) + 0.5 - moment) / 3 + 0.5, 0, 1)
    )


def flash_then_hop(frames: int, rng: np.random.Generator) -> Track:
    track = still_track(frames, rng)
    radius, height = track.radius[0], rng.uniform(0.2, 0.3)
    ground = rng.uniform(radius + height, 1 - radius)
    return replace(
        track,
        glow=_event(rng.uniform(0.2, 0.3), frames),
        y=ground - height * _event(rng.uniform(0.7, 0.8), frames),
    )


def _crossing(radius: float, frames: int, rng: np.random.Generator) -> Float[np.ndarray, " t"]:
    """Steady positions from one side towards the other, over a random half or more of the free space."""
    free = 1 - 2 * radius
    reach = rng.uniform(0.6, 1.0) * free
    start = radius + rng.uniform(0, free - reach)
    return np.linspace(start, start + reach, frames)


def _event(middle: float, frames: int, length: float = 0.4) -> Float[np.ndarray, " t"]:
    """0, up to 1 at `middle` and back; the same backwards, so that only the order of two events can tell
    time.
    """
    away = ((np.arange(frames) + 0.5) / frames - middle) / length
    return np.where(np.abs(away) < 0.5, np.cos(np.pi * away) ** 2, 0)


_PAINTED: dict[str, Callable[[int, np.random.Generator], Track]] = {
    "moves right": move_right,
    "moves down": move_down,
    "approaches": approach,
    "turns clockwise": turn_clockwise,
    "appears": appear,
    "flashes then hops": flash_then_hop,
}

_FORWARD = {name: pair[0] for pair in PAIRS for name in pair}
