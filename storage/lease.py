"""The writer lease: one run writes a bank at a time, and a dead run's lease is taken over.

`lease.json` names the run, its host and process, and is touched every few seconds. It is taken and taken
over by compare-and-swap, which every place offers without advisory locks. A lease counts as dead when its
process is gone from this very machine, or when nobody touched it for `STALE_SECONDS` by the store's own
clock. Workers ask `held_by` before they commit, so a run that lost its lease cannot publish.
"""

import json
import os
import socket
import threading
from typing import Any

import psutil

from storage.errors import BankBusy, BankError
from storage.places.place import Place

LEASE = "lease.json"
PROGRESS = "progress.json"
"""What the last run said of its progress; nothing depends on it."""
HEARTBEAT_SECONDS = 5.0
STALE_SECONDS = 60.0


class WriterLease:
    """Held from construction to `release`; use it as a context manager.

    Raises:
        BankBusy: a live run holds the lease.
    """

    def __init__(self, place: Place, run: str) -> None:
        self.place = place
        self.run = run
        self._mine = json.dumps(own_identity(run), sort_keys=True).encode()
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
        if read_lease(self.place) == self._mine:
            self.place.remove([LEASE])

    def _acquire(self) -> None:
        found = read_lease(self.place)
        if found is not None and is_alive(self.place, found):
            raise BankBusy(busy_message(self.place, holder(found)))
        if not self.place.swap(LEASE, found, self._mine):
            raise BankBusy(busy_message(self.place, holder(read_lease(self.place) or b"{}")))

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            try:
                self.place.touch(LEASE, self._mine)
            except (BankError, OSError):
                continue  # the store is away for a moment; if for long, the lease goes stale, as it should


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


def read_lease(place: Place) -> bytes | None:
    """The lease as it lies there, or None where nobody holds it."""
    try:
        return place.read(LEASE)
    except FileNotFoundError:
        return None


def holder(lease: bytes) -> dict[str, Any]:
    """What a lease says of its holder; a damaged one says that it is."""
    try:
        values = json.loads(lease)
    except ValueError:
        values = None
    return values if isinstance(values, dict) and "run" in values else {"run": "with an unreadable lease"}


def held_by(place: Place) -> str | None:
    """Id of the run that holds the bank's lease, or None."""
    lease = read_lease(place)
    return None if lease is None else str(holder(lease)["run"])


def live_run(place: Place) -> str | None:
    """Id of the run that is writing a bank, or None where nobody or only a dead run holds its lease."""
    lease = read_lease(place)
    return None if lease is None or not is_alive(place, lease) else str(holder(lease)["run"])


def is_alive(place: Place, lease: bytes) -> bool:
    """Whether the lease's run may still be writing.

    On the holder's own machine the process table decides; elsewhere the age of the last heartbeat does.
    """
    who = holder(lease)
    if who.get("processes") == process_space() and who.get("host") == socket.gethostname():
        return is_running(who["pid"], who["started"])
    try:
        return place.age(LEASE) < STALE_SECONDS
    except FileNotFoundError:
        return False
    except PermissionError:
        return True  # who may not write here cannot ask for the store's time, and takes no lease over


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


def busy_message(place: Place, who: dict[str, Any]) -> str:
    """Who is writing, and what to do about it."""
    name = f"run {who.get('run', 'unknown')}"
    if "pid" in who:
        name += f" (process {who['pid']} on {who['host']})"
    return (
        f"{place} is being written by {name}; one run writes a bank at a time. Wait for it, stop it, or "
        f"choose another bank. A dead run's lease is taken over {STALE_SECONDS:.0f} s after its last sign of "
        "life."
    )
