"""The Zarr metadata of a bank: what makes it a Zarr group that any reader opens.

zarr-python writes the metadata, in memory; from there the files go to wherever the bank lies, the group's own
`zarr.json` last. The same files are what a check compares with, and what a growing bank replaces.
"""

import json
from collections.abc import Iterable, Mapping
from statistics import median_low
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec
from zarr.storage import MemoryStore

from storage.layout import array_layouts, weight_shapes
from storage.places.place import Place
from storage.sealed import MAX_BYTES
from storage.spec import BankSpec

ROOT = "zarr.json"


def array_metadata(
    spec: BankSpec, rows: int, shard_rows: int, lengths: Iterable[int] = ()
) -> dict[str, bytes]:
    """`zarr.json` of every group and array of rows below the root, by name; `lengths` as `array_layouts`."""
    files: dict[str, Any] = {}
    group = zarr.create_group(store=MemoryStore(files))
    for layout in array_layouts(spec, lengths):
        group.create_array(
            layout.name,
            shape=(rows, *layout.row_shape),
            chunks=(1, *layout.row_shape),
            shards=(shard_rows, *layout.row_shape),
            dtype=layout.dtype,
            compressors=[Crc32cCodec()],
            fill_value=layout.fill_value,
        )
    return without_root(files)


def weight_files(spec: BankSpec, weights: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """The arrays of frozen weights, metadata and values, by file name; one chunk each.

    Raises:
        ValueError: a weight is missing, or has another shape than the spec's.
    """
    files: dict[str, Any] = {}
    group = zarr.create_group(store=MemoryStore(files))
    for name, shape in weight_shapes(spec).items():
        found = weights.get(name)
        if found is None or found.shape != shape:
            raise ValueError(
                f"expected {name} of shape {shape}, found {None if found is None else found.shape}"
            )
        array = group.create_array(
            name,
            shape=shape,
            chunks=shape,
            dtype="float32",
            compressors=[Crc32cCodec()],
            fill_value=float("nan"),
        )
        array[...] = found
    return without_root(files)


def root_metadata(attributes: Mapping[str, Any]) -> bytes:
    """The group's own `zarr.json`."""
    return json.dumps(
        {"attributes": {"framebank": attributes}, "zarr_format": 3, "node_type": "group"}, indent=2
    ).encode()


def without_root(files: Mapping[str, Any]) -> dict[str, bytes]:
    """A memory store's files, the root's metadata left out."""
    return {name: buffer.to_bytes() for name, buffer in sorted(files.items()) if name != ROOT}


def same_metadata(found: bytes, expected: bytes) -> bool:
    """Whether two `zarr.json` say the same, however they are rendered."""
    try:
        return json.loads(found) == json.loads(expected)
    except (ValueError, RecursionError):
        return False


def read_or_none(place: Place, name: str) -> bytes | None:
    """A small file, or None where it is gone; of one that is absurdly large only that it is no JSON."""
    try:
        return place.read(name, MAX_BYTES)
    except FileNotFoundError:
        return None
    except ValueError:
        return b"too large"


def rows_of_arrays(metadata: Iterable[bytes | None]) -> int:
    """How many rows most arrays speak of, as one may be damaged; -1 where there is none."""
    return median_low([rows for rows in map(rows_of, metadata) if rows >= 0] or [-1])


def rows_of(metadata: bytes | None) -> int:
    """How many rows an array's metadata speak of; -1 for a group's, for damaged ones, and for none."""
    try:
        return int(json.loads(metadata or b"")["shape"][0])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return -1
