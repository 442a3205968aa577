"""The work of a run: enrolled clips minus what commit records vouch for, cut into whole shards.

A task is one shard. A shard without a record is made from scratch. A shard with failed rows is made again
as long as they have attempts left: their clips are decoded once more, all other rows are copied from what
is committed.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.config import ExtractConfig
from pipeline.task import ShardTask
from storage import Bank, BankWriter, ShardRecord
from video import Clip, list_clips


def listing_lines(config: ExtractConfig) -> list[dict[str, Any]]:
    """The source's clips as lines for the bank's listing."""
    clips = list_clips(config.source, root=config.root)
    clips = clips[: config.limit] if config.limit else clips
    return [listing_line(clip, config.split) for clip in clips]


def listing_line(clip: Clip, split: str) -> dict[str, Any]:
    """A clip as a line of the listing: `split` where its own listing names none, and a path that holds from
    any working folder, since workers may have another one.
    """
    return {
        "key": clip.key,
        "label": clip.label,
        "class_name": clip.class_name,
        "split": clip.split or split,
        "captions": list(clip.captions),
        "attributes": dict(clip.attributes),
        "path": clip.path if "://" in clip.path else os.path.abspath(clip.path),
        "offset": clip.offset,
        "size": clip.size,
    }


def pending_tasks(writer: BankWriter, *, attempts: int) -> Iterator[ShardTask]:
    """Every shard that is missing, or has failed rows that may be tried again, ascending."""
    records = writer.records
    shards = np.asarray(writer.listing["row"]) // writer.shard_rows
    numbers, starts = np.unique(shards, return_index=True)
    stops = [*starts[1:], len(shards)]
    for shard, start, stop in zip(numbers.tolist(), starts, stops, strict=True):
        record = records.get(shard)
        if record is None:
            lines = writer.listing.slice(start, stop - start).to_pylist()
            yield ShardTask(shard=shard, lines=tuple(lines))
        elif retryable(record, attempts):
            lines = writer.listing.slice(start, stop - start).to_pylist()
            yield retry_task(writer, record, lines, attempts)


def retryable(record: ShardRecord, attempts: int) -> bool:
    """Whether a shard has a failed row with attempts left."""
    return any(count < attempts for count in record.attempts.values())


def retry_task(
    writer: BankWriter, record: ShardRecord, lines: list[dict[str, Any]], attempts: int
) -> ShardTask:
    """The task that tries a shard's failed rows once more and keeps the rest."""
    again = {row for row, count in record.attempts.items() if count < attempts}
    table = Bank(writer.path).table_of(record.shard).to_pylist()
    return ShardTask(
        shard=record.shard,
        lines=tuple(line for line in lines if line["row"] in again),
        kept=tuple(line for line in table if line["row"] - line["view"] not in again),
        attempts=tuple(record.attempts.items()),
    )
