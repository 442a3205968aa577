"""Requests to one bucket, made until they are answered.

obstore repeats what it holds for safe; `Bucket.ask` repeats the rest of what is safe, and turns what remains
into a FileNotFoundError or a StoreError of one line. obstore does not survive a fork: its threads are missing
in the child and the first request there waits for ever. So a forked child is refused.
"""

import os
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from storage.errors import StoreError
from storage.places.credentials import clean_url, connection
from storage.places.retries import REFUSALS, Retries, code_of, passes, store_error

T = TypeVar("T")

_first_user: int | None = None
"""The process in which obstore was first used, and its forked children's parent."""


class Bucket:
    """The objects below one URL. Safe to use from many threads.

    Raises:
        ValueError: a URL with credentials in it, or without a bucket.
        StoreError: there are no credentials.
    """

    def __init__(self, url: str, retries: Retries) -> None:
        self.url = clean_url(url)
        self.retries = retries
        self._connection = connection(self.url)
        self.store = self._connect(retries)

    @cached_property
    def exact(self) -> ObjectStore:
        """The store without retries, for requests whose repetition is not the same request."""
        return self._connect(Retries(count=0))

    def ask(self, doing: str, name: str, request: Callable[[ObjectStore], T]) -> T:
        """The answer to a request that may be repeated.

        Args:
            doing: what is done to `name`, for messages.
            request: makes the request of a store.

        Raises:
            FileNotFoundError: the store has no such object.
            AlreadyExistsError, PreconditionError: the request's condition does not hold.
            StoreError: the store cannot be reached or refuses.
        """
        refuse_fork(self.url)
        last: Exception | None = None
        for _ in self.retries.attempts():
            try:
                return request(self.store)
            except (FileNotFoundError, NotImplementedError, BaseError) as error:
                last = error
            if not passes(last):
                break
        assert last is not None
        if isinstance(last, REFUSALS):
            raise last
        if isinstance(last, FileNotFoundError) and code_of(last) not in ("NoSuchBucket", "NoSuchUpload"):
            raise FileNotFoundError(f"{self.url}/{name} does not exist") from last
        raise self.failed(doing, name, last) from last

    def failed(self, doing: str, name: str, error: Exception) -> StoreError:
        """What to raise for a request that failed for good."""
        return store_error(self.url, f"{doing} {name}".rstrip(), error)

    def _connect(self, retries: Retries) -> ObjectStore:
        return from_url(self.url, retry_config=retries.config(), **self._connection)


def refuse_fork(url: str) -> None:
    """Raise StoreError in a child forked from a process that had used obstore."""
    global _first_user
    _first_user = _first_user or os.getpid()
    if _first_user != os.getpid():
        raise StoreError(
            f"{url}: this process was forked from one that had used the object store already, where requests "
            'would wait for ever. Start processes with multiprocessing.get_context("spawn").'
        )
