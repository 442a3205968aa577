"""What finished stages of a long command found: a JSON file, written whole after each.

Whoever is killed, or stopped, and starts again finds there what is done, with the times that it took then,
and goes on behind it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from training.run import differences, write_json


class Ledger:
    """Results of stages by name, under settings that stay the same.

    Raises:
        ValueError: the file holds results of other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        self.settings = json.loads(json.dumps(dict(settings)))
        self.found: dict[str, dict[str, Any]] = {}
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            self._refuse_others(before["settings"])
            self.found = before["stages"]

    def once(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `work` found, now or in an earlier session."""
        if name not in self.found:
            self.found[name] = json.loads(json.dumps(work()))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, {"settings": self.settings, "stages": self.found})
        return self.found[name]

    def _refuse_others(self, before: Mapping[str, Any]) -> None:
        lines = [
            f"  {name}: found {left!r}, asked for {right!r}"
            for name, left, right in differences(before, self.settings)
        ]
        if lines:
            raise ValueError(
                f"{self._path} holds results of other settings; choose another folder, or ask for the same:\n"
                + "\n".join(lines)
            )
