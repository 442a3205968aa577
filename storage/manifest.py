"""What the bank says of itself, in the group's attributes: format version, spec, shard geometry, origin."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from storage.commit import FileDigest
from storage.errors import NotABank, OtherFormat, SpecMismatch
from storage.layout import array_layouts
from storage.places.place import Place
from storage.sealed import MAX_BYTES, check_of
from storage.skeleton import ROOT, root_metadata
from storage.spec import BankSpec, differences

FORMAT = 2
MAX_SHARD_ROWS = 2**16
MAX_DEPTH = 2**10
MAX_PARTS = 2**8
MAX_ROW_BYTES = 2**34
"""Bounds of what is believed, so that a crafted bank cannot ask its reader for all memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The group attributes of a bank."""

    spec: BankSpec
    """What decides the bank's values."""
    rows_per_shard: int
    """Row slots of a shard."""
    weights: dict[str, FileDigest] = field(default_factory=dict)
    """Files of frozen weights, where q and k are derived."""
    made: dict[str, str] = field(default_factory=dict)
    """Who made the bank, where, when, with which version and from which weights; for people."""

    def to_json(self) -> dict[str, Any]:
        """The attributes, with their check."""
        values: dict[str, Any] = {
            "format": FORMAT,
            "spec": self.spec.to_json(),
            "fingerprint": self.spec.fingerprint,
            "rows_per_shard": self.rows_per_shard,
            "weights": {name: asdict(file) for name, file in self.weights.items()},
            "made": self.made,
        }
        return values | {"check": check_of(values)}


def write_manifest(place: Place, manifest: Manifest) -> None:
    """Store the group's `zarr.json`: from here on the folder is a bank with this spec."""
    place.write(ROOT, root_metadata(manifest.to_json()))


def read_manifest(place: Place) -> Manifest:
    """The manifest of the bank at a place.

    Raises:
        NotABank: there is no bank, its format is another, or the file is not what framebank wrote.
    """
    try:
        values = json.loads(place.read(ROOT, MAX_BYTES))["attributes"]["framebank"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotABank(no_bank(place)) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotABank(
            f"{no_bank(place)}: its zarr.json is another's or damaged; restore it if so"
        ) from error
    if not isinstance(values, dict) or "format" not in values:
        raise NotABank(no_bank(place))
    if values["format"] != FORMAT:
        raise OtherFormat(
            f"{place} has bank format {values['format']!r:.20}, this version reads format {FORMAT}; "
            "install the version of framebank that wrote it"
        )
    try:
        return manifest_from(values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotABank(
            f"{place}/{ROOT} is damaged or was changed by hand ({error}); restore it from a copy"
        ) from error


def manifest_from(values: Mapping[str, Any]) -> Manifest:
    """The manifest of a group's attributes. Raises ValueError, KeyError or TypeError where they are none."""
    if values["check"] != check_of(dict(values)):
        raise ValueError("its check does not fit its content")
    spec = BankSpec.from_json(values["spec"])
    if spec.fingerprint != values["fingerprint"]:
        raise ValueError("its fingerprint is not its spec's")
    shard_rows = int(values["rows_per_shard"])
    tower = spec.backbone
    sizes = (spec.frames, spec.views, tower.width, tower.heads, tower.depth, *tower.grid, tower.embed)
    if len(tower.grid) != 2 or not all(type(size) is int and size >= 1 for size in sizes):
        raise ValueError(f"sizes of its spec are no whole numbers of at least 1: {sizes}")
    if tower.depth > MAX_DEPTH or len(spec.kept) > MAX_PARTS:
        raise ValueError(f"{tower.depth} blocks and {len(spec.kept)} parts are implausible")
    largest = max(layout.row_bytes for layout in array_layouts(spec))
    if not (1 <= shard_rows <= MAX_SHARD_ROWS and largest <= MAX_ROW_BYTES) or shard_rows % spec.views:
        raise ValueError(f"{shard_rows} rows a shard of up to {largest} bytes are implausible")
    weights = {name: FileDigest(**file) for name, file in values["weights"].items()}
    return Manifest(spec=spec, rows_per_shard=shard_rows, weights=weights, made=dict(values["made"]))


def no_bank(place: Place) -> str:
    """That there is none, and what makes one."""
    return f"expected a framebank bank at {place}, found none; `framebank extract` makes one"


def refuse_other_spec(place: Place, have: BankSpec, want: BankSpec) -> None:
    """Raise unless the specs agree in all that decides a row.

    Raises:
        SpecMismatch: one line per difference, both sides named.
    """
    ours, theirs = have.to_json(), want.to_json()
    lines = differences(ours | {"kept": None}, theirs | {"kept": None})
    if lines:
        raise SpecMismatch(
            f"{place} was made with another spec:\n  "
            + "\n  ".join(lines)
            + "\nAsk for the bank's own settings, or for another bank."
        )
