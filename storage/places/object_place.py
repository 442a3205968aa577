"""A bank in a bucket: S3 and what speaks its language, Google Cloud Storage, Azure.

obstore rather than fsspec with s3fs, because it has conditional puts (what `swap` rests on; fsspec can create
an object exclusively but not replace one conditionally), retries with back-off in Rust without the GIL,
synchronous calls that any number of threads may make (s3fs has one event loop for all), and one interface
for s3, gs and az. A place is pickled as its URL, and finds its credentials anew where it is unpickled.

A put is atomic and durable once it is answered. Where the answer is lost nobody knows whether it was carried
out. An unconditional put is simply repeated; a conditional one has to look first. So `swap` makes its puts
without obstore's own retries and, after one without a clear answer, takes what it finds for its own work if
the content is what it meant to store (contents name their run, so they differ). If another run replaced it
before that look, `swap` says no, which is true by then.
"""

import threading
from collections.abc import Iterable

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from storage.errors import StoreError
from storage.places.bucket import Bucket
from storage.places.names import MAX_WHOLE, Entry, refuse_large, temporary_name
from storage.places.object_file import ObjectFile, ObjectWriter, put
from storage.places.retries import REFUSALS, Retries, passes

PATIENT = Retries()
LIST_PAGE = 1000
NO_SUCH_VERSION: "obstore.PutMode" = {"e_tag": '"0"', "version": "1"}


class ObjectPlace:
    """The objects below one URL. Safe to use from many threads.

    Raises:
        ValueError: a URL with credentials in it, or without a bucket.
        StoreError: no credentials; later, from every operation, a store that cannot be reached or refuses.
    """

    def __init__(self, url: str, retries: Retries = PATIENT) -> None:
        self._bucket = Bucket(url, retries)
        self._heeds_conditions = False
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return self._bucket.url

    def __repr__(self) -> str:
        return f"ObjectPlace({self._bucket.url!r})"

    def __reduce__(self) -> tuple[type["ObjectPlace"], tuple[str, Retries]]:
        return ObjectPlace, (self._bucket.url, self._bucket.retries)

    def read(self, name: str, most: int = MAX_WHOLE) -> bytes:
        """A whole file. Raises FileNotFoundError; ValueError where it is larger than `most` bytes."""
        return self._bucket.ask("read", name, lambda store: whole(store, name, most)[0])

    def open(self, name: str) -> ObjectFile:
        """A file for random access, at the price of one HEAD request. Raises FileNotFoundError."""
        return ObjectFile(self._bucket, name)

    def entries(self, prefix: str = "") -> list[Entry]:
        """Every file below the folder `prefix`, sorted by name."""
        folder = prefix.strip("/") or None
        found = self._bucket.ask(
            "list", prefix, lambda store: obstore.list(store, folder, chunk_size=LIST_PAGE).collect()
        )
        entries = [
            Entry(name=meta["path"], bytes=meta["size"], modified=meta["last_modified"].timestamp())
            for meta in found
        ]
        return sorted(entries, key=lambda entry: entry.name)

    def folders(self) -> list[str]:
        """Names of the folders directly in this place, sorted."""
        found = self._bucket.ask("list", "", lambda store: obstore.list_with_delimiter(store))
        return sorted(prefix.strip("/") for prefix in found["common_prefixes"])

    def write(self, name: str, data: bytes) -> None:
        """Store a file atomically and durably."""
        put(self._bucket, name, data)

    def swap(self, name: str, expected: bytes | None, data: bytes) -> bool:
        """Store `data` if the file's content is `expected` (None: if there is no file); whether it was.

        A put that the store refuses, since somebody was faster or touched the file, leads to another look.
        """
        self._check_conditions()
        unsure, error = False, None
        for _ in self._bucket.retries.attempts():
            found, mode = self._look(name)
            if found != expected:
                return unsure and found == data
            try:
                obstore.put(self._bucket.exact, name, data, mode=mode)
                return True
            except REFUSALS as refused:
                error = refused
            except BaseError as failed:
                unsure, error = True, failed
                if not passes(failed):
                    break
        assert error is not None
        raise self._bucket.failed("write", name, error) from error

    def touch(self, name: str, expected: bytes) -> bool:
        """Make the file young again, by a new put, if its content is still `expected`; whether it was."""
        return self.swap(name, expected, expected)

    def age(self, name: str) -> float:
        """Seconds since the file was written or touched, by the store's clock, which tells when a probe was
        written. Its times are whole seconds, so an age may be off by one. Raises FileNotFoundError.
        """
        probe = temporary_name("clock")
        self.write(probe, b"")
        try:
            now = self._modified(probe)  # asked first: a file that is touched meanwhile is young, not old
            return max(0.0, now - self._modified(name))
        finally:
            self.remove([probe])

    def remove(self, names: Iterable[str]) -> None:
        """Delete files durably; missing ones are fine."""
        paths = list(names)
        if not paths:
            return
        try:
            self._bucket.ask("remove", paths[0], lambda store: obstore.delete(store, paths))
        except FileNotFoundError:  # gs and az stop at a file that is missing
            for path in paths if len(paths) > 1 else ():
                self.remove([path])

    def writer(self, name: str) -> ObjectWriter:
        """Begin a large file."""
        return ObjectWriter(self._bucket, name)

    def free_bytes(self) -> None:
        """None: a bucket has no bound."""
        return

    def _look(self, name: str) -> "tuple[bytes | None, obstore.PutMode]":
        """The content (None if there is no file), and the mode of a put that replaces exactly this."""
        try:
            return self._bucket.ask("read", name, lambda store: whole(store, name, MAX_WHOLE))
        except FileNotFoundError:
            return None, "create"

    def _modified(self, name: str) -> float:
        meta = self._bucket.ask("look at", name, lambda store: obstore.head(store, name))
        return meta["last_modified"].timestamp()

    def _check_conditions(self) -> None:
        """Refuse a store that takes conditional puts without heeding the condition, as older ones that speak
        S3's language do: two runs would both believe to be the only one.
        """
        with self._lock:
            if self._heeds_conditions:
                return
            probe = temporary_name("condition")
            self.write(probe, b"")
            try:
                if not all(self._refuses(probe, mode) for mode in ("create", NO_SUCH_VERSION)):
                    raise StoreError(
                        f"{self}: the store ignores the conditions of conditional puts, so it cannot keep "
                        "two runs from writing one bank. Update it, or keep the bank elsewhere."
                    )
            finally:
                self.remove([probe])
            self._heeds_conditions = True

    def _refuses(self, name: str, mode: "obstore.PutMode") -> bool:
        try:
            self._bucket.ask("write", name, lambda store: obstore.put(store, name, b"", mode=mode))
        except REFUSALS:
            return True
        return False


def whole(store: ObjectStore, name: str, most: int) -> "tuple[bytes, obstore.UpdateVersion]":
    """An object's content of at most `most` bytes, and what names this version of it."""
    answer = obstore.get(store, name)
    refuse_large(name, answer.meta["size"], most)
    version: obstore.UpdateVersion = {}
    for key in ("e_tag", "version"):
        if found := answer.meta[key]:
            version[key] = found
    return answer.bytes().to_bytes(), version
