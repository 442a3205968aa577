"""The work of a run: enrolled clips minus what commit records vouch for, cut into whole shards.

A task is one shard of one part of the bank. A shard without a record is made from scratch. A shard with
failed rows is made again as long as they have attempts left: their clips are decoded once more, all other
rows are copied from what is committed. A later part of a bank follows the first: it holds the rows that the
first holds.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.task import ShardTask
from storage import WRITTEN, Bank, BankWriter, ClipTable, ShardRecord

Line = dict[str, Any]


class Plan:
    """What is to be done in a bank that a run holds open.

    Args:
        writer: the run.
        attempts: how often a clip is tried in all.
        redo: keys of clips to extract anew whatever became of them.
    """

    def __init__(self, writer: BankWriter, *, attempts: int, redo: frozenset[str] = frozenset()) -> None:
        self.bank = Bank(writer.path)
        self.listing = writer.listing.combine_chunks()  # in chunks, taking a few lines reads them all
        self.views = writer.spec.views
        self.attempts = attempts
        self.places = places_by_shard(writer)
        self.redo = rows_of_keys(writer.listing, redo)

    def clips(self, part: int) -> Counter[int]:
        """How many clips all tasks of a part will try, by T of their rows."""
        found: Counter[int] = Counter()
        if part:
            for task in self.tasks(part):
                found[task.frames] += len(task.lines)
            return found
        for shard, places in self.places.items():
            again = self._again(shard)
            found[self._frames(shard)] += len(places) if again is None else len(again)
        return found

    def tasks(self, part: int) -> Iterator[ShardTask]:
        """Every shard of a part that is missing, or has clips that may be tried again, ascending. Made one by
        one, since the lines of a million clips take a gigabyte.
        """
        for shard in self.places:
            task = self._first(shard) if part == 0 else self._later(part, shard)
            if task is not None:
                yield task

    def _again(self, shard: int) -> set[int] | None:
        """First rows of the clips that a committed shard is to try again; None if it is not committed."""
        record = self.bank.records.get((0, shard))
        if record is None:
            return None
        again = {row for row, count in record.attempts.items() if count < self.attempts}
        return again | (self.redo & self._clips(shard)) if self.redo else again

    def _first(self, shard: int) -> ShardTask | None:
        again = self._again(shard)
        if again is None:
            lines = self._lines(shard, self._clips(shard))
            return ShardTask(shard=shard, frames=self._frames(shard), lines=lines)
        if not again:
            return None
        record = self.bank.records[0, shard]
        return ShardTask(
            shard=shard,
            frames=self._frames(shard),
            lines=self._lines(shard, again),
            kept=tuple(line for line in self._facts(record) if line["row"] - line["view"] not in again),
            attempts=tuple((row, n) for row, n in record.attempts.items() if row not in self.redo),
            failures=tuple(entry for entry in record.failures if entry["row"] not in self.redo),
        )

    def _later(self, part: int, shard: int) -> ShardTask | None:
        first, record = self.bank.records.get((0, shard)), self.bank.records.get((part, shard))
        if first is None:
            return None
        facts = {line["row"]: line for line in self._facts(first)}
        have = {} if record is None else {line["row"]: line for line in self._facts(record)}
        earlier = {} if record is None else record.attempts
        kept: list[Line] = []
        again: set[int] = set()
        for clip in sorted(self._clips(shard)):
            rows = range(clip, clip + self.views)
            if any(facts[row]["outcome"] != WRITTEN for row in rows):
                kept += [facts[row] for row in rows]  # the reason why the first part lacks it is ours as well
            elif clip not in self.redo and all(holds(have.get(row), facts[row]) for row in rows):
                kept += [have[row] for row in rows]
            elif earlier.get(clip, 0) < self.attempts or clip in self.redo:
                again.add(clip)
            else:
                kept += [have[row] for row in rows]
        if record is not None and not again:
            return None
        return ShardTask(
            shard=shard,
            part=part,
            frames=self._frames(shard),
            lines=self._lines(shard, again),
            kept=tuple(kept),
            attempts=tuple(earlier.items()),
            failures=() if record is None else record.failures,
            contents=tuple((row, facts[row]["content"]) for row in sorted(again)),
        )

    def _frames(self, shard: int) -> int:
        """T of a shard's rows."""
        return self.listing["frames"][int(self.places[shard][0])].as_py()

    def _clips(self, shard: int) -> set[int]:
        """First rows of the clips of a shard."""
        return set(self.listing["row"].take(self.places[shard]).to_pylist())

    def _lines(self, shard: int, clips: set[int]) -> tuple[Line, ...]:
        """The listing's lines of some clips of a shard, rows ascending."""
        lines = self.listing.take(self.places[shard]).to_pylist()
        return tuple(line for line in lines if line["row"] in clips)

    def _facts(self, record: ShardRecord) -> list[Line]:
        return self.bank.facts_of(record).to_pylist()


def holds(mine: Line | None, first: Line) -> bool:
    """Whether a later part holds the very row that the first part holds."""
    return mine is not None and mine["outcome"] == WRITTEN and mine["content"] == first["content"]


def places_by_shard(writer: BankWriter) -> dict[int, NDArray[np.int64]]:
    """Shard to the places of its clips in the listing, a clip that shares another's rows left out; shards and
    rows ascending. Places and not lines, since of a bank that is nearly done few lines are wanted.
    """
    rows, places = np.unique(np.asarray(writer.listing["row"]), return_index=True)
    shards, starts = np.unique(rows // writer.shard_rows, return_index=True)
    return dict(zip(shards.tolist(), np.split(places, starts[1:]), strict=False))


def rows_of_keys(listing: ClipTable, keys: frozenset[str]) -> set[int]:
    """First rows of the clips of these names."""
    if not keys:
        return set()
    pairs = zip(listing["key"].to_pylist(), listing["row"].to_pylist(), strict=True)
    return {row for key, row in pairs if key in keys}


def redo_keys(path: str) -> frozenset[str]:
    """The keys in a text file, one a line; none for an empty path."""
    if not path:
        return frozenset()
    with open(path) as file:
        return frozenset(line.strip() for line in file if line.strip())
