"""The writer lease: one run writes a bank at a time, and a dead run's lease is taken over.

`lease.json` names the run, its host and process, and is touched every few seconds. It is created by hard
link, which is atomic on local disks and on NFS, where advisory locks are not to be trusted. A lease counts
as dead when its process is gone from this very machine, or when nobody touched it for `STALE_SECONDS`.
Workers ask `held_by` before they commit, so a run that lost its lease cannot publish.
"""

import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from storage.durable import remove_files, sync_folder, temporary_path
from storage.errors import BankBusy

HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0


class WriterLease:
    """Held from construction to `release`; use it as a context manager.

    Raises:
        BankBusy: a live run holds the lease.
    """

    def __init__(self, bank: Path, run: str) -> None:
        self.path = bank / "lease.json"
        self.run = run
        self._stop = threading.Event()
        self._acquire()
        self._thread = threading.Thread(target=self._beat, name="lease-heartbeat", daemon=True)
        self._thread.start()

    def __enter__(self) -> "WriterLease":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Stop the heartbeat and give the lease up, unless somebody else has taken it over."""
        self._stop.set()
        self._thread.join()
        if held_by(self.path.parent) == self.run:
            remove_files([self.path])

    def _acquire(self) -> None:
        holder = read_lease(self.path)
        if holder is not None:
            if is_alive(holder, self.path):
                raise BankBusy(busy_message(self.path.parent, holder))
            bury(self.path, holder, self.run)
        if not create_exclusively(self.path, own_identity(self.run)):
            holder = read_lease(self.path) or {"run": "another run"}
            raise BankBusy(busy_message(self.path.parent, holder))

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            if held_by(self.path.parent) == self.run:
                os.utime(self.path)


def own_identity(run: str) -> dict[str, Any]:
    """What a lease says of its holder."""
    process = psutil.Process()
    return {
        "run": run,
        "host": socket.gethostname(),
        "pid": process.pid,
        "started": round(process.create_time(), 2),
        "processes": process_space(),
    }


def read_lease(path: Path) -> dict[str, Any] | None:
    """The holder's identity, or None where nobody holds the lease."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return {"run": "unreadable lease"}


def held_by(bank: Path) -> str | None:
    """Id of the run that holds the bank's lease, or None."""
    holder = read_lease(bank / "lease.json")
    return None if holder is None else str(holder["run"])


def is_alive(holder: dict[str, Any], path: Path) -> bool:
    """Whether the lease's run may still be writing.

    On the holder's own machine the process table decides; elsewhere the age of the last heartbeat does.
    """
    if holder.get("processes") == process_space() and holder.get("host") == socket.gethostname():
        return is_running(holder["pid"], holder["started"])
    try:
        return time.time() - path.stat().st_mtime < STALE_SECONDS
    except FileNotFoundError:
        return False


def process_space() -> str:
    """What process numbers here mean: this boot of this machine and, in containers, their own numbering."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{round(psutil.boot_time() / 10)} {space}"


def is_running(pid: int, started: float) -> bool:
    """Whether the process that began at `started` still runs; one dead but not yet reaped does not."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def bury(path: Path, holder: dict[str, Any], run: str) -> None:
    """Take a dead lease away: of several runs that try, the rename lets exactly one succeed."""
    grave = temporary_path(path, f"dead-{run}")
    try:
        os.rename(path, grave)
    except FileNotFoundError:
        return
    buried = read_lease(grave)
    if buried is not None and buried.get("run") != holder.get("run"):
        os.link(grave, path)  # a livelier run took over in between: give it back
    remove_files([grave])


def create_exclusively(path: Path, identity: dict[str, Any]) -> bool:
    """Write the lease if nobody has one; False if somebody was faster."""
    temporary = temporary_path(path, identity["run"])
    with open(temporary, "w") as file:
        json.dump(identity, file)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    sync_folder(path.parent)
    return True


def busy_message(bank: Path, holder: dict[str, Any]) -> str:
    """Who is writing, and what to do about it."""
    who = f"run {holder['run']}"
    if "pid" in holder:
        who += f" (process {holder['pid']} on {holder['host']})"
    return (
        f"{bank} is being written by {who}; one run writes a bank at a time. Wait for it, stop it, or choose "
        f"another bank. A dead run's lease is taken over {STALE_SECONDS:.0f} s after its last sign of life."
    )
