"""One process at a time in a run directory.

Two trainings that write one metrics.jsonl leave a file that is neither's, and checkpoints of one under the
log of the other. So who opens a run holds `flock` on a file in it. The kernel drops the lock when the process
ends, in whatever way: there is nothing to clean up, no age to judge, and a killed run can go on at once. What
the file says of its holder is for the message only.

`flock` holds between the processes of one machine. Over NFS Linux turns it into a lock of the server's, which
holds between machines where the server and the mount offer locks (not with `nolock` or `local_lock`); other
network folders may keep it to the machine or not at all. There, let one machine at a time write a run. A
bank, which many machines look after, has a lease instead (`storage/lease.py`).
"""

import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

LOCK = "lock.json"


class RunBusy(ValueError):
    """Another process has the run directory open."""


class RunLock:
    """Held from construction to `release`; use it as a context manager.

    Args:
        folder: the directory, which exists.

    Raises:
        RunBusy: somebody else holds it, and who.
    """

    def __init__(self, folder: Path) -> None:
        self._file = (folder / LOCK).open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = self._busy(folder)
            self._file.close()
            raise RunBusy(message) from None
        self._sign()

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let the next one in. The file stays: removing it could take it from under who waits for it."""
        self._file.close()

    def _sign(self) -> None:
        """Say who holds it."""
        who = {"pid": os.getpid(), "host": socket.gethostname()}
        self._file.truncate(0)
        self._file.write(json.dumps(who | {"since": datetime.now(UTC).isoformat(timespec="seconds")}) + "\n")
        self._file.flush()

    def _busy(self, folder: Path) -> str:
        self._file.seek(0)
        try:
            who = json.loads(self._file.read())
            name = f"process {who['pid']} on {who['host']}, since {who['since']}"
        except (json.JSONDecodeError, KeyError, TypeError):  # it is signing just now
            name = "a process that began just now"
        return (
            f"{folder} is in use by {name}; one process at a time writes a run. Wait for it, stop it, or "
            "choose another directory"
        )
