"""Which clips of a training could not be decoded, and why: RUN/failed.jsonl, a line each."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from video import Clip


class Failures:
    """A record that several threads and processes write, whole lines at a time; each clip once a session."""

    def __init__(self, path: Path, clips: Sequence[Clip]) -> None:
        self._path = path
        self._clips = clips
        self._seen: set[int] = set()
        self._lock = threading.Lock()

    def __contains__(self, number: object) -> bool:
        return number in self._seen

    def note(self, number: int, reason: str) -> None:
        """A clip could not be decoded."""
        with self._lock:
            if number in self._seen:
                return
            self._seen.add(number)
            line = json.dumps({"key": self._clips[number].key, "reason": reason}) + "\n"
            with self._path.open("ab", buffering=0) as file:
                file.write(line.encode())


def failed_clips(path: Path) -> dict[str, str]:
    """Key to reason; empty where every clip could be decoded."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {line["key"]: line["reason"] for line in map(json.loads, lines)}
