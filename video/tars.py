"""Listing webdataset tars: shards of members like a.mp4 + a.cls, a.txt or a.json, grouped by their common
stem.

Only headers and small side files are read; videos stay in the tar and are later read by offset and size, so a
worker fetches one member, not a shard, and clips of a shard can be shared out freely. Over HTTP the listing
too jumps from header to header if the server serves ranges. Braces, sample grouping and unusual URL schemes
are webdataset's own.

A sample may hold several videos (a.left.mp4, a.right.mp4): each is a clip. Side files go to the video with
the same inner name (a.left.cls), else to all of the sample (a.cls).
"""

import json
import posixpath
import tarfile
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from itertools import takewhile
from typing import IO, Any

from webdataset.shardlists import expand_urls
from webdataset.tariterators import group_by_keys

from video.clip import Clip, each_once
from video.errors import InputError
from video.extensions import MEDIA_EXTENSIONS
from video.labels import Entry, clips_of
from video.ranges import cause, local_path
from video.remote import is_url, open_url

SIDE_BYTES = 16 << 20  # a side file larger than this is no label
LABELS = ("label", "class", "cls", "class_name", "category")
CAPTIONS = ("caption", "captions", "text", "texts", "sentence", "sentences")


def expand_tars(pattern: str) -> list[str]:
    """Paths or URLs that a pattern with braces (and `::` between several) stands for."""
    return [local_path(url) for url in expand_urls(pattern)]


def list_tars(shards: list[str]) -> Iterator[Clip]:
    """Clips of all shards, in the order of the shards and their members.

    Raises:
        InputError: a shard that is missing, no tar, compressed or cut short; a side file that cannot be read.
    """
    names = _short_names(shards)
    entries = [entry for shard in shards for entry in _entries(shard, names[shard])]
    source = shards[0] if len(shards) == 1 else f"{len(shards)} tars ({shards[0]} ...)"
    if not entries:
        raise InputError(
            f"expected videos in {source}; found none; members must end in .mp4, .webm, .avi, .jpg or alike"
        )
    return each_once(clips_of(entries, (), source), source)


def _entries(shard: str, name: str) -> Iterator[Entry]:
    try:
        for number, sample in enumerate(group_by_keys(_members(shard)), 1):
            yield from _sample(sample, shard, name, number)
    except InputError:
        raise
    except (tarfile.TarError, EOFError) as error:
        raise InputError(
            f"expected {shard} to be a whole, uncompressed tar; found: {error.args[0]}; "
            "copy it again, or unpack it if it is compressed"
        ) from error
    except (OSError, HTTPException) as error:
        raise InputError(
            f"expected a tar at {shard}; found: {cause(error)}; check the path and the pattern's braces"
        ) from error
    except ValueError as error:  # from webdataset: a doubled member, an unknown scheme
        raise InputError(
            f"expected {shard} to be a webdataset tar; found: {error.args[0]}; correct the tar or its address"
        ) from error


def _members(shard: str) -> Iterator[dict[str, Any]]:
    """What webdataset's grouping wants: name and "data", which here is (offset, size) for media and bytes for
    side files."""
    with (
        _opened(shard) as stream,
        tarfile.open(fileobj=stream, mode="r:" if stream.seekable() else "r|") as tar,
    ):
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # a million headers would stay in memory
            if (
                not member.isreg()
                or member.issparse()
                or posixpath.basename(member.name).startswith((".", "__"))
            ):
                continue
            extension = member.name.rpartition(".")[2].lower()
            if extension in MEDIA_EXTENSIONS:
                data: object = (member.name, member.offset_data, member.size)
            elif extension in ("cls", "txt", "json") and member.size <= SIDE_BYTES:
                extracted = tar.extractfile(member)
                data = extracted.read() if extracted else b""
            else:
                continue
            yield {"fname": member.name, "data": data, "__url__": shard}


def _opened(shard: str) -> IO[bytes]:
    return open_url(shard) if is_url(shard) else open(shard, "rb")


def _sample(sample: dict[str, Any], shard: str, name: str, number: int) -> Iterator[Entry]:
    """One entry for each video of a sample."""
    media = {suffix: value for suffix, value in sample.items() if isinstance(value, tuple)}
    for suffix, (member, offset, size) in media.items():
        inner = suffix.rpartition(".")[0]
        said: dict[str, Any] = {}
        for kind, read in (("json", _json), ("txt", _txt), ("cls", _cls)):
            data = sample.get(f"{inner}.{kind}", sample.get(kind)) if inner else sample.get(kind)
            if data is not None:
                said |= read(data, f"{name}/{sample['__key__']}.{kind}")
        yield Entry(line=number, path=shard, key=f"{name}/{member}", offset=offset, size=size, **said)


def _cls(data: bytes, name: str) -> dict[str, Any]:
    return {"label": _text(data, name).strip()}


def _txt(data: bytes, name: str) -> dict[str, Any]:
    lines = [line.strip() for line in _text(data, name).splitlines()]
    return {"captions": tuple(line for line in lines if line)}


def _json(data: bytes, name: str) -> dict[str, Any]:
    try:
        values = json.loads(data)
    except ValueError as error:
        raise InputError(f"{name}: expected JSON; found {error}; correct or remove the member") from error
    if not isinstance(values, dict):
        raise InputError(
            f"{name}: expected a JSON object; found {type(values).__name__}; write it as {{...}}"
        )
    label = next((key for key in LABELS if isinstance(values.get(key), int | str)), None)
    said: dict[str, Any] = {"label": "" if label is None else str(values.pop(label))}
    if said["label"].lstrip("+-").isdecimal() and isinstance(values.get("class_name"), str):
        said["class_name"] = values.pop("class_name")
    captions = [values.pop(key) for key in CAPTIONS if isinstance(values.get(key), str | list)]
    said["captions"] = tuple(
        str(text) for value in captions for text in ([value] if isinstance(value, str) else value)
    )
    if isinstance(values.get("split"), str):
        said["split"] = values.pop("split")
    said["attributes"] = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()
    }
    return said


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}: expected text in UTF-8; found {data[:20]!r}; correct or remove the member"
        ) from error


def _short_names(shards: Iterable[str]) -> dict[str, str]:
    """Shards named from the folder that they have in common."""
    parts = {shard: shard.split("/") for shard in shards}
    levels = zip(*(names[:-1] for names in parts.values()), strict=False)
    common = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    return {shard: "/".join(names[common:]) for shard, names in parts.items()}
