"""The command: what is found is said in a line each, and the exit code says what it means."""

import json
import subprocess
import sys

import pytest

import framebank
from storage import Bank, BankWriter, open_place
from storage.manifest import read_manifest, write_manifest
from storage.sealed import seal
from tests.damaged_banks import commit_instead
from tests.encoded_banks import draw_videos, encode_bank
from tests.small_banks import clip_line, small_spec, write_bank


@pytest.fixture
def bank(tmp_path):
    write_bank(tmp_path / "bank", 70, failed=(1,))
    return tmp_path / "bank"


def verify(capsys, *arguments) -> tuple[int, list[str]]:
    """Exit code and lines said on either stream."""
    code = framebank.dispatch(["verify", *map(str, arguments)])
    said = capsys.readouterr()
    return code, (said.out + said.err).splitlines()


def test_a_sound_bank(bank, capsys):
    code, said = verify(capsys, bank)
    assert code == 0
    size = sum(record.bytes for record in Bank(bank).records.values())
    assert said == [f"{bank}: sound (2 shards, 16 files, {size / 1000:.1f} kB checked)"]


def test_what_is_not_extracted_yet_is_a_note(bank, capsys):
    with BankWriter(bank, small_spec()) as writer:
        writer.enrol([clip_line(number) for number in range(75)])
    code, said = verify(capsys, bank)
    assert code == 0
    assert said[0] == "note    part 0: 1 of 3 shards are not extracted yet"


def test_damage_is_a_line_each_and_one(bank, capsys):
    (bank / "features/pooled/c/0/0/0").unlink()
    (bank / "features/pooled/zarr.json").write_text("{}")
    code, said = verify(capsys, bank)
    assert code == 1
    assert said[0].startswith("damage  features/pooled/zarr.json: these Zarr metadata are damaged; the next")
    assert said[1].startswith("damage  features/pooled/c/0/0/0: the file is gone; --repair marks the shard")
    assert "2 × damage" in said[2]
    assert said[3].startswith("to mend it: verify with --repair, then run the `framebank extract` again")
    assert len(said) == 4


def test_after_a_repair_the_next_extract_mends_all(bank, capsys):
    (bank / "features/pooled/c/0/0/0").unlink()
    (bank / "features/pooled/zarr.json").write_text("{}")
    code, said = verify(capsys, bank, "--repair")
    assert code == 0
    assert "removed the commit records of 1 damaged shards" in said
    assert "to mend it: run the `framebank extract` again that made the bank" in said
    with BankWriter(bank, small_spec()):
        pass
    code, said = verify(capsys, bank)
    assert code == 0
    assert said[0] == "note    part 0: 1 of 2 shards are not extracted yet"


def test_what_no_extraction_mends(bank, capsys):
    (bank / "features/pooled/c/0/0/0").unlink()
    (bank / "clips/00000.parquet").write_bytes(b"x")
    code, said = verify(capsys, bank, "--repair")
    assert code == 1
    assert any("clips/00000.parquet" in line and line.endswith("restore it from a copy") for line in said)
    assert "1 of these no extraction mends, see above" in said
    assert not (bank / "shards/00000.json").exists()
    assert (bank / "shards/00001.json").exists()


def test_a_damaged_manifest(bank, capsys):
    (bank / "zarr.json").write_bytes((bank / "zarr.json").read_bytes()[:-20])
    code, said = verify(capsys, bank, "--repair", "--sample", 3)
    assert code == 1
    assert "nothing else can be checked without it; restore it from a copy" in said[0]
    assert len(list(bank.glob("shards/*.json"))) == 2


def test_wrong_requests(bank, tmp_path, capsys):
    assert verify(capsys, tmp_path / "nowhere")[0] == framebank.MISUSED
    code, said = verify(capsys, bank, "--sample", -1)
    assert (code, said) == (framebank.MISUSED, ["framebank: --sample is at least 0, not -1"])
    code, said = verify(capsys, bank, "--sample", 1)
    assert code == framebank.MISUSED
    assert "does not say which backbone made it" in said[0]


def test_a_repair_while_a_run_writes(bank, capsys):
    (bank / "features/pooled/c/0/0/0").unlink()
    with BankWriter(bank, small_spec()):
        code, said = verify(capsys, bank, "--repair")
    assert code == framebank.FAILED
    assert "is being written by run" in said[-1]
    assert (bank / "shards/00000.json").exists()


def test_it_needs_no_torch_where_nothing_is_encoded(bank):
    code = "import sys, framebank as f; f.dispatch(['verify', sys.argv[1]]); sys.exit('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code, bank], check=False, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sampled")
    draw_videos(folder / "videos", 4)
    encode_bank(folder)
    return folder


def test_a_sample_that_is_the_same(made, capsys):
    code, said = verify(capsys, made / "bank", "--sample", 3)
    assert code == 0
    assert "3 of 3 rows encoded again and compared" in said[0]
    assert sum("block03/out" in line for line in said) == 1
    assert said[-1].startswith(f"{made / 'bank'}: sound")


def test_a_sample_with_other_weights_is_refused_at_once(made, capsys):
    other = ("--backbone.name", made / "small.json", "--backbone.weights", "random:7")
    code, said = verify(capsys, made / "bank", "--sample", 1, *other)
    assert code == framebank.MISUSED
    assert len(said) == 1
    assert "the bank was made with" in said[0]


def test_a_sample_that_differs_is_damage_that_repair_leaves_alone(tmp_path, capsys):
    draw_videos(tmp_path / "videos", 2)
    encode_bank(tmp_path)
    bank, file = tmp_path / "bank", tmp_path / "bank/features/pooled/c/0/0/0"
    data, chunk = file.read_bytes(), Bank(bank).layouts["features/pooled"].row_bytes + 4
    commit_instead(bank, file, data[:chunk] + data[:chunk] + data[2 * chunk :])  # row 1 as row 0
    code, said = verify(capsys, bank, "--sample", 4, "--repair")
    assert code == 1
    assert said[0].startswith("damage  row 1 (clip 0.mp4): features/pooled differs by")
    assert said[0].endswith("`framebank extract --redo` makes a clip anew, if it is the bank that is wrong")
    assert (bank / "shards/00000.json").exists()


def test_a_source_that_is_gone_is_a_note(tmp_path, capsys):
    draw_videos(tmp_path / "videos", 2)
    encode_bank(tmp_path)
    (tmp_path / "videos/clip 1.mp4").unlink()
    code, said = verify(capsys, tmp_path / "bank", "--sample", 4)
    assert code == 0
    assert sum(line.startswith("note    row ") and "cannot be encoded again" in line for line in said) == 2
    assert any("2 of 4 rows encoded again and compared" in line for line in said)


def test_a_sample_of_a_bank_with_a_damaged_record(tmp_path, capsys):
    draw_videos(tmp_path / "videos", 1)
    encode_bank(tmp_path)
    (tmp_path / "bank/shards/00000.json").write_text("{}")
    code, said = verify(capsys, tmp_path / "bank", "--sample", 1)
    assert code == 1
    assert any("rows cannot be encoded again before this is mended" in line for line in said)


def test_another_decoder_is_a_note(tmp_path, capsys):
    draw_videos(tmp_path / "videos", 1)
    encode_bank(tmp_path)
    place = open_place(tmp_path / "bank")
    manifest = read_manifest(place)
    manifest.spec.video["decoders"]["av"] = "1.2.3"
    for record in (tmp_path / "bank/shards").glob("*.json"):
        values = json.loads(record.read_bytes())
        del values["check"]
        record.write_bytes(seal(values | {"fingerprint": manifest.spec.fingerprint}))
    write_manifest(place, manifest)
    code, said = verify(capsys, tmp_path / "bank", "--sample", 1)
    assert code == 0
    assert any(line.startswith("note    sample: av is ") and "was 1.2.3" in line for line in said)
