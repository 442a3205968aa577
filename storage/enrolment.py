"""New clips: which of a source's a bank lacks, whether the two agree, and which rows the new ones get.

A shard holds rows of one T, so that its files are those of one set of arrays. Clips of each T therefore begin
at a shard of their own; those of the spec's T come first, so where there are no others all is as if there
could be none.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes the functions of its compute module when it is imported)

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.errors import ListingConflict

MAX_FRAMES = 2**16
MAX_LENGTHS = 64
"""Different T of a bank: each has arrays of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FreeRows:
    """Where new rows may lie."""

    first: int
    """The first row, at the beginning of a shard."""
    views: int
    """V, rows of a clip."""
    shard_rows: int
    """Row slots of a shard."""
    frames: int
    """The spec's T, whose clips come first."""

    def taken(self, lengths: NDArray[np.int32]) -> NDArray[np.int64]:
        """First rows of clips with these T: those of one T lie together, from the beginning of a shard."""
        rows, free = np.zeros(len(lengths), np.int64), self.first
        for length in sorted(set(lengths.tolist()), key=lambda length: (length != self.frames, length)):
            mine = np.flatnonzero(lengths == length)
            rows[mine] = free + self.views * np.arange(len(mine))
            free += -(-self.views * len(mine) // self.shard_rows) * self.shard_rows
        return rows


def with_frames(clips: pa.Table, frames: int) -> pa.Table:
    """The same clips, with the spec's T where nothing else is said. Raises ListingConflict for an impossible
    one.
    """
    place = clips.column_names.index("frames")
    lengths = pc.fill_null(clips["frames"], pa.scalar(frames, pa.int32()))
    least, most = pc.min_max(lengths).as_py().values()
    if clips.num_rows and not (least >= 1 and most <= max(frames, MAX_FRAMES)):
        raise ListingConflict(
            f"rows have from 1 to {MAX_FRAMES} frames, a clip is listed with {least if least < 1 else most}"
        )
    return clips.set_column(place, "frames", lengths)


def refuse_many_lengths(have: pa.Table, more: pa.Table) -> None:
    """Each T costs a set of arrays. Raises ListingConflict where there would be too many."""
    lengths = {*have["frames"].unique().to_pylist(), *more["frames"].unique().to_pylist()}
    if len(lengths) > MAX_LENGTHS:
        raise ListingConflict(
            f"a bank has rows of at most {MAX_LENGTHS} different numbers of frames, with this listing it "
            f"would have {len(lengths)}; round them, or make several banks"
        )


def check_labels(have: pa.Table, more: pa.Table) -> None:
    """Refuse a listing in which a label of the bank means another class.

    Raises:
        ListingConflict: the first such label, with both names.
    """
    names = dict(distinct_labels(have))
    for label, name in distinct_labels(more):
        known = names.setdefault(label, name)
        if known != name:
            raise ListingConflict(
                f"label {label} is class {known!r} in the bank but {name!r} in this listing; "
                "list the classes in the same order as before, or start another bank"
            )


def distinct_labels(table: pa.Table) -> list[tuple[int, str]]:
    """The (label, class name) pairs of a table, label -1 (none) left out, ascending."""
    labelled = table.filter(pc.field("label") >= 0)
    pairs = labelled.group_by(["label", "class_name"]).aggregate([])
    return sorted(zip(pairs["label"].to_pylist(), pairs["class_name"].to_pylist(), strict=True))


def lacking(have: pa.Table, more: pa.Table) -> pa.Table:
    """The clips of a table whose keys another one does not have, in their order."""
    return more.filter(pc.invert(pc.is_in(more["key"], value_set=have["key"].combine_chunks())))


def refuse_relabelling(have: pa.Table, more: pa.Table, frames: int) -> None:
    """A clip keeps labels and T that it was enrolled with: rows must not change their meaning under a reader.

    Args:
        frames: the spec's T. An image that was enrolled with it, when there was no other, keeps it.

    Raises:
        ListingConflict: the first clip that comes with others.
    """
    place = pc.index_in(more["key"], value_set=have["key"].combine_chunks())
    names = ["key", "label", "class_name", "split", "frames"]
    found = more.select(names).filter(pc.is_valid(place))
    known = have.select(names).take(place.drop_null())
    same = np.ones(found.num_rows, bool)
    for name in names[1:-1]:
        same &= pc.equal(found[name], known[name]).to_numpy()
    asked, enrolled = found["frames"].to_numpy(), known["frames"].to_numpy()
    same &= (asked == enrolled) | ((asked == 1) & (enrolled == frames))
    if not same.all():
        first = int(np.argmin(same))
        key, *labels = found.slice(first, 1).to_pylist()[0].values()
        _, *before = known.slice(first, 1).to_pylist()[0].values()
        raise ListingConflict(
            f"{key} has (label, class, split, frames) {tuple(before)} in the bank but {tuple(labels)} in "
            "this listing; list it as before, or start another bank"
        )


def with_rows(have: pa.Table, new: pa.Table, twins: Mapping[str, str], free: FreeRows) -> pa.Table:
    """New clips with the rows they get; a twin those of its original.

    Args:
        have: the bank's listing.
        new: clips that it lacks.
        twins: key of a new clip to the key of one that is listed, or stands earlier in `new`.

    Raises:
        ListingConflict: a twin's rows would have another T.
    """
    shares = pc.is_in(new["key"], value_set=pa.array(list(twins), pa.string())).to_numpy()
    lengths = new["frames"].to_numpy()
    rows = np.zeros(new.num_rows, np.int64)
    rows[~shares] = free.taken(lengths[~shares])
    if twins:
        wanted = pa.array(sorted(set(twins.values())), pa.string())
        known: dict[str, tuple[int, int]] = {}
        for table, own in ((have, have["row"].to_numpy()), (new, rows)):
            places = np.flatnonzero(pc.is_in(table["key"], value_set=wanted).to_numpy())
            pairs = zip(own[places].tolist(), table["frames"].take(places).to_pylist(), strict=True)
            known |= zip(table["key"].take(places).to_pylist(), pairs, strict=True)
        for place in np.flatnonzero(shares):
            key = new["key"][place].as_py()
            rows[place], length = known[key] = known[twins[key]]
            if length != lengths[place]:
                raise ListingConflict(
                    f"{key} has rows of {lengths[place]} frames and cannot share those of {twins[key]}, "
                    f"which have {length}"
                )
    return new.add_column(0, "row", pa.array(rows, pa.int64()))
