"""The bank: a sharded Zarr v3 store of frozen features that never loses or mixes up a row."""

from storage.clip_table import (
    FAILED,
    FILTERED,
    LISTING,
    OUTCOMES,
    QUARANTINED,
    WRITTEN,
    ClipTable,
    distinct_labels,
)
from storage.commit import ShardRecord
from storage.errors import (
    BankBusy,
    BankError,
    CorruptShard,
    DiskTooSmall,
    ListingConflict,
    MissingRow,
    NotABank,
    SpecMismatch,
)
from storage.layout import POOLED, array_layouts, array_name, row_bytes
from storage.reader import Bank
from storage.shard_writer import ShardWriter
from storage.spec import ATTENTION_MODES, Attention, BackboneSpec, BankSpec
from storage.writer import BankWriter

__all__ = [
    "ATTENTION_MODES",
    "FAILED",
    "FILTERED",
    "LISTING",
    "OUTCOMES",
    "POOLED",
    "QUARANTINED",
    "WRITTEN",
    "Attention",
    "BackboneSpec",
    "Bank",
    "BankBusy",
    "BankError",
    "BankSpec",
    "BankWriter",
    "ClipTable",
    "CorruptShard",
    "DiskTooSmall",
    "ListingConflict",
    "MissingRow",
    "NotABank",
    "ShardRecord",
    "ShardWriter",
    "SpecMismatch",
    "array_layouts",
    "array_name",
    "distinct_labels",
    "row_bytes",
]
