"""Listing a folder: class folders, a flat folder, or train/val/test folders with either inside.

The names of the class folders, sorted, are the classes; a video may lie at any depth below its class folder.
ImageNet's class folders get their names in words, and its flat validation images their classes, where the
files that come with it say them (`video.imagenet`).

No video is opened and no file is stat-ed: the type of an entry comes with the directory read itself, so a
million files cost about ten seconds on a local disk.
"""

import os
from collections.abc import Iterator

from video.clip import Clip
from video.errors import InputError
from video.extensions import is_media, kinds
from video.imagenet import synset_labels, validation_classes

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


def list_folder(folder: str) -> Iterator[Clip]:
    """Every video and image below `folder`, sorted by path.

    Raises:
        InputError: the folder holds no video; ImageNet's files do not fit its images.
    """
    names = sorted(_walk(folder, ""))
    if not names:
        raise InputError(_nothing_in(folder))
    tops = {name.split("/", 1)[0] for name in names if "/" in name}
    depth = 1 if tops and all(top.lower() in SPLITS for top in tops) else 0
    solved = validation_classes(folder, names)
    classes = sorted({solved.get(name) or _class_of(name, depth) for name in names} - {""})
    labels = synset_labels(folder, classes) or {name: (index, name) for index, name in enumerate(classes)}
    return (
        _clip(folder, name, depth, labels.get(solved.get(name) or _class_of(name, depth), (-1, "")))
        for name in names
    )


def _clip(folder: str, name: str, depth: int, labelled: tuple[int, str]) -> Clip:
    label, class_name = labelled
    split = name.split("/", 1)[0] if depth and "/" in name else ""
    path = os.path.join(folder, name)
    return Clip(
        key=_text(name), path=_text(path), label=label, class_name=_text(class_name), split=_text(split)
    )


def _text(name: str) -> str:
    r"""A file name as text: bytes that are no UTF-8, which no table can hold, as \x..; such a file then fails
    with its reason when read."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _class_of(name: str, depth: int) -> str:
    parts = name.split("/", depth + 1)
    return parts[depth] if len(parts) > depth + 1 else ""


def _walk(folder: str, prefix: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Relative paths of all media files. `above` are the real paths of linked folders we are in, so a loop of
    links ends. A broken link counts as a file: it is in the listing and fails with its reason when read."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                if is_media(entry.name):
                    yield prefix + entry.name
                continue
            inside = (*above, os.path.realpath(entry.path)) if entry.is_symlink() else above
            if len(set(inside)) == len(inside):
                yield from _inside(entry, prefix, inside)


def _inside(entry: os.DirEntry[str], prefix: str, above: tuple[str, ...]) -> Iterator[str]:
    """What is below a folder; a folder that is called like a video and holds none is listed itself, since it
    stands where a video was meant to be."""
    found = False
    for name in _walk(entry.path, f"{prefix}{entry.name}/", above):
        found = True
        yield name
    if not found and is_media(entry.name):
        yield prefix + entry.name


def _nothing_in(folder: str) -> str:
    found = sorted(os.listdir(folder))
    tars = [name for name in found if name.endswith(".tar")]
    if tars:
        return (
            f"expected videos in {folder}; found {len(tars)} tar files; "
            f"name them with a pattern, for example '{os.path.join(folder, '*.tar')}'"
        )
    what = f"{len(found)} entries, none of them a video (first: {found[0]!r})" if found else "an empty folder"
    return (
        f"expected class folders with videos in {folder}; found {what}; put files there that end in {kinds()}"
    )
