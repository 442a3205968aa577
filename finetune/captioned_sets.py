"""What is to be retrieved: the clips of a list that have captions, and where these clips are.

Lists that name videos by id (MSR-VTT's) say nothing of files. An id is looked for among the videos below a
folder, or among the keys of a bank, by its name without the extension: `video7020` is `video7020.mp4`, and
also `TestVideo/video7020.webm` if no other video is called so. What is not there is counted and named, never
dropped in silence, since every video that is missing makes the task easier.
"""

import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from finetune.labelled_sets import set_name
from video import Clip, InputError
from video.extensions import is_media


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionedSet:
    """Clips and captions that are to find each other."""

    name: str
    """What it is called in reports."""
    clips: tuple[Clip, ...]
    """The clips that are there, each with a caption at least."""
    absent: tuple[Clip, ...] = ()
    """Clips of the list that were not found."""
    uncaptioned: int = 0
    """Clips of the list without a caption, which are left out."""

    def where(self, known: Collection[str]) -> "CaptionedSet":
        """The same with every clip absent whose key is not known.

        Raises InputError where none is left.
        """
        kept = tuple(clip for clip in self.clips if clip.key in known)
        lost = tuple(clip for clip in self.clips if clip.key not in known)
        if not kept:
            raise InputError(
                f"{self.name}: expected clips that were encoded, found none of {len(self.clips)} (such as "
                f"{self.clips[0].key}); a bank's clips are matched by their keys"
            )
        return replace(self, clips=kept, absent=self.absent + lost)


def captioned_set(
    clips: Sequence[Clip],
    *,
    source: str,
    split: str = "",
    limit: int = 0,
    places: Iterable[Clip] | None = None,
) -> CaptionedSet:
    """The clips of a source that have captions, and where they are.

    Args:
        clips: as listed. source: their list, for the set's name and for errors.
        split: only clips of this split, or of several, joined by commas; empty takes all.
        limit: at most so many of them, spread over all; 0 takes every one.
        places: the videos or a bank's clips that they are to be found among; None: they are where they say.

    Raises:
        InputError: no clips in the split, no captions, none that is found, one that is found twice.
    """
    chosen = in_split(clips, split, source)
    captioned = [clip for clip in chosen if clip.captions]
    if not captioned:
        raise InputError(
            f"{source}: expected captions, found none for any of {len(chosen)} videos; name a file that has "
            "them with --captions"
        )
    thinned = captioned[:: -(-len(captioned) // limit)] if limit else captioned
    found, absent = (thinned, []) if places is None else located(thinned, places, source)
    if not found:
        raise InputError(
            f"{source}: expected its videos, found none of {len(absent)} by name (such as "
            f"{absent[0].key!r}); say with --root, or --bank, where they are"
        )
    return CaptionedSet(
        name=set_name(source),
        clips=tuple(found),
        absent=tuple(absent),
        uncaptioned=len(chosen) - len(captioned),
    )


def in_split(clips: Sequence[Clip], split: str, source: str) -> list[Clip]:
    """The clips of a split, or of several. Raises InputError where there is none."""
    splits = split.split(",") if split else []
    chosen = [clip for clip in clips if not splits or clip.split in splits]
    if not chosen:
        known = ", ".join(repr(name) for name in sorted({clip.split for clip in clips})) or "none"
        raise InputError(
            f"{source}: expected videos in split {split!r}, found none of {len(clips)}; its splits: {known}"
        )
    return chosen


def with_captions(clips: Sequence[Clip], texts: Iterable[Clip], *, source: str, captions: str) -> list[Clip]:
    """The clips with captions, and splits where they have none, of those in `texts` with the same name.

    Raises InputError for a clip that has none there.
    """
    said, found = by_name(texts), []
    for clip in clips:
        match = the_one(clip.key, said, captions)
        if match is None or not match.captions:
            raise InputError(
                f"{source}: expected captions in {captions} for each of its {len(clips)} videos, found none "
                f"for {clip.key!r}; give the file that belongs to the list"
            )
        found.append(replace(clip, captions=match.captions, split=clip.split or match.split))
    return found


def located(clips: Iterable[Clip], places: Iterable[Clip], source: str) -> tuple[list[Clip], list[Clip]]:
    """The clips that are among `places`, under the keys that they have there, and those that are not."""
    there = by_name(places)
    found: dict[str, Clip] = {}
    absent = []
    for clip in clips:
        place = the_one(clip.key, there, source)
        if place is None:
            absent.append(clip)
        elif place.key in found:
            raise InputError(f"{source}: expected every video once, found {place.key!r} under two names")
        else:
            found[place.key] = replace(
                clip, key=place.key, path=place.path, offset=place.offset, size=place.size
            )
    return list(found.values()), absent


def by_name(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    """Clips by their names without folder and extension."""
    found: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        found[posixpath.basename(bare(clip.key))].append(clip)
    return found


def the_one(name: str, clips: dict[str, list[Clip]], source: str) -> Clip | None:
    """The clip that a list calls `name`, None where there is none; the nearer the names, the better.

    Raises InputError where several are equally near.
    """
    near, wanted = clips.get(posixpath.basename(bare(name)), []), bare(name)
    matches = (
        [clip for clip in near if clip.key == name]
        or [clip for clip in near if bare(clip.key) == wanted]
        or [clip for clip in near if f"/{bare(clip.key)}".endswith(f"/{wanted}")]
        or [clip for clip in near if f"/{wanted}".endswith(f"/{bare(clip.key)}")]
    )
    if len(matches) > 1:
        keys = " and ".join(clip.key for clip in matches[:2])
        raise InputError(
            f"{source}: expected one video called {name!r}, found {keys}; name the folder of one with --root"
        )
    return matches[0] if matches else None


def bare(name: str) -> str:
    """A video's name without the extension, if it has one."""
    return name.rpartition(".")[0] if is_media(posixpath.basename(name)) else name
