"""The small files of a bank against one another: what is wrong is told, and what is not is not."""

import json

import numpy as np
import pytest

from storage import Bank, BankWriter, CorruptShard, NotABank, open_place
from storage.checks.metadata_check import weight_names
from storage.checks.survey import Survey, listing_fault, take_survey
from storage.clip_table import LISTING, table_from
from storage.listing import append_listing
from storage.manifest import Manifest
from storage.sealed import seal
from storage.skeleton import weight_files
from tests.small_banks import clip_line, frozen_weights, small_spec, write_bank, write_shard


def survey(path) -> Survey:
    return take_survey(open_place(path))


def texts(path) -> list[str]:
    return [str(finding) for finding in survey(path).findings]


@pytest.fixture
def grown(tmp_path):
    """Two listings, so two shards; a second part in the first of them only."""
    path = tmp_path / "bank"
    write_bank(path, 2)
    with BankWriter(path, small_spec()) as writer:
        writer.enrol([clip_line(number) for number in range(5)])
        write_shard(path, 1, writer=writer)
    more = small_spec(blocks=(1, 2, 3), attention="derived")
    with BankWriter(path, more, grow=True, weights=frozen_weights(more)) as writer:
        write_shard(path, 0, writer=writer, part=1)
    return path


def test_a_sound_bank_and_what_is_not_extracted_yet(grown):
    found = survey(grown)
    assert found.findings == ()
    assert found.missing == {0: 0, 1: 1}
    assert {shard: rows.tolist() for shard, rows in found.listed.items()} == {0: [0, 1], 1: [64, 65, 66]}
    assert list(found.records) == [(0, 0), (0, 1), (1, 0)]


def test_an_empty_bank_is_sound(tmp_path):
    with BankWriter(tmp_path / "bank", small_spec()):
        pass
    assert survey(tmp_path / "bank").findings == ()
    assert survey(tmp_path / "bank").missing == {0: 0}


def test_no_bank_is_refused_and_a_bank_without_its_manifest_is_damaged(grown, tmp_path):
    with pytest.raises(NotABank):
        survey(tmp_path / "nothing")
    (grown / "zarr.json").unlink()
    assert [finding.remedy for finding in survey(grown).findings] == ["copy"]
    assert survey(grown).manifest is None


def test_a_lost_last_listing_is_noticed_by_all(grown):
    for name in ("clips/00001.json", "clips/00001.parquet"):
        (grown / name).unlink()
    assert "they speak of 67 rows, the listing of 2: a file of the listing" in texts(grown)[0]
    assert "shards/00001.json: no listing names its rows" in texts(grown)[1]
    assert {finding.remedy for finding in survey(grown).findings} == {"copy"}
    with pytest.raises(CorruptShard, match="arrays of 67 rows, but its listing ends at 2"):
        BankWriter(grown, small_spec())  # or rows 64 to 66 would be given to other clips
    with pytest.raises(CorruptShard, match="rows that no listed clip owns"):
        _ = Bank(grown).table


def test_a_lost_first_listing_is_noticed_by_all(grown):
    (grown / "clips/00000.json").unlink()
    assert [finding.where for finding in survey(grown).findings] == ["clips/00000.json"]
    with pytest.raises(CorruptShard, match=r"clips/00000\.json"):
        _ = Bank(grown).listing


def test_a_listing_that_a_crash_left_without_its_record_is_no_damage(grown):
    (grown / "clips/00002.parquet").write_bytes(b"half")
    assert survey(grown).findings == ()


def test_a_crash_between_listing_and_metadata_is_mended_by_the_next_run(grown):
    append_listing(
        open_place(grown), table_from([clip_line(9) | {"row": 128, "bytes": -1, "frames": 3}], LISTING), 3
    )
    found = survey(grown).findings
    assert {finding.remedy for finding in found} == {"extract"}
    assert all("these Zarr metadata are damaged" in str(finding) for finding in found)
    with BankWriter(grown, small_spec()):
        assert survey(grown).findings == ()


def test_metadata_in_the_making_are_no_damage_while_a_run_lives(grown):
    with BankWriter(grown, small_spec()) as writer:
        append_listing(
            open_place(grown), table_from([clip_line(9) | {"row": 128, "bytes": -1, "frames": 3}], LISTING), 3
        )
        found = survey(grown).findings
        assert found
        assert not any(finding.damage for finding in found)
        assert f"run {writer.run} is writing" in str(found[0])


def test_one_array_with_more_rows_is_damaged_metadata_and_no_lost_listing(grown):
    file = grown / "features/pooled/zarr.json"
    file.write_text(file.read_text().replace("67", "77"))
    assert [(finding.where, finding.remedy) for finding in survey(grown).findings] == [
        ("features/pooled/zarr.json", "extract")
    ]
    with BankWriter(grown, small_spec()):
        pass
    assert survey(grown).findings == ()


def test_a_manifest_older_than_its_bank(grown, tmp_path):
    write_bank(tmp_path / "old", 1)
    values = json.loads((grown / "zarr.json").read_bytes())["attributes"]["framebank"]
    older = json.loads((tmp_path / "old/zarr.json").read_bytes())
    assert values["fingerprint"] == older["attributes"]["framebank"]["fingerprint"]
    (grown / "zarr.json").write_text(json.dumps(older))
    found = survey(grown).findings
    assert [(finding.where, finding.remedy) for finding in found] == [("shards/00000.1.json", "copy")]
    assert "zarr.json is older than it" in str(found[0])


def test_a_group_that_other_readers_would_not_take_for_one(grown):
    file = grown / "zarr.json"
    document = json.loads(file.read_bytes())
    file.write_text(json.dumps(document | {"user": {"notes": 1}}))
    assert survey(grown).findings == ()
    file.write_text(json.dumps(document | {"zarr_format": 2}))
    assert "other Zarr readers do not take it for a group's" in texts(grown)[0]


def test_a_first_part_that_is_gone_leaves_its_later_parts_waiting(grown):
    (grown / "shards/00000.json").unlink()
    found = survey(grown)
    assert [(finding.where, finding.damage) for finding in found.findings] == [("shards/00000.1.json", False)]
    assert found.missing == {0: 1, 1: 1}


def test_a_record_of_another_bank(grown, tmp_path):
    write_bank(tmp_path / "other", 2, small_spec(video={"seed": 1}))
    (grown / "shards/00000.json").write_bytes((tmp_path / "other/shards/00000.json").read_bytes())
    found = survey(grown).findings
    assert [(finding.remedy, finding.shard) for finding in found] == [("repair", (0, 0))]
    assert "it is of a bank with fingerprint" in str(found[0])


def test_files_that_are_no_records_are_left_alone(grown):
    for name in ("shards/notes.json", "shards/0.json", "shards/00000.0.json", "clips/notes.json", "readme"):
        (grown / name).write_text("{}")
    assert survey(grown).findings == ()
    assert len(Bank(grown).records) == 3
    assert Bank(grown).listing.num_rows == 5


def test_the_names_of_frozen_weights(grown):
    spec = Bank(grown).spec
    assert weight_names(spec) == set(weight_files(spec, frozen_weights(spec)))
    assert weight_names(small_spec()) == set()


def test_a_weight_that_the_manifest_does_not_know(grown):
    (grown / "weights/block01/ln_bias/c/0").write_bytes(b"other")
    assert "weights/block01/ln_bias/c/0: these 5 bytes are not the frozen weight" in texts(grown)[0]
    (grown / "weights/block01/ln_bias/c/0").unlink()
    assert "weights/block01/ln_bias/c/0: this frozen weight is gone" in texts(grown)[0]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"row": -2}, "no multiple of its 2 views"),
        ({"row": 3}, "no multiple of its 2 views"),
        ({"row": None}, "no row, no name"),
        ({"key": None}, "no row, no name"),
        ({"frames": None}, "no number of frames"),
        ({"frames": 1}, "rows of different numbers of frames to one shard"),
        ({"key": "clips/0000.mp4"}, "names a clip twice"),
        ({"row": 0}, ""),
    ],
)
def test_listings_that_no_writer_makes(changes, fault):
    lines = [clip_line(0) | {"row": 0, "frames": 3}, clip_line(1) | {"row": 2, "frames": 3} | changes]
    manifest = Manifest(spec=small_spec(views=2), rows_per_shard=4)
    found = listing_fault(table_from(lines, LISTING), manifest)
    assert fault in found
    assert bool(found) == bool(fault)


def test_such_a_listing_is_damage_though_its_digest_fits(tmp_path):
    write_bank(tmp_path / "bank", 1)
    append_listing(
        open_place(tmp_path / "bank"), table_from([clip_line(0) | {"row": 64, "frames": 3}], LISTING), 3
    )
    assert texts(tmp_path / "bank") == ["clips: it names a clip twice; restore it from a copy"]


def test_outcomes_of_a_record_are_counts(grown):
    file = grown / "shards/00000.json"
    values = json.loads(file.read_bytes())
    del values["check"]
    file.write_bytes(seal(values | {"outcomes": {"written": 1.5}}))
    assert "a count in it is no whole number" in texts(grown)[0]
    assert np.all([finding.shard == (0, 0) for finding in survey(grown).findings[:1]])
