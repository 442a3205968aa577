"""One clip of a listing: where its bytes are and what is known about it, before anything has been opened.

A listing may hold a million clips, so a Clip is a plain record of strings and numbers that is cheap to make,
to pickle and to send to a worker; about 0.4 kB each.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from video.errors import InputError
from video.extensions import is_still


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """A video or image of a listing."""

    key: str
    """The clip's name for people: its path relative to the source's root, or "shard.tar/member.mp4"; unique
    in a listing."""
    path: str
    """Local path or URL of the file, or of the tar that holds it."""
    offset: int = 0
    """First byte of the clip inside the file at `path`."""
    size: int = -1
    """Number of bytes; -1 means the whole file."""
    label: int = -1
    """Class index from 0; -1 where the source has no labels."""
    class_name: str = ""
    """Name of the class, where the source gives it."""
    captions: tuple[str, ...] = ()
    """Texts that describe the clip."""
    split: str = ""
    """Part of the data set ("train", "val", ...), as the source names it."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Everything else the source says about the clip: further CSV columns or JSON keys, as text."""
    frames: int = 0
    """T, how many frames are sampled of it, where the source says; 0: one of an image, of a video as many as
    of others."""

    @property
    def still(self) -> bool:
        """Whether it is named like an image."""
        return is_still(self.key) or (self.size < 0 and is_still(self.path))


def each_once(clips: Iterable[Clip], source: str) -> Iterator[Clip]:
    """The clips as they are. Raises InputError where one has the key of an earlier one."""
    seen: set[str] = set()
    for clip in clips:
        if clip.key in seen:
            raise InputError(
                f"expected every clip of {source} once; found {clip.key!r} twice; remove one of the two"
            )
        seen.add(clip.key)
        yield clip
