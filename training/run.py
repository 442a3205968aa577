"""The run directory: everything about one training run, enough to go on with it.

    RUN/
      config.json          the config, and the inputs it was given (bank fingerprint, classes, clips)
      sessions.jsonl       one line a start of the run: date, commit, versions, machine, the bank's path
      metrics.jsonl        one line a step, and one an evaluation
      tensorboard/         the same as pictures
      checkpoint-N.pth     the newest few; N is the step to go on at
      diverged.json        only where the loss became infinite or NaN: at which step, and why
      wandb.json, mlflow.json   where the run is also logged to such a service (`training/trackers.py`)
      lock.json            locked by the process that has the run open (`training/lock.py`)

config.json is what the run *is*: going on with another config or other data is refused, and the error prints
both sides of each difference. Where things lie (the bank's path, the device) may change between sessions and
is only recorded. A run that diverged stays so, since the same steps would end the same way: who wants to try
again (on other hardware, say) removes diverged.json and goes on from the newest checkpoint.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from training.checkpoint import latest_checkpoint, sync_folder
from training.lock import LOCK, RunLock

DIVERGED = "diverged.json"
_PACKAGES = ("torch", "numpy", "zarr", "open_clip_torch")
_ABSENT = "(absent)"


class RunError(ValueError):
    """A run directory that is not one, or that belongs to another run."""


class RunDirectory:
    """A directory that one run owns; open it with `open_run`, look at it with `RunDirectory.read`. One that
    is open is locked until it is closed; as a context manager it closes itself.
    """

    def __init__(self, path: Path, document: Mapping[str, Any], lock: RunLock | None = None) -> None:
        self.path = path
        self.document = dict(document)
        self._lock = lock

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes open it."""
        if self._lock is not None:
            self._lock.release()

    @classmethod
    def read(cls, path: Path) -> "RunDirectory":
        """An existing run. Raises RunError where `path` holds none."""
        file = path / "config.json"
        if not file.is_file():
            raise RunError(
                f"expected a run directory (with a config.json) at {path}, found none; check the path"
            )
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise RunError(f"expected JSON in {file}, found a damaged file ({error})") from error
        return cls(path, document)

    @property
    def config(self) -> dict[str, Any]:
        """The config of a training. Raises RunError where the directory is that of something else."""
        if "config" not in self.document:
            raise RunError(
                f"expected the config of a training in {self.path / 'config.json'}, found "
                f"{', '.join(self.document)}; name a run directory (a sweep has them in trials/)"
            )
        return self.document["config"]

    @property
    def checkpoint(self) -> Path | None:
        """The newest checkpoint, None before the first."""
        return latest_checkpoint(self.path)

    @property
    def divergence(self) -> dict[str, Any] | None:
        """`step` and `reason` of a run whose loss became infinite or NaN, else None."""
        file = self.path / DIVERGED
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    def mark_diverged(self, step: int, reason: str) -> None:
        """Keep that the run ended so, for whoever opens it next."""
        write_json(self.path / DIVERGED, {"step": step, "reason": reason})

    def sessions(self) -> list[dict[str, Any]]:
        """Every start of the run, oldest first."""
        lines = (self.path / "sessions.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


def open_run(path: Path, document: Mapping[str, Any], session: Mapping[str, Any]) -> RunDirectory:
    """Begin the run of `document` at `path`, or go on with it if it is the one that is there.

    Both mappings hold plain JSON values. Close it, so that other processes may open it.

    Raises:
        RunError: `path` holds another run (both sides of each difference are printed), or is a folder with
            something else in it.
        RunBusy: another process has it open.
    """
    document = json.loads(json.dumps(document))
    _refuse_foreign_folder(path)
    path.mkdir(parents=True, exist_ok=True)
    lock = RunLock(path)
    try:
        _begin(path, document, session)
    except BaseException:
        lock.release()
        raise
    return RunDirectory(path, document, lock)


def _begin(path: Path, document: Mapping[str, Any], session: Mapping[str, Any]) -> None:
    """Write the config of a new run, or compare with that of an old one; note the start."""
    if (path / "config.json").exists():
        _refuse_difference(path, RunDirectory.read(path).document, document)
    else:
        write_json(path / "config.json", document)
    with (path / "sessions.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({**_describe_session(), **session}) + "\n")


def differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(dotted name, left value, right value) of every leaf in which two nested dicts differ."""
    a, b = dict(leaves(left)), dict(leaves(right))
    names = sorted(a.keys() | b.keys())
    return [
        (n, a.get(n, _ABSENT), b.get(n, _ABSENT)) for n in names if a.get(n, _ABSENT) != b.get(n, _ABSENT)
    ]


def git_commit(folder: Path) -> str:
    """The commit checked out around `folder`, with `+` where files differ from it; empty outside a
    repository.
    """
    git = ["git", "-C", str(folder)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if status.stdout.strip() else "")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON so that the file is whole or absent, and survives a power cut."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of everything in nested dicts that is no dict, or an empty one."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _refuse_difference(path: Path, there: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    found = differences(there, asked)
    if not found:
        return
    lines = [f"  {name}: the run has {left!r}, asked for {right!r}" for name, left, right in found]
    raise RunError(
        f"{path} holds another run; go on with its own settings, or choose a new directory:\n"
        + "\n".join(lines)
    )


def _refuse_foreign_folder(path: Path) -> None:
    if (path / "config.json").exists() or not path.exists():
        return
    if not path.is_dir() or {file.name for file in path.iterdir()} - {LOCK, "config.json.tmp"}:
        raise RunError(
            f"expected a new, empty or run directory at {path}, found something else; choose another path"
        )


def _describe_session() -> dict[str, Any]:
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(Path(__file__).parent),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "machine": {"platform": platform.platform(), "threads": torch.get_num_threads()},
        "command": sys.argv,
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
