"""The bank: a sharded Zarr v3 store of frozen features that never loses or mixes up a row."""

from storage.clip_table import (
    FAILED,
    FILTERED,
    LISTING,
    OUTCOMES,
    QUARANTINED,
    WRITTEN,
    ClipTable,
    clips_table,
    unwritten,
)
from storage.commit import ShardRecord
from storage.enrolment import distinct_labels, lacking
from storage.errors import (
    BankBusy,
    BankError,
    CorruptShard,
    DiskTooSmall,
    ListingConflict,
    MissingRow,
    NotABank,
    SpecMismatch,
    Unstorable,
)
from storage.layout import (
    MAPS,
    POOLED,
    WEIGHTS,
    ArrayLayout,
    array_layouts,
    array_name,
    derived_blocks,
    part_layouts,
    pooled_name,
    row_bytes,
    weight_name,
)
from storage.lease import PROGRESS, live_run
from storage.loader import RowLoader
from storage.places.place import Place, open_place
from storage.quantize import (
    decoded,
    dequantize_map,
    dequantize_tokens,
    is_scale,
    quantize_map,
    quantize_tokens,
    scales_of,
)
from storage.reader import Bank
from storage.row_order import RowOrder
from storage.shard_writer import ShardWriter
from storage.shelf import Standing, bank_places, find_bank, spec_line, standings, suggested_name
from storage.spec import (
    ATTENTION_MODES,
    DTYPES,
    Attention,
    BackboneSpec,
    BankSpec,
    Dtype,
    Kept,
    TemporalSpec,
)
from storage.statistics import Statistics, row_statistics
from storage.weights import block_weights, derive_qk
from storage.writer import BankWriter

__all__ = [
    "ATTENTION_MODES",
    "DTYPES",
    "FAILED",
    "FILTERED",
    "LISTING",
    "MAPS",
    "OUTCOMES",
    "POOLED",
    "PROGRESS",
    "QUARANTINED",
    "WEIGHTS",
    "WRITTEN",
    "ArrayLayout",
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
    "Dtype",
    "Kept",
    "ListingConflict",
    "MissingRow",
    "NotABank",
    "Place",
    "RowLoader",
    "RowOrder",
    "ShardRecord",
    "ShardWriter",
    "SpecMismatch",
    "Standing",
    "Statistics",
    "TemporalSpec",
    "Unstorable",
    "array_layouts",
    "array_name",
    "bank_places",
    "block_weights",
    "clips_table",
    "decoded",
    "dequantize_map",
    "dequantize_tokens",
    "derive_qk",
    "derived_blocks",
    "distinct_labels",
    "find_bank",
    "is_scale",
    "lacking",
    "live_run",
    "open_place",
    "part_layouts",
    "pooled_name",
    "quantize_map",
    "quantize_tokens",
    "row_bytes",
    "row_statistics",
    "scales_of",
    "spec_line",
    "standings",
    "suggested_name",
    "unwritten",
    "weight_name",
]
