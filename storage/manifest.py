"""What the bank says of itself: format version, spec and shard geometry, in the group's attributes."""

import json
from dataclasses import dataclass
from pathlib import Path

from storage.errors import NotABank, SpecMismatch
from storage.layout import FORMAT
from storage.spec import BankSpec, differences


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The group attributes of a bank."""

    spec: BankSpec
    """What decides the bank's values."""
    rows_per_shard: int
    """Row slots of a shard."""


def read_manifest(bank: Path) -> Manifest:
    """The manifest of the bank at `bank`.

    Raises:
        NotABank: there is no bank, its format is newer than this version, or its fingerprint is not its
        spec's.
    """
    try:
        values = json.loads((bank / "zarr.json").read_bytes())["attributes"]["framebank"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotABank(
            f"expected a framebank bank at {bank}, found none; `framebank extract` makes one"
        ) from error
    if values.get("format") != FORMAT:
        raise NotABank(
            f"{bank} has bank format {values.get('format')}, this version reads format {FORMAT}; "
            "install the version of framebank that wrote it, or a newer one"
        )
    try:
        spec, stated = BankSpec.from_json(values["spec"]), values["fingerprint"]
        manifest = Manifest(spec=spec, rows_per_shard=int(values["rows_per_shard"]))
    except (ValueError, KeyError, TypeError) as error:
        raise NotABank(
            f"{bank}/zarr.json is not what framebank wrote: {error!r}; restore the file"
        ) from error
    if spec.fingerprint != stated:
        raise NotABank(
            f"{bank}/zarr.json was changed by hand: its fingerprint is not that of its spec; restore the file"
        )
    return manifest


def refuse_other_spec(bank: Path, have: BankSpec, want: BankSpec) -> None:
    """Raise unless the specs are equal.

    Raises:
        SpecMismatch: one line per difference, both sides named.
    """
    lines = differences(have.to_json(), want.to_json())
    if lines:
        raise SpecMismatch(
            f"{bank} was made with another spec:\n  "
            + "\n  ".join(lines)
            + "\nAsk for the bank's own settings, or for another bank."
        )
