"""An object that is read piece by piece, and one that is written piece by piece.

Reading names the version that was opened (If-Match), so pieces of two versions are never mixed.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import obstore
from obstore.exceptions import PreconditionError

from storage.places.bucket import Bucket

PART_BYTES = 16 << 20  # S3 takes 10,000 parts, so files of up to 160 GB
PARTS_AT_ONCE = 4


class ObjectFile:
    """An object opened for random access, at the version it had; every read is one ranged request."""

    grain = 2**40
    """All at once: each request costs a round trip."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self._name = bucket, name
        meta = bucket.ask("open", name, lambda store: obstore.head(store, name))
        self.size = meta["size"]
        self.version = meta["e_tag"] or str(meta["last_modified"])
        self._options: obstore.GetOptions = {"if_match": meta["e_tag"]} if meta["e_tag"] else {}

    def read_into(self, offset: int, buffers: Sequence[memoryview]) -> int:
        """Fill the buffers with the bytes from `offset` on; how many there were. Raises FileNotFoundError
        when the object has been replaced or removed since it was opened.
        """
        end = min(self.size, offset + sum(buffer.nbytes for buffer in buffers))
        if offset >= end:
            return 0
        options: obstore.GetOptions = {**self._options, "range": (offset, end)}
        try:
            got = self._bucket.ask(
                "read", self._name, lambda store: obstore.get(store, self._name, options=options).bytes()
            )
        except PreconditionError as error:
            raise FileNotFoundError(
                f"{self._bucket.url}/{self._name} was replaced since it was opened"
            ) from error
        return scatter(np.frombuffer(memoryview(got), dtype=np.uint8), buffers)

    def close(self) -> None:
        """Nothing: no connection belongs to a file."""


class ObjectWriter:
    """A local temporary file (in TMPDIR) that becomes an object when it is complete.

    Spooled, because an upload that is under way for as long as a file grows would have to be begun again from
    bytes that are gone when the store forgets it, and would leave its parts when the process dies. As it is
    only a death during `publish` leaves some, seen by nobody but paid for: give the bucket a lifecycle rule
    that aborts incomplete multipart uploads after a day.
    """

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self._name = bucket, name
        self._spool = tempfile.NamedTemporaryFile(prefix="framebank-")  # noqa: SIM115 - closed by `discard`

    def write(self, data: bytes | memoryview) -> None:
        """Append."""
        self._spool.write(data)

    def publish(self) -> None:
        """Upload it, in parts if it is large; the object appears whole or not at all."""
        self._spool.flush()
        put(self._bucket, self._name, Path(self._spool.name))
        self.discard()

    def discard(self) -> None:
        """Remove the temporary file; twice is fine."""
        self._spool.close()


def put(bucket: Bucket, name: str, data: bytes | Path) -> None:
    """Store bytes or a local file, in one put or, beyond `PART_BYTES`, in parts."""
    bucket.ask(
        "write",
        name,
        lambda store: obstore.put(store, name, data, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE),
    )


def scatter(source: np.ndarray, buffers: Sequence[memoryview]) -> int:
    """Copy bytes into the buffers, one after the other, without holding the GIL; how many there were."""
    done = 0
    for buffer in buffers:
        piece = source[done : done + buffer.nbytes]
        np.frombuffer(buffer, dtype=np.uint8)[: len(piece)] = piece
        done += len(piece)
    return done
