"""Fills a small disk with a bank until there is no room, twice, makes room, and completes the bank.

    python -m tests.full_disk FOLDER

Prints the two errors and the completed bank's digest. Run where FOLDER is a disk of a few hundred kilobytes.
"""

import shutil
import sys
from pathlib import Path

from storage import Bank, BankWriter, DiskTooSmall
from tests.small_banks import clip_line, small_spec, write_shard

ROOM_LEFT = 40_000
"""Bytes: a lease and some small files, but no shard."""


def go_on(path: Path, shards: int = 3) -> str:
    """One run; the error that ended it, or nothing."""
    try:
        with BankWriter(path, small_spec(), shard_rows=2) as writer:
            writer.enrol([clip_line(number) for number in range(6)])
            for shard in (shard for shard in range(shards) if (0, shard) not in writer.records):
                write_shard(path, shard, writer=writer)
    except DiskTooSmall as error:
        return str(error)
    return ""


def main(folder: Path) -> None:
    """See the module's docstring."""
    path, ballast = folder / "bank", folder / "ballast"
    go_on(path, shards=1)
    ballast.write_bytes(bytes(shutil.disk_usage(folder).free - ROOM_LEFT))
    for _ in range(2):
        sys.stdout.write(go_on(path) + "\n")
        bank = Bank(path)
        assert bank.rows().tolist() == [0, 1]
        for name in bank.layouts:
            bank.read(name, [0, 1])
    ballast.unlink()
    assert go_on(path) == ""
    sys.stdout.write(Bank(path).digest + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
