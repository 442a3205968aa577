"""The lines of metrics.jsonl, sent to Weights & Biases or MLflow as well.

metrics.jsonl stays the record. A tracker is a place where others look at it, so it decides nothing about a
run, and trouble with its service never ends one: what MLflow does not take waits and is tried again, ever
more seldom; W&B's own client keeps on disk what it cannot send. Only at the start a service that does not
answer is an error, since then nothing is lost.

A run keeps which run of the service it is in RUN/wandb.json or RUN/mlflow.json, and of each value up to which
step it was sent. So a run that goes on continues there too. It repeats the steps after its checkpoint, and
these are not sent a second time: on another machine they may differ in the last bits. The mark is written
before the lines are sent. If the process dies in between, the service lacks these lines (10 steps as a rule),
the price of never having any twice. Lines from before a tracker was asked for are sent when it begins.
"""

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from training.run import write_json

LINES = 100
"""Lines that are sent at once; MLflow takes 1,000 values in a request."""
PATIENCE = 10
"""After a failure training goes on for so many times as long as the failure took, before the next try."""

Line = tuple[int, dict[str, float]]
"""Steps done, and values by name."""


class Service(Protocol):
    """A run, as the client of a service knows it.

    Attributes:
        identity: what the service calls the run.
    """

    identity: str

    def send(self, lines: Sequence[Line]) -> None:
        """Raises ConnectionError where the service did not take them."""
        ...

    def end(self, *, complete: bool) -> None:
        """Raises ConnectionError likewise."""
        ...


class Tracker:
    """A service that a run's lines are sent to, each once.

    Args:
        file: where the run keeps what was sent; made if new.
        begin: opens the service's run, of the given identity; a new one where it is None.
    """

    def __init__(self, file: Path, begin: Callable[[str | None], Service]) -> None:
        kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"id": None, "sent": {}}
        self._file = file
        self._sent: dict[str, int] = kept["sent"]
        self._waiting: list[Line] = []
        self._not_before = 0.0
        self._service = begin(kept["id"])
        self._mark(self._sent)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Keep what was not sent so far for the next `flush`."""
        new = {name: value for name, value in values.items() if step > self._sent.get(name, -1)}
        if new:
            self._waiting.append((step, new))

    def flush(self) -> None:
        """Send what waits, unless the service has just failed."""
        if time.monotonic() >= self._not_before:
            self._send_all()

    def close(self, *, complete: bool) -> None:
        """Send what waits and end the service's run; `complete` says whether all steps are done."""
        try:
            self._send_all()
            self._service.end(complete=complete)
        except ConnectionError as error:
            self._complain(error)

    def _send_all(self) -> None:
        began = time.monotonic()
        try:
            while self._waiting:
                self._send(self._waiting[:LINES])
                del self._waiting[:LINES]
        except ConnectionError as error:
            now = time.monotonic()
            self._not_before = now + PATIENCE * (now - began)
            self._complain(error)

    def _send(self, lines: Sequence[Line]) -> None:
        """Mark lines as sent, send them, and take the mark back where that failed."""
        before = self._sent
        self._mark(before | {name: step for step, values in lines for name in values})
        try:
            self._service.send(lines)
        except ConnectionError:
            self._mark(before)
            raise

    def _mark(self, sent: dict[str, int]) -> None:
        self._sent = sent
        write_json(self._file, {"id": self._service.identity, "sent": sent})

    def _complain(self, error: ConnectionError) -> None:
        warnings.warn(
            f"{error}. Training goes on; {len(self._waiting)} lines wait and are tried again, at the latest "
            "when the run is opened the next time (metrics.jsonl has them all)",
            RuntimeWarning,
            stacklevel=2,
        )
