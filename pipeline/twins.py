"""Clips with the same content under several names: stored once, listed as often as they are named, as long as
as many frames are wanted of each.

Only files of equal size can be equal, and of a million videos every tenth shares its size with another by
chance: so first the two ends of those are compared, and only what still looks equal is read as a whole. The
clip that was listed first owns the rows, so the outcome does not depend on the order in which shards are
made. Clips behind URLs have no known size before they are read, and are not compared.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.task import clip_of
from storage import ClipTable, lacking
from video import VideoError, read_bytes

READERS = 8
END_BYTES = 1 << 15
"""Bytes of either end of a file that are compared first."""
Line = dict[str, Any]


def find_twins(clips: ClipTable, listed: ClipTable) -> dict[str, str]:
    """Key of a new clip to the key of the first clip with the same content and T, for those that have one.

    Args:
        clips: the source's clips; those that are listed already keep their rows.
        listed: the bank's listing.
    """
    fresh = lacking(listed, clips)
    sizes = np.concatenate([listed["bytes"].to_numpy(), fresh["bytes"].to_numpy()])
    places = np.flatnonzero(of_equal_size(sizes, listed.num_rows))
    old = listed.take(places[places < listed.num_rows]).to_pylist()
    new = fresh.take(places[places >= listed.num_rows] - listed.num_rows).to_pylist()
    with ThreadPoolExecutor(READERS) as pool:
        alike, _ = of_equal_digest([*old, *new], pool, ends_of)
        same, digests = of_equal_digest(alike, pool, content_of)
    return first_with_same(same, digests, {line["key"] for line in old})


def of_equal_size(sizes: NDArray[np.int64], listed: int) -> NDArray[np.bool_]:
    """Which clips have a known size that others share, one of them not among the first `listed`."""
    values, group, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    fresh = np.bincount(group[listed:], minlength=len(values))
    return ((values >= 0) & (counts > 1) & (fresh > 0))[group]


def of_equal_digest(
    lines: Sequence[Line], pool: ThreadPoolExecutor, digest: Callable[[Line], str]
) -> tuple[list[Line], list[str]]:
    """The lines that share their digest with another, and their digests."""
    digests = list(pool.map(digest, lines))
    counts = Counter(digests)
    kept = [place for place, found in enumerate(digests) if found and counts[found] > 1]
    return [lines[place] for place in kept], [digests[place] for place in kept]


def ends_of(line: Line) -> str:
    """sha256 of a clip's first and last bytes and its size, or nothing where they cannot be read."""
    clip, size = clip_of(line), line["bytes"]
    short = min(size, END_BYTES)
    head, tail = (replace(clip, offset=clip.offset + skipped, size=short) for skipped in (0, size - short))
    return digest_of(lambda: b"%d:" % size + read_bytes(head) + read_bytes(tail))


def content_of(line: Line) -> str:
    """sha256 of a clip's bytes, or nothing where it cannot be read: its extraction will say why."""
    return digest_of(lambda: read_bytes(clip_of(line)))


def digest_of(read: Callable[[], bytes]) -> str:
    """sha256 of what can be read, or nothing."""
    try:
        return hashlib.sha256(read()).hexdigest()
    except (VideoError, OSError):
        return ""


def first_with_same(
    lines: Sequence[Mapping[str, Any]], digests: Sequence[str], known: set[str]
) -> dict[str, str]:
    """Key to the earliest key of equal content and T; those of the bank come first and keep their rows."""
    first: dict[tuple[str, int], str] = {}
    twins: dict[str, str] = {}
    for line, digest in zip(lines, digests, strict=True):
        original = first.setdefault((digest, line["frames"]), line["key"])
        if original != line["key"] and line["key"] not in known:
            twins[line["key"]] = original
    return twins
