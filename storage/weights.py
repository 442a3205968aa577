"""Frozen weights in the bank: what turns a block's input tokens into its queries and keys.

A CLIP block's q and k are a layer norm and two projections of the tokens before it. With
`attention=derived` the bank keeps those tokens and these few weights instead of q and k of every row, and
computes the latter when they are read (`derive_qk`, for numpy and torch alike).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from storage.commit import FileDigest, read_promised
from storage.errors import CorruptShard
from storage.layout import WEIGHTS, weight_name, weight_shapes
from storage.places.place import Place
from storage.shard_index import CRC_BYTES, checksum_bytes
from storage.skeleton import weight_files
from storage.spec import BankSpec

EPSILON = 1e-5
"""Of the layer norm, as every CLIP has it."""


def write_weights(place: Place, spec: BankSpec, weights: Mapping[str, np.ndarray]) -> dict[str, FileDigest]:
    """Store the weights of a spec; what the manifest says of their files."""
    files = weight_files(spec, weights)
    for name, data in files.items():
        place.write(name, data)
    return {name: FileDigest.of(data) for name, data in files.items()}


def read_weights(place: Place, spec: BankSpec, files: Mapping[str, FileDigest]) -> dict[str, np.ndarray]:
    """The stored weights by name, fp32.

    Raises:
        CorruptShard: a file is not what the manifest promises.
    """
    return {name: read_weight(place, name, shape, files) for name, shape in weight_shapes(spec).items()}


def read_weight(
    place: Place, name: str, shape: tuple[int, ...], files: Mapping[str, FileDigest]
) -> np.ndarray:
    """One weight, whose only chunk is its values and their crc32c."""
    chunk = "/".join([name, "c", *["0"] * len(shape)])
    try:
        data = read_promised(place, chunk, files[chunk])
        values, stored = data[:-CRC_BYTES], data[-CRC_BYTES:]
        if checksum_bytes(values) != stored:
            raise ValueError("its crc32c is wrong")
        return np.frombuffer(values, "<f4").reshape(shape).copy()
    except (OSError, KeyError, ValueError) as error:
        raise CorruptShard(
            f"{place}/{chunk} is not the weight that was written ({error}); restore it from a copy"
        ) from error


def block_weights(weights: Mapping[str, Any], block: int) -> dict[str, Any]:
    """The weights of one block by their short names."""
    return {which: weights[weight_name(block, which)] for which in WEIGHTS}


def derive_qk(tokens: Any, weights: Mapping[str, Any], heads: int) -> tuple[Any, Any]:
    """Queries and keys of a block from the tokens before it.

    Args:
        tokens: (..., L, C) fp32 of numpy or torch, output of the block before.
        weights: `block_weights` of the block, of the same library and device.
        heads: H.

    Returns:
        q and k, each (..., L, H, D) with bias, before the scaling by 1/sqrt(D).
    """
    xp = array_namespace(tokens)
    centred = tokens - xp.mean(tokens, axis=-1, keepdims=True)
    spread = xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + EPSILON)
    normed = centred / spread * weights["ln_weight"] + weights["ln_bias"]
    shape = (*tokens.shape[:-1], heads, tokens.shape[-1] // heads)
    q = xp.reshape(normed @ weights["q_weight"].T + weights["q_bias"], shape)
    k = xp.reshape(normed @ weights["k_weight"].T + weights["k_bias"], shape)
    return q, k
