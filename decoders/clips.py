"""Which clips a decoder learns from, with which labels, in which order.

Labels are the clip table's own `label` column (the class is the number itself, so published 400-way heads
fit) or any attribute of the clips, such as `motion` (the class is the place in the sorted list of values).
The class list is taken from the whole bank, not from a split, so that training and evaluation always agree.

The order is the bank's own (`storage.RowOrder`), a pure function of (seed, step): each clip once an epoch,
and where the bank holds several views a clip, each epoch draws one of them. Nothing needs to be saved to go
on in the middle of an epoch.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from storage import Bank, ClipTable, RowOrder, distinct_labels


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledClips:
    """n clips with their rows and their classes."""

    rows: NDArray[np.int64]
    """(n, V) row numbers, a clip's views in order."""
    targets: NDArray[np.int64]
    """(n,) index into the class list; (decoders, n) where several learn, each its own labels (`stacked`)."""
    unlabelled: int
    """Written clips of the split that have no such label, and are left out."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """sha256 over rows and targets: equal digests mean the same clips in the same places."""
        return hashlib.sha256(self.rows.tobytes() + self.targets.tobytes()).hexdigest()

    def part(self, chosen: slice) -> "LabelledClips":
        """Some of them."""
        return replace(self, rows=self.rows[chosen], targets=self.targets[..., chosen])

    def first_views(self, count: int) -> "LabelledClips":
        """The same clips with the first `count` of their views; 0 takes all. ValueError where there are
        fewer.
        """
        found = self.rows.shape[1]
        if count > found:
            raise ValueError(
                f"expected {count} views of each clip, found {found} in the bank; train with fewer, or "
                f"extract a bank with --views.augmented-views {count}"
            )
        return replace(self, rows=self.rows[:, : count or found])


def class_list(table: ClipTable, label: str) -> tuple[str, ...]:
    """Names of the classes of a label set, over all splits. Raises ValueError where the bank has fewer than
    two.
    """
    if label == "label":
        names = dict(distinct_labels(table))
        last = max(names, default=-1)
        classes = _unique([names.get(i) or str(i) for i in range(last + 1)])
    else:
        classes = sorted({value for value in _attribute(table, label) if value})
    if len(classes) < 2:
        known = ["label", *_attribute_names(table)]
        raise ValueError(
            f"expected at least two classes under {label!r}, found {len(classes)}; the bank's label sets: "
            f"{', '.join(known)}"
        )
    return tuple(classes)


def labelled_clips(
    bank: Bank, *, split: str, label: str, classes: tuple[str, ...], arrays: Sequence[str] = ()
) -> LabelledClips:
    """The written clips of a split (empty: of all) that have a label, and rows in all of `arrays`, which are
    of one T (of the spec's T where none are named). Raises ValueError where there are none.
    """
    chosen = bank.written(split=split, arrays=arrays, frames=None if arrays else bank.spec.frames)
    if not len(chosen):
        raise ValueError(
            f"expected written clips in split {split!r} of {bank.path}, found none{_what_there_is(bank)}"
        )
    rows, targets = (
        rows_by_clip(chosen, bank.spec.views),
        _targets(chosen, label, classes)[:: bank.spec.views],
    )
    kept = targets >= 0
    if not kept.any():
        raise ValueError(
            f"no clip of split {split!r} of {bank.path} has a {label!r}; choose another label set"
        )
    return LabelledClips(rows=rows[kept], targets=targets[kept], unlabelled=int((~kept).sum()))


def _what_there_is(bank: Bank) -> str:
    """The splits of a bank's written rows, and their lengths where there are several."""
    written = bank.written()
    splits = ", ".join(repr(name) for name in sorted(set(written["split"].to_pylist()))) or "none"
    lengths = Counter(written["frames"].to_pylist())
    rows = ", ".join(f"{count} of {frames} frames" for frames, count in sorted(lengths.items()))
    return f"; its splits: {splits}" + (f"; its rows: {rows}" if lengths.keys() - {bank.spec.frames} else "")


def stacked(clips: Sequence[LabelledClips]) -> LabelledClips:
    """The same clips with the classes of several label sets."""
    assert all(np.array_equal(some.rows, clips[0].rows) for some in clips)
    targets = np.stack([some.targets for some in clips])
    return LabelledClips(rows=clips[0].rows, targets=targets, unlabelled=clips[0].unlabelled)


class ClipOrder:
    """Batches of (row, target) by step number; one rank's share of them in a world of several (see
    `RowOrder`).
    """

    def __init__(self, clips: LabelledClips, seed: int, *, rank: int = 0, world: int = 1) -> None:
        self.clips = clips
        self._order = RowOrder(clips.rows, seed, rank=rank, world=world)

    def batch(self, step: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows (size,) and targets (size,), or (decoders, size), of a 0-based step."""
        lines, rows = self._order.drawn(step, size)
        return rows, self.clips.targets[..., lines]


def rows_by_clip(table: ClipTable, views: int) -> NDArray[np.int64]:
    """(n, V) rows; a clip owns V neighbouring rows, so a clip with a view missing shows as a gap."""
    rows = table["row"].to_numpy().astype(np.int64)
    whole = rows[: len(rows) // views * views].reshape(-1, views)
    first_views = table["view"].to_numpy()[: whole.size : views]
    neighbours = (whole == whole[:, :1] + np.arange(views)).all()
    if whole.size != rows.size or not neighbours or first_views.any():
        raise ValueError(
            f"expected {views} written views for every clip, found clips with some missing; extract again"
        )
    return whole


def _targets(table: ClipTable, label: str, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """(rows,) class of each row; -1 where it has none. Raises ValueError for a class that is not in the
    list.
    """
    if label == "label":
        targets = table["label"].to_numpy().astype(np.int64)
        foreign = [str(value) for value in np.unique(targets[targets >= len(classes)])]
    else:
        place = {name: i for i, name in enumerate(classes)}
        values = _attribute(table, label)
        foreign = sorted({value for value in values if value and value not in place})
        targets = np.array([place.get(value, -1) for value in values], dtype=np.int64)
    if foreign:
        raise ValueError(
            f"expected {label!r} to be one of {len(classes)} classes ({', '.join(classes[:5])}, ...), found "
            f"{', '.join(foreign[:5])}; these clips were labelled with another class list"
        )
    return targets


def _attribute(table: ClipTable, name: str) -> list[str]:
    return [dict(pairs or ()).get(name, "") for pairs in table["attributes"].to_pylist()]


def _attribute_names(table: ClipTable) -> list[str]:
    return sorted({name for pairs in table["attributes"].to_pylist() for name, _ in pairs or ()})


def _unique(names: list[str]) -> list[str]:
    """Names told apart by their number where two classes share one."""
    return [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names)]
