"""Writes that survive a power cut: temporary name, fsync, atomic rename, fsync of the folder.

A reader sees the old file or the whole new one. Temporary names carry the writing run's id, so that what a
dead run left behind can be told from what a live one is writing.
"""

import os
from collections.abc import Iterable
from pathlib import Path

TEMPORARY = ".tmp"


def temporary_path(path: Path, run: str) -> Path:
    """Where run `run` writes `path` before it is renamed: a hidden sibling."""
    return path.with_name(f".{path.name}.{run}{TEMPORARY}")


def sync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents durably; existing ones are left alone."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def publish(temporary: Path, path: Path) -> None:
    """Give a complete, fsynced temporary file its final name, durably."""
    os.replace(temporary, path)
    sync_folder(path.parent)


def write_file(path: Path, data: bytes, run: str) -> None:
    """Write `data` to `path` atomically and durably."""
    make_folder(path.parent)
    temporary = temporary_path(path, run)
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    publish(temporary, path)


def sync_tree(root: Path) -> None:
    """fsync every file and folder below `root` (a bank's freshly made skeleton)."""
    for folder, _, names in os.walk(root):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(folder))


def remove_files(paths: Iterable[Path]) -> None:
    """Delete files, missing ones included in silence, and make it durable."""
    folders = set()
    for path in paths:
        path.unlink(missing_ok=True)
        folders.add(path.parent)
    for folder in folders:
        if folder.is_dir():
            sync_folder(folder)
