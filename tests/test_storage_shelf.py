"""A shelf: which banks there are, what each holds, and which one serves a spec."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage import (
    Bank,
    BankError,
    BankWriter,
    Kept,
    Standing,
    bank_places,
    find_bank,
    spec_line,
    standings,
    suggested_name,
)
from tests.small_banks import clip_line, small_spec, write_bank, write_shard


@pytest.fixture
def shelf(tmp_path):
    """Two banks on two levels, and things that are none."""
    root = tmp_path / "shelf"
    write_bank(root / "k400/maps", 3, failed=(1,))
    write_bank(root / "qk", 2, small_spec(attention="qk", video={"seed": 1}))
    (root / ".trash").mkdir()
    write_bank(root / ".trash/old", 1)
    (root / "notes.txt").write_text("x")
    (root / "a/b/c/d").mkdir(parents=True)
    write_bank(root / "a/b/c/d/deep", 1)
    return root


def named(root) -> dict[str, Standing]:
    return {one.name: one for one in standings(root) if isinstance(one, Standing)}


def test_banks_are_found_three_folders_deep_in_the_order_of_names(shelf):
    found = [str(place).removeprefix(f"{shelf}/") for place in bank_places(shelf)]
    assert found == ["k400/maps", "qk"]
    assert [str(place) for place in bank_places(shelf / "qk")] == [str(shelf / "qk")]
    assert list(bank_places(shelf / "nowhere")) == []


def test_what_a_bank_holds(shelf):
    one = named(shelf)["k400/maps"]
    assert (one.rows, one.outcomes) == (2, {"written": 2, "failed": 1})
    assert one.bytes == sum(record.bytes for record in Bank(one.location).records.values())
    assert one.manifest.spec == small_spec()
    assert named(shelf / "qk").keys() == {"qk"}


def test_later_parts_count_in_bytes_and_not_in_rows(shelf):
    path = shelf / "k400/maps"
    before = named(shelf)["k400/maps"]
    with BankWriter(path, small_spec(blocks=(1, 2, 3)), grow=True) as writer:
        write_shard(path, 0, writer=writer, part=1, failed=(1,))
    after = named(shelf)["k400/maps"]
    assert (after.rows, after.outcomes) == (before.rows, before.outcomes)
    assert after.bytes > before.bytes


def test_only_a_live_run_is_writing(shelf):
    assert named(shelf)["qk"].writer == ""
    with BankWriter(shelf / "qk", Bank(shelf / "qk").spec) as writer:
        assert named(shelf)["qk"].writer == writer.run
    code = "import os, sys; from tests.small_banks import *; from storage import Bank;"
    code += "BankWriter(sys.argv[1], Bank(sys.argv[1]).spec); os._exit(1)"
    subprocess.run([sys.executable, "-c", code, str(shelf / "qk")], check=False)
    assert (shelf / "qk/lease.json").exists()
    assert named(shelf)["qk"].writer == ""


def test_when_a_bank_was_read_and_a_look_at_the_shelf_is_no_reading(shelf):
    listing = shelf / "qk/clips/00000.parquet"
    os.utime(listing, (1e9, 1e9))
    for _ in range(2):
        assert named(shelf)["qk"].read is None
    os.utime(listing, (1.5e9, 1e9))
    for _ in range(2):
        assert named(shelf)["qk"].read == datetime.fromtimestamp(1.5e9, UTC)
    with BankWriter(shelf / "new", small_spec()):
        pass
    assert named(shelf)["new"].read is None


def test_when_a_bank_was_written(shelf):
    found = named(shelf)["qk"].written
    assert found is not None
    assert abs(found.timestamp() - time.time()) < 600
    with BankWriter(shelf / "new", small_spec()) as writer:
        writer.enrol([clip_line(0)])
    assert named(shelf)["new"].written is None


def test_a_damaged_bank_is_told_and_hides_no_other(shelf):
    (shelf / "k400/maps/shards/00000.json").write_text("{}")
    write_bank(shelf / "broken", 1)
    (shelf / "broken/zarr.json").write_text("[]")
    errors = [str(one) for one in standings(shelf) if isinstance(one, BankError)]
    assert len(errors) == 2
    assert str(shelf / "broken") in errors[0]
    assert "00000.json is not a commit record" in errors[1]
    assert named(shelf).keys() == {"qk"}


SHOWN_TO_OTHERS = """
import os, sys
from storage import find_bank, standings
from tests.small_banks import small_spec
if os.getuid() == 0:
    os.setuid(65534)
for one in standings(sys.argv[1]):
    print(getattr(one, "name", one))
print(find_bank(sys.argv[1], small_spec(attention="qk", video={"seed": 1})))
"""


def test_a_bank_that_may_not_be_read_is_told_and_hides_no_other(shelf):
    for folder in [shelf, *shelf.parents]:
        if os.stat(folder).st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(0o755)
    (shelf / "k400").chmod(0)
    run = subprocess.run(
        [sys.executable, "-c", SHOWN_TO_OTHERS, str(shelf)], check=False, capture_output=True, text=True
    )
    (shelf / "k400").chmod(0o755)
    assert run.stdout.splitlines() == [
        f"{shelf / 'k400'} may not be read: Permission denied",
        "qk",
        str(shelf / "qk"),
    ], run.stderr


def test_the_bank_of_a_spec(shelf):
    assert find_bank(shelf, small_spec()) == str(shelf / "k400/maps")
    assert find_bank(shelf, small_spec(frames=4)) is None
    more = small_spec(blocks=(0, 1, 2, 3), attention="qk")
    assert find_bank(shelf, more) == str(shelf / "k400/maps")  # it can grow to that
    assert find_bank(shelf, small_spec(dtype="int8")) is None  # it cannot to that


def test_a_damaged_bank_keeps_nobody_from_finding_another(shelf):
    write_bank(shelf / "broken", 1)
    (shelf / "broken/zarr.json").write_text("[]")
    assert find_bank(shelf, small_spec()) == str(shelf / "k400/maps")


def test_a_spec_in_a_line():
    spec = small_spec(dtype="int8", blocks=(1, 2, 3), views=4)
    spec = spec.with_part(Kept(blocks=(0, 2), attention="qk"))
    assert spec_line(spec) == "test fp32, 3 frames × 4 views, blocks 1-3 maps int8; 0 2 qk"


def test_equal_specs_suggest_equal_names_and_others_do_not():
    spec = small_spec()
    spec = replace(spec, backbone=replace(spec.backbone, name="hf-hub:timm/ViT B_16"))
    name = suggested_name(spec)
    assert name == suggested_name(replace(spec)) == f"hf-hub-timm-vit-b-16-3f-{spec.fingerprint[:8]}"
    assert suggested_name(replace(spec, frames=4)) != name
    assert suggested_name(replace(spec, kept=(Kept(blocks=(2,), dtype="int8"),))) != name
