"""Writing a bank: the run that owns it.

`BankWriter` lives in the driver: it holds the lease, makes, checks or grows the bank, and enrols clips. The
rows themselves are written shard by shard by `ShardWriter`s in the encoder workers.
"""

import getpass
import socket
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from storage.clip_table import clips_table, end_of_rows
from storage.commit import ShardRecord, read_records
from storage.enrolment import (
    FreeRows,
    check_labels,
    lacking,
    refuse_many_lengths,
    refuse_relabelling,
    with_frames,
    with_rows,
)
from storage.errors import BankError, CorruptShard, SpecMismatch
from storage.growth import grown, needed_parts
from storage.layout import rows_per_shard
from storage.lease import LEASE, PROGRESS, WriterLease
from storage.listing import append_listing, read_lengths, read_listing
from storage.manifest import Manifest, read_manifest, refuse_other_spec, write_manifest
from storage.places.names import is_temporary
from storage.places.place import Place, open_place
from storage.skeleton import ROOT, array_metadata, read_or_none, rows_of_arrays, same_metadata
from storage.spec import BankSpec
from storage.weights import read_weights, write_weights

SKELETON_FOLDERS = ("features/", "weights/", "clips/", "shards/")


class BankWriter:
    """The one run that may write a bank; a context manager that holds the lease.

    Attributes:
        spec: the bank's spec, all parts.
        listing: every listed clip.

    Raises:
        SpecMismatch: the bank holds other rows, or keeps less than asked for and may not grow.
        BankBusy: another run is writing it.
        NotABank: the place holds something else.
    """

    def __init__(
        self,
        location: str | Path,
        spec: BankSpec,
        *,
        shard_rows: int = 0,
        grow: bool = False,
        weights: Mapping[str, np.ndarray] | None = None,
        made: Mapping[str, str] | None = None,
    ) -> None:
        """Open the bank, or make it.

        Args:
            location: folder or URL.
            spec: what is asked for, in one part.
            shard_rows: rows a shard of a new bank (0: as its rows' size suggests).
            grow: whether arrays that the bank lacks are added to it.
            weights: frozen weights by name, for derived q and k (see `weight_shapes`).
            made: origin of a new bank, for people; user, host and time are added.
        """
        self.place = open_place(location)
        self.run = uuid.uuid4().hex[:12]
        self._asked = spec
        if is_bank(self.place):
            manifest = read_manifest(self.place)
            refuse_other_spec(self.place, manifest.spec, spec)
            self._refuse_shard_rows(manifest, shard_rows)
            grown(
                self.place,
                manifest.spec,
                spec,
                grow=grow,
                lengths=read_lengths(self.place, manifest.spec.frames),
            )
        else:
            refuse_strangers(self.place)
        self.lease = WriterLease(self.place, self.run)
        try:
            if not is_bank(self.place):
                create_bank(self.place, spec, shard_rows, weights=weights or {}, made=made or {})
            self._open(grow, weights or {})
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
    def path(self) -> str:
        """Folder or URL of the bank."""
        return str(self.place)

    @property
    def rows(self) -> int:
        """Row slots of all enrolled clips, the gaps between listings included."""
        return end_of_rows(self.listing, self.spec.views)

    @property
    def lengths(self) -> list[int]:
        """T of the rows of all enrolled clips, and the spec's."""
        return sorted({self.spec.frames, *self.listing["frames"].unique().to_pylist()})

    @property
    def parts(self) -> tuple[int, ...]:
        """Numbers of the parts that hold the arrays asked for; the first part always, as it knows the
        rows.
        """
        return needed_parts(self.spec, self._asked, self.lengths)

    @property
    def records(self) -> dict[tuple[int, int], ShardRecord]:
        """Commit records as they stand now, by (part, shard)."""
        return read_records(self.place)

    def enrol(
        self, clips: Iterable[Mapping[str, Any]] | pa.Table, twins: Mapping[str, str] | None = None
    ) -> int:
        """Give clips that the bank does not list yet their rows, those of each T starting at a fresh shard.

        Args:
            clips: a mapping per clip with the columns of the listing, without `row`; or all of them as
                `clips_table` gives them.
            twins: key of a clip to the key of an earlier one (of the bank or of `clips`) with the same
                content and T, whose rows it shares.

        Returns:
            How many were new.

        Raises:
            ListingConflict: a label means another class here than in the bank, or a clip of the bank comes
                with another label, split or T; no possible T, or too many of them.
        """
        frames = self.spec.frames
        asked = with_frames(clips if isinstance(clips, pa.Table) else clips_table(clips), frames)
        refuse_relabelling(self.listing, asked, frames)
        new = lacking(self.listing, asked)
        if not new.num_rows:
            return 0
        check_labels(self.listing, new)
        refuse_many_lengths(self.listing, new)
        first = -(-self.rows // self.shard_rows) * self.shard_rows
        free = FreeRows(first=first, views=self.spec.views, shard_rows=self.shard_rows, frames=frames)
        more = with_rows(self.listing, new, twins or {}, free)
        append_listing(self.place, more, frames)
        self.listing = pa.concat_tables([self.listing, more])
        self._heal()
        return new.num_rows

    def _open(self, grow: bool, weights: Mapping[str, np.ndarray]) -> None:
        """Under the lease: what dead runs left is cleared away, what is asked for and lacking is added."""
        manifest, asked = read_manifest(self.place), self._asked
        refuse_other_spec(self.place, manifest.spec, asked)
        self.spec, self.shard_rows = manifest.spec, manifest.rows_per_shard
        sweep(self.place)
        self.listing = read_listing(self.place, self.spec.frames)
        self.spec = grown(self.place, manifest.spec, asked, grow=grow, lengths=self.lengths)
        self._heal()
        if self.spec != manifest.spec:
            have = read_weights(self.place, manifest.spec, manifest.weights)
            files = write_weights(self.place, self.spec, {**have, **weights})
            write_manifest(self.place, replace(manifest, spec=self.spec, weights=files))

    def _heal(self) -> None:
        """Let every array's metadata say what it should."""
        expected = array_metadata(self.spec, self.rows, self.shard_rows, self.lengths)
        heal_metadata(self.place, expected, self.rows)

    def _refuse_shard_rows(self, manifest: Manifest, asked: int) -> None:
        if asked not in (0, manifest.rows_per_shard):
            raise SpecMismatch(
                f"{self.place} has {manifest.rows_per_shard} rows a shard for good, asked for {asked}; "
                "leave it out"
            )


def is_bank(place: Place) -> bool:
    """Whether a group's metadata lies at a place."""
    try:
        place.open(ROOT).close()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def refuse_strangers(place: Place) -> None:
    """Make sure that nothing but a half-made bank is in the way of a new one.

    Raises:
        BankError: the folder holds other files.
    """
    for entry in place.entries():
        ours = entry.name.startswith(SKELETON_FOLDERS) or entry.name in (LEASE, PROGRESS)
        if not ours and not is_temporary(entry.name):
            raise BankError(
                f"{place} holds files (such as {entry.name}) but no bank; name an empty or new folder for it"
            )


def create_bank(
    place: Place,
    spec: BankSpec,
    shard_rows: int,
    *,
    weights: Mapping[str, np.ndarray],
    made: Mapping[str, str],
) -> None:
    """Make an empty bank; the group's own metadata come last, and with them the bank exists.

    Raises:
        ValueError: `shard_rows` would part the views of a clip, or weights are missing.
    """
    if shard_rows % spec.views:
        raise ValueError(
            f"a shard holds whole clips of {spec.views} rows, {shard_rows} rows a shard would part one"
        )
    shard_rows = shard_rows or rows_per_shard(spec)
    for name, data in array_metadata(spec, 0, shard_rows).items():
        place.write(name, data)
    origin = {
        "user": getpass.getuser(),
        "host": socket.gethostname(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    manifest = Manifest(
        spec=spec,
        rows_per_shard=shard_rows,
        weights=write_weights(place, spec, weights),
        made=origin | dict(made),
    )
    write_manifest(place, manifest)


def heal_metadata(place: Place, expected: Mapping[str, bytes], rows: int) -> None:
    """Let every array's metadata say what is expected, each file replaced atomically.

    Raises:
        CorruptShard: they speak of rows that no listing names: going on would give these rows to other clips.
    """
    found = {name: read_or_none(place, name) for name in expected}
    have = rows_of_arrays(found.values())
    if have > rows:
        raise CorruptShard(
            f"{place} has arrays of {have} rows, but its listing ends at {rows}: a file of it (clips/) "
            "is lost; restore it from a copy"
        )
    for name, data in expected.items():
        if not same_metadata(found[name] or b"", data):
            place.write(name, data)


def sweep(place: Place) -> None:
    """Remove what dead runs left half-written; only the holder of the lease may."""
    place.remove(entry.name for entry in place.entries() if is_temporary(entry.name))
