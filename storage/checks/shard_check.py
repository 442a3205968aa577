"""One shard of one part: every promise of its commit record, checked against listing, facts and files.

A shard that fails because a run has made it anew meanwhile is looked at again.
"""

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.checks.file_check import Advance, FileCheck, Rows
from storage.checks.finding import Finding, cause
from storage.checks.survey import Key, Survey, current_record
from storage.clip_table import OUTCOMES, WRITTEN
from storage.commit import ShardRecord, facts_name
from storage.errors import CorruptShard
from storage.facts import read_facts
from storage.layout import ArrayLayout, part_layouts
from storage.quantize import is_scale

LOOKS = 5
"""How often a shard is looked at that runs keep replacing."""


def check_shard(survey: Survey, key: Key, advance: Advance) -> list[Finding]:
    """Everything that is wrong with one committed shard, a finding per file."""
    record: ShardRecord | Finding | None = survey.records[key]
    for _ in range(LOOKS):
        if isinstance(record, Finding):
            return [record]
        if record is None:
            return []
        faults = list(ShardCheck(survey, record, advance).faults())
        now = current_record(survey.place, key) if faults else record
        if now == record:
            return [Finding(where=where, what=what, remedy="repair", shard=key) for where, what in faults]
        record = now
    return []


class ShardCheck:
    """A look at one shard of one part, as a record promises it."""

    def __init__(self, survey: Survey, record: ShardRecord, advance: Advance) -> None:
        assert survey.manifest is not None
        self.survey, self.record, self.advance = survey, record, advance
        self.spec, self.shard_rows = survey.manifest.spec, survey.manifest.rows_per_shard
        self.scales: dict[str, Rows] = {}

    def faults(self) -> Iterator[tuple[str, str]]:
        """Files that are damaged, and what is wrong with each."""
        name = facts_name(self.record.shard, self.record.part)
        try:
            facts = read_facts(self.survey.place, self.record)
        except CorruptShard as error:
            self.advance(self.record.bytes)
            yield name, cause(error)
            return
        wrong = self._facts_fault(facts)
        if wrong:
            yield name, wrong
        self.advance(self.record.files[name].bytes)
        written = facts.filter(pc.field("outcome") == WRITTEN)["row"].to_numpy().astype(np.int64)
        layouts = part_layouts(self.spec, self.record.part, self._frames())
        for layout in sorted(layouts, key=lambda layout: not is_scale(layout.name)):
            wrong = self._file_fault(layout, np.unique(written % self.shard_rows))
            if wrong:
                yield layout.shard_file(self.record.shard), wrong

    def _frames(self) -> int:
        """T of the shard's rows; while the listing is damaged, as the names of its files have it."""
        named = (re.match(r"features/frames(\d+)/", name) for name in self.record.files)
        found = next((int(match[1]) for match in named if match), self.spec.frames)
        return self.survey.frames.get(self.record.shard, found)

    def _file_fault(self, layout: ArrayLayout, slots: NDArray[np.int64]) -> str:
        if layout.shard_file(self.record.shard) not in self.record.files:
            return "rows of it are written, but the commit record does not name it" if len(slots) else ""
        check = FileCheck(
            place=self.survey.place,
            layout=layout,
            record=self.record,
            shard_rows=self.shard_rows,
            scales=self.scales,
            advance=self.advance,
        )
        wrong = check.fault(slots)
        if check.values and not wrong:
            self.scales[layout.name] = check.values
        return wrong

    def _facts_fault(self, facts: pa.Table) -> str:
        """How the facts contradict the listing, the record or the first part of the shard."""
        if any(facts[name].null_count for name in ("row", "view", "outcome")):
            return "a line of it has no row, view or outcome"
        rows = facts["row"].to_numpy()
        listed = self.survey.listed.get(self.record.shard)
        listed = rows if listed is None else listed  # unknown while the listing is damaged
        outcomes = Counter(facts["outcome"].to_pylist())
        if not np.array_equal(rows, listed):
            return f"it has {len(rows)} lines, not one for each of the {len(listed)} rows that are listed"
        if not np.array_equal(facts["view"].to_numpy(), rows % self.spec.views):
            return "its views do not count from 0 in every clip"
        if not outcomes.keys() <= set(OUTCOMES) or outcomes != Counter(self.record.outcomes):
            return f"its outcomes are {dict(outcomes)}, the commit record says {self.record.outcomes}"
        return self._content_fault(facts)

    def _content_fault(self, facts: pa.Table) -> str:
        """Rows of a later part that the first part holds of another content."""
        first = self.survey.records.get((0, self.record.shard))
        if self.record.part == 0 or first is None:
            return ""
        try:
            theirs = contents(read_facts(self.survey.place, first))
        except CorruptShard:
            return ""  # found where the first part is checked
        other = [row for row, content in contents(facts).items() if theirs.get(row, content) != content]
        return f"{len(other)} rows, {other[0]} first, have another content than in part 0" if other else ""


def contents(facts: pa.Table) -> dict[int, str]:
    """Row to digest of its content, of the rows that are written."""
    written = facts.filter(pc.field("outcome") == WRITTEN)
    return dict(zip(written["row"].to_pylist(), written["content"].to_pylist(), strict=True))
