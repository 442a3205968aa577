"""Files that somebody made to mislead: each is refused in one line, and nothing is read outside of the bank.

Records and manifests whose checks fit what they say, JSON of any shape, files that claim to be enormous.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import framebank
from storage import Bank, CorruptShard, NotABank
from storage.sealed import check_of, seal
from storage.spec import canonical
from tests.damaged_banks import changed, damage, refused_or_right, touch_small_files, write_two_parts
from tests.memory import ResidentPeak

MOST_MEMORY = 64 * 2**20


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    path = tmp_path_factory.mktemp("crafted") / "bank"
    write_two_parts(path, "int8")
    assert not damage(path)
    return path


OPENED: list[str] = []
WATCHING = [False]


def note_opening(event: str, arguments: tuple[Any, ...]) -> None:
    if WATCHING[0] and event == "open":
        OPENED.append(str(arguments[0]))


sys.addaudithook(note_opening)


@contextmanager
def confined() -> Iterator[None]:
    """Nothing outside of the bank is opened in here, and little memory is taken."""
    OPENED.clear()
    memory = ResidentPeak()
    WATCHING[0] = True
    try:
        yield
    finally:
        WATCHING[0] = False
    taken = memory.taken()
    assert OPENED
    assert not [name for name in OPENED if "secret" in name or ".." in name]
    assert taken < MOST_MEMORY


def crafted(file: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A record with a change, and a check that fits it."""
    values = json.loads(file.read_bytes())
    del values["check"]
    change(values)
    return seal(values)


def rename(values: dict[str, Any], name: str) -> None:
    """Let the first data file have another name."""
    old = next(name for name in values["files"] if name.startswith("features/"))
    values["files"][name] = values["files"].pop(old)


def put(values: dict[str, Any], *path: Any) -> None:
    """`put(values, "a", "b", 3)` sets values["a"]["b"] = 3."""
    *outer, last, value = path
    for name in outer:
        values = values[name]
    values[last] = value


POOLED_FILE = "features/pooled/c/0/0/0"
RECORDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a path upwards": lambda values: rename(values, "../../secret"),
    "a path upwards behind a good one": lambda values: rename(values, "features/pooled/c/0/0/../../secret"),
    "an absolute path": lambda values: rename(values, "/etc/secret"),
    "an empty name": lambda values: rename(values, ""),
    "another shard's file": lambda values: rename(values, "features/pooled/c/1/0/0"),
    "another shard": lambda values: put(values, "shard", 1),
    "another part": lambda values: put(values, "part", 1),
    "a negative size": lambda values: put(values, "files", POOLED_FILE, "bytes", -1),
    "a size in words": lambda values: put(values, "files", POOLED_FILE, "bytes", "12"),
    "a digest that is a number": lambda values: put(values, "files", POOLED_FILE, "blake3", 12),
    "rows in words": lambda values: put(values, "rows", "ab"),
    "rows that are one number": lambda values: put(values, "rows", 7),
    "files that are a list": lambda values: put(values, "files", []),
    "outcomes that are a list": lambda values: put(values, "outcomes", []),
    "an outcome without a count": lambda values: put(values, "outcomes", "written", None),
    "attempts that are no numbers": lambda values: put(values, "provenance", {"attempts": {"1": "x"}}),
    "another member": lambda values: put(values, "colour", "red"),
    "no files": lambda values: values.pop("files"),
}


@pytest.mark.parametrize("change", RECORDS.values(), ids=RECORDS.keys())
def test_a_crafted_record_is_refused_in_one_line(bank, change):
    file = bank / "shards/00000.json"
    with changed(file, crafted(file, change)), confined():
        with pytest.raises(CorruptShard, match=r"^[^\n]*00000.json is not a commit record \(.*\);[^\n]*$"):
            _ = Bank(bank).records
        found = damage(bank)
    assert [(finding.where, finding.shard) for finding in found] == [("shards/00000.json", (0, 0))]


PROMISES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another bank's fingerprint": lambda values: put(values, "fingerprint", "0" * 64),
    "an enormous file": lambda values: put(values, "files", POOLED_FILE, "bytes", 2**60),
    "enormous facts": lambda values: put(values, "files", "shards/00000.parquet", "bytes", 2**60),
    "no facts": lambda values: values["files"].pop("shards/00000.parquet"),
    "fewer files": lambda values: values["files"].pop(POOLED_FILE),
    "an array that is not kept": lambda values: rename(values, "features/block09/out/c/0/0/0/0"),
    "rows beyond the listing": lambda values: put(values, "rows", [0, 10**18]),
    "more rows written": lambda values: put(values, "outcomes", "written", 10**18),
    "another digest": lambda values: put(values, "files", POOLED_FILE, "blake3", "0" * 64),
}


@pytest.mark.parametrize("change", PROMISES.values(), ids=PROMISES.keys())
def test_a_record_that_promises_something_else_is_found(bank, change):
    file = bank / "shards/00000.json"
    with changed(file, crafted(file, change)):
        with confined():
            found = damage(bank)
        refused_or_right(bank, "int8")
    assert found
    assert {finding.shard for finding in found} == {(0, 0)}


def test_records_of_shards_and_parts_that_are_not_there_are_found(bank):
    for name, change in {
        "shards/00007.json": {"shard": 7},
        "shards/00000.9.json": {"part": 9},
    }.items():
        values = json.loads((bank / "shards/00000.json").read_bytes()) | change
        del values["check"]
        facts = name.replace(".json", ".parquet")
        values["files"] = {facts: {"bytes": 10, "blake3": "0" * 64}}
        (bank / name).write_bytes(seal(values))
        try:
            found = damage(bank)
            assert [(finding.where, finding.remedy) for finding in found] == [(name, "copy")]
        finally:
            (bank / name).unlink()


def crafted_manifest(file: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A manifest with a change, and a check and fingerprint that fit it."""
    document = json.loads(file.read_bytes())
    values = document["attributes"]["framebank"]
    change(values)
    identity = {name: value for name, value in values["spec"].items() if name != "kept"}
    values["fingerprint"] = hashlib.sha256(canonical(identity).encode()).hexdigest()
    values["check"] = check_of(values)
    return json.dumps(document).encode()


MANIFESTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "too many rows a shard": lambda values: put(values, "rows_per_shard", 2**40),
    "no rows a shard": lambda values: put(values, "rows_per_shard", 0),
    "rows a shard in words": lambda values: put(values, "rows_per_shard", "many"),
    "a clip parted": lambda values: put(values, "spec", "views", 3),
    "a giant grid": lambda values: put(values, "spec", "backbone", "grid", [10**6, 10**6]),
    "a grid of one side": lambda values: put(values, "spec", "backbone", "grid", [2]),
    "a grid in words": lambda values: put(values, "spec", "backbone", "grid", "ab"),
    "a negative width": lambda values: put(values, "spec", "backbone", "width", -16),
    "a broken width": lambda values: put(values, "spec", "backbone", "width", 1.5),
    "a giant row": lambda values: put(values, "spec", "frames", 10**12),
    "frames in words": lambda values: put(values, "spec", "frames", "three"),
    "a block that is not there": lambda values: put(values, "spec", "kept", 0, "blocks", [99]),
    "blocks in words": lambda values: put(values, "spec", "kept", 0, "blocks", ["a"]),
    "no part": lambda values: put(values, "spec", "kept", []),
    "hundreds of parts": lambda values: put(values, "spec", "kept", values["spec"]["kept"] * 300),
    "thousands of blocks": lambda values: (
        put(values, "spec", "backbone", "depth", 10**7),
        put(values, "spec", "kept", 0, "blocks", list(range(5000))),
    ),
    "unknown attention": lambda values: put(values, "spec", "kept", 0, "attention", "magic"),
    "an unknown member": lambda values: put(values, "spec", "colour", "red"),
    "a spec that is a list": lambda values: put(values, "spec", "backbone", []),
    "weights that are a list": lambda values: put(values, "weights", []),
}


@pytest.mark.parametrize("change", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_a_crafted_manifest_is_refused_in_one_line(bank, change):
    file = bank / "zarr.json"
    data = crafted_manifest(file, change)
    with changed(file, data), confined():
        with pytest.raises(NotABank, match=r"^[^\n]*zarr.json is damaged or was changed by hand[^\n]*$"):
            Bank(bank)
        found = damage(bank)
    assert [(finding.where, finding.remedy) for finding in found] == [("zarr.json", "copy")]


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "other rows a shard": lambda values: put(values, "rows_per_shard", 5),
    "the most rows a shard": lambda values: put(values, "rows_per_shard", 2**16),
    "a wide token": lambda values: put(values, "spec", "backbone", "width", 2**26),
    "a large grid": lambda values: put(values, "spec", "backbone", "grid", [100, 200]),
    "more frames": lambda values: put(values, "spec", "frames", 4),
    "fewer parts": lambda values: put(values, "spec", "kept", values["spec"]["kept"][:1]),
    "other weights": lambda values: put(
        values, "weights", {"../../secret": {"bytes": 7, "blake3": "0" * 64}}
    ),
}


@pytest.mark.parametrize("change", LIES.values(), ids=LIES.keys())
def test_a_manifest_that_is_plausible_but_wrong_is_found(bank, change):
    file = bank / "zarr.json"
    with changed(file, crafted_manifest(file, change)), confined():
        assert damage(bank)
        refused_or_right(bank, "int8")


def test_a_newer_format_is_told_apart_from_damage(bank, capsys):
    file = bank / "zarr.json"
    with changed(file, file.read_bytes().replace(b'"format": 2', b'"format": 3')):
        with pytest.raises(NotABank, match="has bank format 3, this version reads format 2; install"):
            Bank(bank)
        assert framebank.dispatch(["verify", str(bank)]) == framebank.MISUSED
    assert capsys.readouterr().err.count("\n") == 1


SHAPES = [
    b"null",
    b"[]",
    b"7",
    b'"text"',
    b"{}",
    b'{"check": 1}',
    b'{"attributes": 3}',
    b'{"attributes": {"framebank": []}}',
    b'{"attributes": {"framebank": {"format": 2}}}',
    b'{"attributes": {"framebank": {"format": 2, "check": [], "spec": 3}}}',
    b"\xff\xfe\x00",
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b"9" * 5000,
    seal({}),
    seal({"file": 3}),
    seal({"file": {"bytes": "x", "blake3": 3}}),
    seal({"rows": [], "files": 3}),
]


@pytest.mark.parametrize("data", SHAPES, ids=range(len(SHAPES)))
def test_json_of_another_shape_is_refused_in_one_line(bank, data):
    for name, error in {
        "zarr.json": NotABank,
        "shards/00000.json": CorruptShard,
        "clips/00000.json": CorruptShard,
    }.items():
        with changed(bank / name, data), confined():
            with pytest.raises(error, match=rf"^[^\n]*{bank}[^\n]*$"):
                touch_small_files(bank)
            assert [finding.where for finding in damage(bank)] == [name]
    with changed(bank / "features/pooled/zarr.json", data):
        assert [finding.remedy for finding in damage(bank)] == ["extract"]


@pytest.mark.parametrize(
    "name",
    [
        "zarr.json",
        "shards/00000.json",
        "shards/00000.parquet",
        "clips/00000.json",
        "clips/00000.parquet",
        "features/pooled/zarr.json",
        POOLED_FILE,
    ],
)
def test_a_file_that_claims_a_terabyte_is_not_read(bank, name):
    file = bank / name
    with changed(file, file.read_bytes()):
        os.truncate(file, 2**40)
        with confined():
            assert any(name == finding.where for finding in damage(bank))
            refused_or_right(bank, "int8")
