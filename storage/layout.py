"""Names, shapes, chunks and shards: where in a bank a row of an array lies.

    BANK/
      zarr.json                        group attributes: format version, spec, fingerprint, rows per shard
      features/block08/out             (rows, T, L, C)     one Zarr array per tap and block
      features/block08/map_prev        (rows, T-1, P, P)   frame t's patches over frame t-1's, t = 1..T-1
      features/block08/map_next        (rows, T-1, P, P)   frame t's patches over frame t+1's, t = 0..T-2
      features/block08/q, k            (rows, T, L, H, D)  in place of the maps, with attention=qk
      features/pooled                  (rows, T, E)        the tower's final embedding per frame
      clips/00000.parquet              listing: which clip owns which rows, in the order they were enrolled
      shards/00042.json, .parquet      commit record of shard 42; its part of the clip table
      lease.json                       who is writing, while somebody is

Inner chunk = one row of one array (what a training step reads). Shard = a fixed run of rows: unit of work,
of writing and of commit. The fill value is NaN, so that even a reader that knows nothing of commit records
sees absent rows as NaN and not as plausible zeros.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from storage.spec import BankSpec

FORMAT = 1
SHARD_BYTES = 64 * 2**20
MAX_ROWS_PER_SHARD = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayLayout:
    """One array of a bank."""

    name: str
    """Path of the array within the bank's group."""
    row_shape: tuple[int, ...]
    """Shape of one row."""
    dtype: str
    """numpy's name of the element type, little-endian on disk."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, without its checksum."""
        return math.prod(self.row_shape) * np.dtype(self.dtype).itemsize

    def shard_file(self, shard: int) -> str:
        """Path within the bank of the file that holds shard `shard`."""
        return "/".join([self.name, "c", str(shard), *["0"] * len(self.row_shape)])


def array_name(block: int, tap: str) -> str:
    """Name of the array that keeps `tap` (out, q, k, map_prev, map_next) of a block."""
    return f"features/block{block:02d}/{tap}"


POOLED = "features/pooled"


def attention_taps(spec: BankSpec) -> dict[str, tuple[int, ...]]:
    """Row shapes of what is kept beside `out`, by tap. A single frame has no neighbour and keeps nothing."""
    patches, heads = spec.patches, spec.backbone.heads
    if spec.attention == "none" or spec.frames == 1:
        return {}
    if spec.attention == "qk":
        per_head = (spec.frames, spec.tokens, heads, spec.backbone.width // heads)
        return {"q": per_head, "k": per_head}
    per_pair = (spec.frames - 1, patches, patches)
    return {"map_prev": per_pair, "map_next": per_pair}


def array_layouts(spec: BankSpec) -> tuple[ArrayLayout, ...]:
    """Every array of a bank with this spec."""
    taps = {"out": (spec.frames, spec.tokens, spec.backbone.width), **attention_taps(spec)}
    named = [(array_name(block, tap), shape) for block in spec.blocks for tap, shape in taps.items()]
    named.append((POOLED, (spec.frames, spec.backbone.embed)))
    return tuple(ArrayLayout(name=name, row_shape=shape, dtype=spec.dtype) for name, shape in named)


def row_bytes(spec: BankSpec) -> int:
    """Bytes of one row over all arrays."""
    return sum(layout.row_bytes for layout in array_layouts(spec))


def rows_per_shard(spec: BankSpec) -> int:
    """A whole number of clips, with the largest array's file near 64 MiB, at most 64 rows."""
    largest = max(layout.row_bytes for layout in array_layouts(spec))
    rows = min(MAX_ROWS_PER_SHARD, max(1, SHARD_BYTES // largest))
    return max(1, rows // spec.views) * spec.views


def create_skeleton(folder: Path, spec: BankSpec, shard_rows: int) -> None:
    """Write the group and every array, with no rows yet, into the empty folder `folder`."""
    attributes = {
        "framebank": {
            "format": FORMAT,
            "spec": spec.to_json(),
            "fingerprint": spec.fingerprint,
            "rows_per_shard": shard_rows,
        }
    }
    group = zarr.create_group(store=folder, attributes=attributes)
    for layout in array_layouts(spec):
        group.create_array(
            layout.name,
            shape=(0, *layout.row_shape),
            chunks=(1, *layout.row_shape),
            shards=(shard_rows, *layout.row_shape),
            dtype=layout.dtype,
            compressors=[Crc32cCodec()],
            fill_value=float("nan"),
        )
