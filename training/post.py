"""What the command and its workers tell each other while they train.

The worker that leads hands in what it logged and hears whether it should stop; the command collects the one
and asks for the other. Between them stands an actor, so neither has to know where the other runs, nor waits
for it: messages go beside the training, `ASK_SECONDS` apart.
"""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import ray

from training.interrupt import StopRequest

ASK_SECONDS = 0.2
Line = tuple[int, int, dict[str, float]]
"""Number of the head, its steps done, the values of a line of its log."""


class Post:
    """Runs as an actor of Ray."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._stop = False
        self._error: Exception | None = None

    def hand_in(self, lines: list[Line]) -> bool:
        """Take lines of the logs; say whether to stop."""
        self._lines += lines
        return self._stop

    def collect(self, stop: bool) -> list[Line]:
        """Give the lines since the last time; hear whether to stop."""
        lines, self._lines, self._stop = self._lines, [], self._stop or stop
        return lines

    def give_up(self, error: Exception) -> None:
        """Keep an error that another try would meet again."""
        self._error = self._error or error

    def error(self) -> Exception | None:
        """The first of these."""
        return self._error


def open_post() -> Any:
    """A handle of a new post."""
    return ray.remote(num_cpus=0)(Post).remote()


class Messenger:
    """Goes between the worker that leads and the post, in a thread, while it is entered.

    Attributes:
        stop: the command's request.
    """

    def __init__(self, post: Any) -> None:
        self.stop = StopRequest()
        self._post = post
        self._lines: SimpleQueue[Line] = SimpleQueue()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go, name="framebank-post", daemon=True)

    def watch(self, number: int) -> Callable[[int, Mapping[str, float]], None]:
        """What takes the lines of a head of this number."""
        return partial(self._take, number)

    def __enter__(self) -> "Messenger":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._carry()

    def _take(self, number: int, done: int, values: Mapping[str, float]) -> None:
        self._lines.put((number, done, dict(values)))

    def _go(self) -> None:
        while not self._over.wait(ASK_SECONDS):
            self._carry()

    def _carry(self) -> None:
        lines = [self._lines.get() for _ in range(self._lines.qsize())]
        self.stop.requested = bool(ray.get(self._post.hand_in.remote(lines)))
