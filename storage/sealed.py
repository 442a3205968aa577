"""Small JSON documents that notice every flipped bit of theirs.

A sealed document is one JSON object in a fixed rendering, with a member `check`: the BLAKE3-256 of its
canonical JSON without that member. Whoever reads one accepts it only if rendering its values again gives
the same bytes, so damage to the digest itself, to spaces or to repeated members is noticed as well.
"""

import json
from typing import Any

from blake3 import blake3

from storage.spec import canonical

MAX_BYTES = 8 * 2**20
"""No document of a bank is nearly as large; a larger one is damage, and is not parsed."""


def digest_of(data: bytes) -> str:
    """BLAKE3-256 in hex; `b3sum FILE` recomputes it."""
    return blake3(data).hexdigest()


def check_of(values: dict[str, Any]) -> str:
    """Digest of a document's values, its `check` left out."""
    return digest_of(canonical({name: value for name, value in values.items() if name != "check"}).encode())


def seal(values: dict[str, Any]) -> bytes:
    """The document of some plain JSON values."""
    return json.dumps(values | {"check": check_of(values)}, indent=1, sort_keys=True).encode() + b"\n"


def unseal(data: bytes) -> dict[str, Any]:
    """The values of a document, without `check`.

    Raises:
        ValueError: the bytes are not what `seal` made.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"{len(data)} bytes where a few kilobytes are expected")
    values = json.loads(data)
    if not isinstance(values, dict) or values.get("check") != check_of(values) or seal(values) != data:
        raise ValueError("its check does not fit its content")
    del values["check"]
    return values
