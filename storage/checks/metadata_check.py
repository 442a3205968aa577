"""What makes a bank a Zarr group, and the frozen weights in it, held against what the manifest says.

Metadata of arrays follow from spec and listing, so the next extraction writes damaged ones again. They may
lag behind the listing after a crash, but never be ahead: then a listing is lost.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

from storage.checks.finding import Finding
from storage.layout import weight_shapes
from storage.lease import live_run
from storage.manifest import Manifest
from storage.places.place import Place
from storage.sealed import MAX_BYTES, digest_of
from storage.skeleton import (
    ROOT,
    array_metadata,
    read_or_none,
    root_metadata,
    rows_of_arrays,
    same_metadata,
)
from storage.spec import BankSpec


def root_findings(place: Place, manifest: Manifest) -> Iterator[Finding]:
    """Whether the group's metadata are a Zarr group's around the manifest, for other readers."""
    expected, found = json.loads(root_metadata(manifest.to_json())), json.loads(place.read(ROOT, MAX_BYTES))
    if any(found.get(name) != expected[name] for name in ("zarr_format", "node_type")):
        yield Finding(where=ROOT, what="other Zarr readers do not take it for a group's", remedy="copy")


def weight_findings(place: Place, manifest: Manifest) -> Iterator[Finding]:
    """Each file of the frozen weights that is not what the manifest promises."""
    names = weight_names(manifest.spec)
    for name in sorted(names ^ manifest.weights.keys()):
        what = "the manifest has no digest of it" if name in names else "it is no file of these weights"
        yield Finding(where=name, what=what, remedy="copy")
    for name in sorted(names & manifest.weights.keys()):
        promise = manifest.weights[name]
        try:
            size = place.open(name).size
            sound = size == promise.bytes and digest_of(place.read(name)) == promise.blake3
        except FileNotFoundError:
            yield Finding(where=name, what="this frozen weight is gone", remedy="copy")
            continue
        if not sound:
            what = f"these {size} bytes are not the frozen weight that was written ({promise.bytes} bytes)"
            yield Finding(where=name, what=what, remedy="copy")


def weight_names(spec: BankSpec) -> set[str]:
    """Every file of the frozen weights of a spec: metadata, and one chunk each."""
    shapes = weight_shapes(spec)
    groups = {"weights" for _ in shapes} | {name.rpartition("/")[0] for name in shapes}
    chunks = {"/".join([name, "c", *["0"] * len(shape)]) for name, shape in shapes.items()}
    return {f"{name}/zarr.json" for name in {*groups, *shapes}} | chunks


def metadata_findings(
    place: Place, manifest: Manifest, rows: int, lengths: Iterable[int] = ()
) -> list[Finding]:
    """Each array's or group's `zarr.json` that does not say what it should.

    While a run lives this is no damage: it writes the listing first and the metadata then.

    Args:
        rows: row slots up to the last that a listed clip owns.
        lengths: T of rows that there are beside the spec's.
    """
    expected = array_metadata(manifest.spec, rows, manifest.rows_per_shard, lengths)
    found = {name: read_or_none(place, name) for name in expected}
    have = rows_of_arrays(found.values())
    if have > rows:
        what = f"they speak of {have} rows, the listing of {rows}: a file of the listing (clips/) is lost"
        return [Finding(where="metadata of the arrays", what=what, remedy="copy")]
    wrong = {name: data for name, data in found.items() if not same_metadata(data or b"", expected[name])}
    findings = [
        Finding(where=name, what=f"these Zarr metadata are {'damaged' if data else 'gone'}", remedy="extract")
        for name, data in wrong.items()
    ]
    writing = live_run(place) if findings else None
    note = f" (run {writing} is writing; look again when it is done)"
    return [replace(found, what=found.what + note, remedy="") for found in findings] if writing else findings
