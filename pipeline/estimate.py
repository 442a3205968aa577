"""What a bank will weigh, before anything is written."""

import os
import shutil
from pathlib import Path

from storage import BankSpec, DiskTooSmall, row_bytes

TABLE_BYTES = 1024


def bank_bytes(spec: BankSpec, rows: int) -> int:
    """Bytes of `rows` rows: features, checksums, and about a kilobyte of clip table each."""
    return rows * (row_bytes(spec) + TABLE_BYTES)


def refuse_small_disk(bank: Path, spec: BankSpec, rows: int) -> None:
    """Make sure that `rows` further rows fit where the bank lies.

    Raises:
        DiskTooSmall: with both figures and what would make it fit.
    """
    needed, free = bank_bytes(spec, rows), free_bytes(bank)
    if needed > free:
        raise DiskTooSmall(
            f"{rows} rows of {row_bytes(spec) / 1e6:.2f} MB take about {needed / 1e9:.2f} GB, "
            f"but {bank} has only {free / 1e9:.2f} GB free; make room, choose another disk, "
            "keep fewer blocks (--last-blocks) or leave out the attention (--attention none)"
        )


def free_bytes(path: Path) -> int:
    """Free space of the disk that `path` is or will be on."""
    path = path.absolute()
    while not os.path.exists(path):
        path = path.parent
    return shutil.disk_usage(path).free
