"""The unit of work as it travels between processes: plain values, and nothing heavy to import."""

from dataclasses import dataclass
from typing import Any

from video import Clip


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTask:
    """One shard's worth of work, as plain values."""

    shard: int
    """Number of the shard."""
    part: int = 0
    """Part of the bank whose arrays are to be written."""
    lines: tuple[dict[str, Any], ...]
    """The listing's lines of the clips to decode."""
    kept: tuple[dict[str, Any], ...] = ()
    """Facts of rows that stay as they are."""
    attempts: tuple[tuple[int, int], ...] = ()
    """Earlier vain attempts by first row of a clip."""
    failures: tuple[dict[str, Any], ...] = ()
    """What the shard's record says of those attempts."""
    contents: tuple[tuple[int, str], ...] = ()
    """Digest of the content that a row must have, by row, where the bank knows it already."""


def clip_of(line: dict[str, Any]) -> Clip:
    """The clip that a line of the listing stands for."""
    return Clip(
        key=line["key"],
        path=line["path"],
        offset=line["offset"],
        size=line["size"],
        label=line["label"],
        class_name=line["class_name"],
        split=line["split"],
        captions=tuple(line["captions"]),
        attributes=dict(line["attributes"]),
    )
