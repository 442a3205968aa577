"""What travels between the driver and its workers: plain values, and nothing heavy to import."""

from dataclasses import dataclass
from typing import Any

from backbones.config import BackboneConfig
from video import Clip


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTask:
    """One shard's worth of work, as plain values."""

    shard: int
    """Number of the shard."""
    part: int = 0
    """Part of the bank whose arrays are to be written."""
    frames: int
    """T, frames of its rows."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderConfig:
    """What a worker needs to build its encoder."""

    bank: str
    """Folder or URL of the bank."""
    part: int = 0
    """Part of the bank whose arrays are written."""
    run: str
    """Id of the run that holds the bank's lease."""
    backbone: BackboneConfig
    """The tower."""
    device: str = "cpu"
    """torch device of the tower."""
    threads: int = 0
    """CPU threads of torch; 0 leaves torch's own choice."""
    batch_rows: int = 8
    """Rows that go through the tower at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardReport:
    """What encoding one shard came to."""

    shard: int
    """Its number."""
    outcomes: dict[str, int]
    """Rows by outcome."""
    clips: int
    """Clips that were tried in this run."""
    frames: int
    """Frames that went through the tower."""
    bytes: int
    """Size of the shard's files."""
    encode_seconds: float
    """Time in the tower and the maps."""
    write_seconds: float
    """Time in writing and committing."""


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
