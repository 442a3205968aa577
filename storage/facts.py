"""The facts on disk: one parquet file per shard and part, vouched for by the shard's commit record."""

import pyarrow as pa

from storage.clip_table import FACTS, from_parquet
from storage.commit import ShardRecord, facts_name, read_promised
from storage.errors import CorruptShard
from storage.places.place import Place

MAX_FACTS_BYTES = 2**28
"""A shard has at most some ten thousand rows; a larger table is damage or malice, and is not read."""


def read_facts(place: Place, record: ShardRecord) -> pa.Table:
    """What became of the row slots of one shard.

    Raises:
        CorruptShard: the table is gone or not what was committed.
    """
    name = facts_name(record.shard, record.part)
    try:
        return from_parquet(read_promised(place, name, record.files[name], MAX_FACTS_BYTES), FACTS)
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise CorruptShard(
            f"{place}/{name} is not what was committed ({error}); `framebank verify {place} "
            "--repair` marks the shard, then extract again to make it anew"
        ) from error
