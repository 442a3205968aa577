"""Clips with the same content under several names: stored once, listed as often as they are named.

Only files of equal size can be equal, so hashing is limited to groups of these; among videos they are rare.
The clip that was listed first owns the rows, so the outcome does not depend on the order in which shards
are made. Clips behind URLs have no known size before they are read, and are not compared.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipeline.task import clip_of
from storage import ClipTable
from video import VideoError, read_bytes

READERS = 8


def find_twins(new: Sequence[Mapping[str, Any]], listed: ClipTable) -> dict[str, str]:
    """Key of a new clip to the key of the first clip with the same content, for those that have one.

    Args:
        new: lines for the listing; clips that are listed already are left out.
        listed: the bank's listing.
    """
    known = set(listed["key"].to_pylist())
    fresh = [line for line in new if line["key"] not in known]
    sizes = {line["bytes"] for line in fresh} - {-1}
    old = [line for line in same_size_lines(listed, sizes)]
    groups: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for line in [*old, *fresh]:
        groups[line["bytes"]].append(line)
    suspects = [line for size, group in groups.items() if size >= 0 and len(group) > 1 for line in group]
    with ThreadPoolExecutor(READERS) as pool:
        digests = list(pool.map(content_of, suspects))
    return first_with_same(suspects, digests, known)


def same_size_lines(listed: ClipTable, sizes: set[int]) -> Iterable[Mapping[str, Any]]:
    """Lines of the listing whose content has one of the sizes."""
    places = [i for i, size in enumerate(listed["bytes"].to_pylist()) if size in sizes]
    return listed.take(places).to_pylist() if places else []


def content_of(line: Mapping[str, Any]) -> str:
    """sha256 of a clip's bytes, or nothing where it cannot be read: its extraction will say why."""
    try:
        return hashlib.sha256(read_bytes(clip_of(dict(line)))).hexdigest()
    except (VideoError, OSError):
        return ""


def first_with_same(
    lines: Sequence[Mapping[str, Any]], digests: Sequence[str], known: set[str]
) -> dict[str, str]:
    """Key to the earliest key of equal content; those of the bank come first and keep their rows."""
    first: dict[str, str] = {}
    twins: dict[str, str] = {}
    for line, digest in zip(lines, digests, strict=True):
        if not digest:
            continue
        original = first.setdefault(digest, line["key"])
        if original != line["key"] and line["key"] not in known:
            twins[line["key"]] = original
    return twins
