"""From what a user names to a list of clips: a folder, a list, a data set's captions, or webdataset tars.

Listing opens no video: it costs a directory walk, one pass over a list, or the headers of the tars, and a
clip that is missing or broken is found, and recorded with its reason, when its turn comes.
"""

import glob
import os
import re
from collections.abc import Iterator

from video.by_name import placed
from video.captions import is_captions, read_captions
from video.clip import Clip
from video.errors import InputError
from video.extensions import is_media
from video.folders import list_folder
from video.lists import LIST_EXTENSIONS, list_file
from video.ranges import local_path, read_bytes

__all__ = ["Clip", "iter_clips", "list_clips", "read_bytes"]

TAR = re.compile(r"\.(tar|tgz|tar\.\w+)(\?[^/]*)?$")


def list_clips(source: str, *, root: str = "", there: bool = True) -> list[Clip]:
    """The clips of a source at once; for arguments and errors see `iter_clips`."""
    return list(iter_clips(source, root=root, there=there))


def iter_clips(source: str, *, root: str = "", there: bool = True) -> Iterator[Clip]:
    """The clips of a source, each with a unique key, in a fixed order; for a million of them.

    Args:
        source: a folder; a list file (.txt, .csv, .tsv, .lst); a data set's captions (`video.captions`); a
            pattern of tars, local or URL, with braces ("shards/{000..099}.tar") or, if local, wildcards; or a
            single video.
        root: what a list's relative paths are relative to; by default the list's own folder, else the working
            folder. For captions, the folder (or tars) below which their clips are found by name.
        there: whether the videos of a list should be on this machine; if not, only their names are wanted.

    Raises:
        InputError: nothing there, nothing in it, or (also while they are taken) an entry that cannot be
            read or comes twice; says where and what to do.
    """
    path = os.path.expanduser(local_path(source))
    if os.path.isfile(path) and is_captions(path):
        return _captioned(path, root, there)
    if root and not os.path.isdir(root):
        raise InputError(
            f"expected a folder as root; found {_what_is(root)} at {root}; correct it or leave it out"
        )
    if root and (os.path.isdir(path) or TAR.search(path)):
        raise InputError(f"root says where the paths of a list begin; {source!r} is no list; leave root out")
    if os.path.isdir(path):
        return list_folder(path)
    if TAR.search(path) or ".tar::" in path:
        return _tars(path)
    if "*" in path and not os.path.exists(path):
        return _lists(path, root, there)
    if not os.path.isfile(path):
        raise InputError(
            f"expected a folder, a list file or a tar pattern; found {_what_is(path)} at {source!r}; "
            f"{_nearest(path)}"
        )
    if is_media(os.path.basename(path)):
        return iter([Clip(key=os.path.basename(path), path=path)])
    if path.lower().endswith(LIST_EXTENSIONS):
        return list_file(path, root=root, there=there)
    raise InputError(
        f"expected a folder, a list file ({', '.join(LIST_EXTENSIONS)}), captions (.json, .jsonl, "
        f".token) or a .tar; found {source!r}; name a list so that its extension says what it is"
    )


def places_below(root: str, source: str) -> list[Clip]:
    """The files among which those that a list names are looked for: below root, or the list's own folder.

    Raises InputError where there is none.
    """
    try:
        return list_clips(root or os.path.dirname(os.path.abspath(os.path.expanduser(source))))
    except InputError as error:
        raise InputError(f"{source} names videos by id; say with --root where they are: {error}") from error


def _captioned(path: str, root: str, there: bool) -> Iterator[Clip]:
    clips = read_captions(path)
    if not there:
        return iter(clips)
    folder = root or os.path.dirname(os.path.abspath(path))
    return iter(placed(clips, places_below(root, path), source=path, folder=folder))


def _tars(pattern: str) -> Iterator[Clip]:
    from video.tars import expand_tars, list_tars  # webdataset imports torch (2.5 s): only for tars

    shards: list[str] = []
    for name in expand_tars(pattern):
        matches = sorted(glob.glob(name)) if "*" in name and "://" not in name else [name]
        if not matches:
            raise InputError(f"expected tars at {name!r}; found none; {_nearest(name)}")
        shards += matches
    return list_tars(shards)


def _lists(pattern: str, root: str, there: bool) -> Iterator[Clip]:
    """Several lists as one, for HMDB51's one file per class."""
    paths = sorted(path for path in glob.glob(pattern) if path.lower().endswith(LIST_EXTENSIONS))
    if not paths:
        raise InputError(f"expected list files at {pattern!r}; found none; {_nearest(pattern)}")
    if not all(re.search(r"_test_split\d+\.txt$", path) for path in paths):
        raise InputError(
            f"expected one list, or HMDB51's <class>_test_split<N>.txt of one split; found {len(paths)} "
            f"files at {pattern!r}; join them to one list"
        )
    return (clip for path in paths for clip in list_file(path, root=root, there=there))


def _what_is(path: str) -> str:
    if os.path.isfile(path):
        return "a file"
    return "a folder" if os.path.isdir(path) else "nothing"


def _nearest(path: str) -> str:
    """The part of a path that exists, so that the wrong part can be seen."""
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return f"check the path: the part that exists is {folder}"
