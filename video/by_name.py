"""Clips found by their names, where a list says what they are called and not where they are.

A name or id is looked for among the files below a folder, or among the keys of a bank, without the extension:
`video7020` is `video7020.mp4`, and also `TestVideo/video7020.webm` if no other video is called so;
`val2014/COCO_val2014_000000000042.jpg` is found in that folder, or under that name alone.
"""

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from video.clip import Clip
from video.errors import InputError
from video.extensions import is_media


def located(clips: Iterable[Clip], places: Iterable[Clip], source: str) -> tuple[list[Clip], list[Clip]]:
    """The clips that are among `places`, under the keys that they have there, and those that are not.

    Raises InputError for a name that several places have, or a place that several clips name.
    """
    pairs = list(_paired(clips, places, source))
    found = [replace(at(clip, place), key=place.key) for clip, place in pairs if place is not None]
    return found, [clip for clip, place in pairs if place is None]


def placed(clips: Iterable[Clip], places: Iterable[Clip], *, source: str, folder: str) -> list[Clip]:
    """The clips under their own keys, each where it was found; the others where they should be, so that each
    is recorded, with its name, as a file that is not there, and may still come: in `folder`, or, where their
    names have no folder, beside the first that was found.

    Raises InputError for names as above, and where none is found.
    """
    pairs = list(_paired(clips, places, source))
    first = next((place for _, place in pairs if place is not None), None)
    if first is None:
        such = f" (such as {pairs[0][0].key!r})" if pairs else ""
        raise InputError(
            f"expected the videos and images of {source} below {folder}; found none of {len(pairs)} by "
            f"name{such}; give the folder that they are in as root"
        )
    return [
        replace(clip, path=_expected(clip.key, folder, first)) if place is None else at(clip, place)
        for clip, place in pairs
    ]


def _expected(key: str, folder: str, first: Clip) -> str:
    """Where a file that is not there would be, with the extension of the first where its name has none."""
    whole = first.size < 0
    name = key if is_media(key) or not whole else key + posixpath.splitext(first.path)[1]
    return posixpath.join(posixpath.dirname(first.path) if whole and "/" not in key else folder, name)


def at(clip: Clip, place: Clip) -> Clip:
    """A clip with the bytes of another."""
    return replace(clip, path=place.path, offset=place.offset, size=place.size)


def _paired(clips: Iterable[Clip], places: Iterable[Clip], source: str) -> Iterator[tuple[Clip, Clip | None]]:
    there, taken = by_name(places), set[str]()
    for clip in clips:
        place = the_one(clip.key, there, source)
        if place is not None and place.key in taken:
            raise InputError(f"{source}: expected every video once, found {place.key!r} under two names")
        if place is not None:
            taken.add(place.key)
        yield clip, place


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
