"""The facts on disk: one parquet file per shard and part, vouched for by the shard's commit record."""

import pyarrow as pa

from storage.clip_table import FACTS, from_parquet
from storage.commit import ShardRecord, facts_name
from storage.errors import CorruptShard
from storage.places.place import Place
from storage.sealed import digest_of

MAX_FACTS_BYTES = 2**28
"""A shard has at most some ten thousand rows; a larger table is damage or malice, and is not read."""


def read_facts(place: Place, record: ShardRecord) -> pa.Table:
    """What became of the row slots of one shard.

    Raises:
        CorruptShard: the table is gone or not what was committed.
    """
    name = facts_name(record.shard, record.part)
    try:
        promise = record.files[name]
        data = place.read(name, min(promise.bytes, MAX_FACTS_BYTES))
        if len(data) != promise.bytes or digest_of(data) != promise.blake3:
            raise ValueError("its digest is not the recorded one")
        return from_parquet(data, FACTS)
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise CorruptShard(
            f"{place}/{name} is not what was committed ({error}); `framebank verify {place} "
            "--repair` marks the shard, then extract again to make it anew"
        ) from error
