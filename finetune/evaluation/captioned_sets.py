"""What is to be retrieved: the clips of a list that have captions, and where these clips are.

Lists of captions (`video.captions`) name videos and say nothing of files; `video.by_name` looks for them
below a folder, or among the keys of a bank. What is not there is counted and named, never dropped in
silence, since every video that is missing makes the task easier.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from finetune.evaluation.labelled_sets import set_name
from video import Clip, InputError, list_clips
from video.by_name import by_name, located, the_one
from video.caption_tables import header_of
from video.captions import is_captions, read_captions
from video.lists import LINE
from video.tables import is_table


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


def captioned_clips(source: str, *, root: str = "", there: bool = True) -> list[Clip]:
    """The clips of a source with their captions; those of files that name videos by id have no path.

    Args:
        source: whatever `list_clips` takes. root: as there, where a list says paths.
        there: whether the videos of a list should be on this machine.

    Raises:
        InputError: nothing there, a damaged file, lines without a video, columns that are missing.
    """
    path = Path(source).expanduser()
    if is_captions(str(path)):
        return read_captions(str(path))
    if path.suffix.lower() in (".csv", ".tsv") and path.is_file() and not is_table(str(path)):
        cells = header_of(path)
        if not any(LINE.match(cell) for cell in cells):
            raise InputError(
                f"{path}: expected a header with video_id and sentence, or with path and caption, found "
                f"{', '.join(map(repr, cells[:6])) or 'an empty file'}; name the columns so"
            )
    return list_clips(source, root=root, there=there)


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


def as_paragraphs(clips: Iterable[Clip]) -> list[Clip]:
    """The clips with all their captions joined to one, in the order of their list."""
    return [replace(clip, captions=(" ".join(clip.captions),) if clip.captions else ()) for clip in clips]


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
