"""What runs in the engine's actors: nothing of Ray's, so that it can be read and tested without."""

import threading
from collections.abc import Callable
from typing import Any


class Host:
    """The actor: an encoder, made while the first tasks are being decoded."""

    def __init__(self, make: Callable[[], Callable[..., Any]]) -> None:
        self.make, self.lock = make, threading.Lock()
        self.encode: Callable[..., Any] | None = None

    def ready(self) -> None:
        """Answers once the actor runs."""

    def load(self) -> None:
        """Make the encoder, if nobody has."""
        with self.lock:
            self.encode = self.encode or self.make()

    def run(self, task: Any, *decoded: Any) -> Any:
        """One task."""
        self.load()
        assert self.encode is not None
        return self.encode(task, [outcome for part in decoded for outcome in part])
