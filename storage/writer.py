"""Writing a bank: the run that owns it.

`BankWriter` lives in the driver: it holds the lease, makes or checks the bank, and enrols clips. The rows
themselves are written shard by shard by `ShardWriter`s in the encoder workers.
"""

import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from storage.clip_table import (
    LISTING,
    check_labels,
    labels_by_key,
    listing_paths,
    read_tables,
    refuse_relabelling,
    table_from,
    to_parquet,
)
from storage.commit import (
    ShardRecord,
    read_records,
)
from storage.durable import (
    TEMPORARY,
    make_folder,
    remove_files,
    sync_folder,
    sync_tree,
    temporary_path,
    write_file,
)
from storage.errors import BankError, SpecMismatch
from storage.layout import array_layouts, create_skeleton, rows_per_shard
from storage.lease import WriterLease
from storage.manifest import read_manifest, refuse_other_spec
from storage.spec import BankSpec


class BankWriter:
    """The one run that may write a bank; a context manager that holds the lease.

    Raises:
        SpecMismatch: the bank at `path` was made with another spec.
        BankBusy: another run is writing it.
        NotABank: the folder holds something else.
    """

    def __init__(self, path: Path, spec: BankSpec, *, shard_rows: int = 0) -> None:
        """Open the bank, or make it with `shard_rows` rows a shard (0: as its rows' size suggests)."""
        self.path = path
        self.spec = spec
        self.run = uuid.uuid4().hex[:12]
        if not is_bank(path):
            create_bank(path, spec, self.run, shard_rows=shard_rows)
        manifest = read_manifest(path)
        refuse_other_spec(path, manifest.spec, spec)
        self.shard_rows = manifest.rows_per_shard
        if shard_rows not in (0, self.shard_rows):
            raise SpecMismatch(
                f"{path} has {self.shard_rows} rows a shard for good, asked for {shard_rows}; leave it out"
            )
        self.lease = WriterLease(path, self.run)
        try:
            sweep(path)
            self.listing = read_tables(listing_paths(path), LISTING)
            resize(path, spec, self.rows)
        except BaseException:
            self.lease.release()
            raise

    def __enter__(self) -> "BankWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lease.release()

    @property
    def rows(self) -> int:
        """Row slots of all enrolled clips, the gaps between listings included."""
        if self.listing.num_rows == 0:
            return 0
        return int(self.listing["row"][-1].as_py()) + self.spec.views

    @property
    def records(self) -> dict[int, ShardRecord]:
        """Commit records as they stand now, by shard."""
        return read_records(self.path)

    def enrol(self, clips: Sequence[Mapping[str, Any]]) -> int:
        """Give clips that the bank does not list yet their rows, starting at a fresh shard.

        Args:
            clips: one mapping per clip with the columns of the listing, without `row`.

        Returns:
            How many were new.

        Raises:
            ListingConflict: a label means another class here than in the bank, or a clip of the bank comes
            with
                another label or split.
        """
        known = labels_by_key(self.listing)
        new = [clip for clip in clips if clip["key"] not in known]
        refuse_relabelling(known, clips)
        if not new:
            return 0
        first = -(-self.rows // self.shard_rows) * self.shard_rows
        lines = [dict(clip) | {"row": first + i * self.spec.views} for i, clip in enumerate(new)]
        more = table_from(lines, LISTING)
        check_labels(self.listing, more)
        number = len(listing_paths(self.path))
        write_file(self.path / "clips" / f"{number:05d}.parquet", to_parquet(more), self.run)
        self.listing = pa.concat_tables([self.listing, more])
        resize(self.path, self.spec, self.rows)
        return len(new)


def is_bank(path: Path) -> bool:
    """Whether a group's metadata lies at `path`."""
    return (path / "zarr.json").is_file()


def create_bank(path: Path, spec: BankSpec, run: str, *, shard_rows: int = 0) -> None:
    """Make an empty bank beside `path` and move it there in one step.

    Raises:
        ValueError: `shard_rows` would part the views of a clip.
        BankError: the folder exists and is not empty.
    """
    if path.exists() and any(path.iterdir()):
        raise BankError(f"{path} holds files but no bank; name an empty or new folder for the bank")
    if shard_rows % spec.views:
        raise ValueError(
            f"a shard holds whole clips of {spec.views} rows, {shard_rows} rows a shard would part one"
        )
    make_folder(path.parent)
    skeleton = temporary_path(path, run)
    create_skeleton(skeleton, spec, shard_rows or rows_per_shard(spec))
    for room in ("clips", "shards"):
        (skeleton / room).mkdir()
    sync_tree(skeleton)
    try:
        os.rename(skeleton, path)
    except OSError:
        shutil.rmtree(skeleton)
        if not is_bank(path):  # else another run made the bank meanwhile, which is as good
            raise
    sync_folder(path.parent)


def resize(path: Path, spec: BankSpec, rows: int) -> None:
    """Let every array's metadata say `rows` rows, each file replaced atomically."""
    for layout in array_layouts(spec):
        metadata = path / layout.name / "zarr.json"
        values = json.loads(metadata.read_bytes())
        if values["shape"][0] != rows:
            values["shape"][0] = rows
            write_file(metadata, json.dumps(values, indent=2).encode(), "resize")


def sweep(path: Path) -> None:
    """Remove what dead runs left half-written; only the holder of the lease may."""
    remove_files(found for found in path.rglob(f".*{TEMPORARY}") if not found.name.startswith(".lease"))
