"""Checking a whole bank: sound ones in every form pass, also while they are written; repair is careful."""

import json
import os
import threading

import pytest

from storage import ATTENTION_MODES, Bank, BankBusy, BankWriter, Standing, open_place, standings
from storage.checks.survey import take_survey
from storage.checks.verify import check_shards, committed_bytes, repair
from storage.gc import collect
from storage.summary import summarise
from tests import s3_server
from tests.small_banks import clip_line, frozen_weights, small_spec, write_bank, write_shard

server, front = s3_server.server, s3_server.front


def findings(path, **options) -> list[str]:
    survey = take_survey(open_place(path))
    return [str(found) for found in (*survey.findings, *check_shards(survey, **options))]


@pytest.mark.parametrize("attention", ATTENTION_MODES)
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_sound_banks_of_every_form(tmp_path, attention, dtype):
    spec = small_spec(attention=attention, dtype=dtype, views=2)
    write_bank(tmp_path / "bank", 3, spec, failed=(2,))
    more = small_spec(attention="qk", dtype=dtype, views=2, blocks=(1, 2))
    with BankWriter(tmp_path / "bank", more, grow=True, weights=frozen_weights(spec)) as writer:
        write_shard(tmp_path / "bank", 0, writer=writer, failed=(2,), part=1)
    assert findings(tmp_path / "bank") == []


def test_a_bank_of_stills_without_attention(tmp_path):
    write_bank(tmp_path / "bank", 3, small_spec(frames=1))
    assert findings(tmp_path / "bank") == []


def test_a_shard_in_which_every_clip_failed(tmp_path):
    write_bank(tmp_path / "bank", 2, failed=(0, 1))
    assert findings(tmp_path / "bank") == []


@pytest.fixture
def four_shards(tmp_path):
    path = tmp_path / "bank"
    with BankWriter(path, small_spec(), shard_rows=2) as writer:
        writer.enrol([clip_line(number) for number in range(8)])
        for shard in range(4):
            write_shard(path, shard, writer=writer)
    return path


@pytest.mark.parametrize("threads", [1, 4])
def test_all_committed_bytes_are_told_of(four_shards, threads):
    survey = take_survey(open_place(four_shards))
    seen, lock = [0], threading.Lock()

    def advance(count):
        with lock:
            seen[0] += count

    assert list(check_shards(survey, advance, threads=threads)) == []
    committed = sum(record.bytes for record in Bank(four_shards).records.values())
    assert seen[0] == committed_bytes(survey) == committed


def test_findings_come_in_the_order_of_shards(four_shards):
    for shard in (3, 0, 2):
        (four_shards / f"features/pooled/c/{shard}/0/0").unlink()
    survey = take_survey(open_place(four_shards))
    assert [found.shard for found in check_shards(survey)] == [(0, 0), (0, 2), (0, 3)]


def test_repair_is_refused_while_a_run_writes(four_shards):
    with BankWriter(four_shards, small_spec()), pytest.raises(BankBusy, match="is being written by run"):
        repair(open_place(four_shards), [(0, 0)])
    assert (four_shards / "shards/00000.json").exists()


def test_repair_takes_only_what_still_fails_and_leaves_no_lease(four_shards):
    (four_shards / "features/pooled/c/1/0/0").unlink()
    (four_shards / "shards/00002.json").write_bytes(b"[]")
    everything = [(0, shard) for shard in (3, 2, 1, 0, 17)]
    assert repair(open_place(four_shards), everything) == [(0, 1), (0, 2)]
    names = sorted(path.name for path in four_shards.glob("shards/*.json"))
    assert names == ["00000.json", "00003.json"]
    assert not (four_shards / "lease.json").exists()


def test_repair_takes_over_a_dead_runs_lease(four_shards):
    (four_shards / "features/pooled/c/1/0/0").unlink()
    lease = {"run": "dead", "host": "elsewhere", "pid": 1, "started": 1.0, "processes": "x"}
    (four_shards / "lease.json").write_text(json.dumps(lease))
    with pytest.raises(BankBusy):
        repair(open_place(four_shards), [(0, 1)])
    os.utime(four_shards / "lease.json", (1.0, 1.0))
    assert repair(open_place(four_shards), [(0, 1)]) == [(0, 1)]


def test_nothing_to_repair_needs_no_lease(four_shards):
    with BankWriter(four_shards, small_spec()):
        assert repair(open_place(four_shards), []) == []


def test_a_bank_is_sound_at_every_moment_of_its_being_written(four_shards):
    stop, written = threading.Event(), [0]

    def rewrite():
        with BankWriter(four_shards, small_spec()) as writer:
            while not stop.is_set():
                failed = (written[0] % 8,)
                write_shard(four_shards, failed[0] // 2, writer=writer, failed=failed)
                written[0] += 1

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for _ in range(25):
            assert findings(four_shards, threads=2) == []
    finally:
        stop.set()
        thread.join()
    assert written[0] > 3


def test_a_bank_in_a_bucket_is_checked_repaired_and_tidied_alike(front):
    url = f"{s3_server.fresh_url()}/bank"
    write_bank(url, 3, failed=(1,))
    digest, place = Bank(url).digest, open_place(url)
    assert findings(url) == []
    name = "features/pooled/c/0/0/0"
    data = bytearray(place.read(name))
    data[5] ^= 1
    place.write(name, bytes(data))
    place.write("shards/00007.parquet", b"left over")
    assert [found.split(";")[0] for found in findings(url)] == [f"{name}: crc32c wrong for row 0"]
    assert repair(place, [(0, 0)]) == [(0, 0)]
    assert collect(place, dry_run=False).count > 1  # the shard's files as well: no record names them now
    with BankWriter(url, small_spec()) as writer:
        write_shard(url, 0, writer=writer, failed=(1,))
    assert findings(url) == []
    assert Bank(url).digest == digest
    (standing,) = standings(url.rpartition("/")[0])
    assert isinstance(standing, Standing)
    assert (standing.location, standing.rows, standing.read) == (url, 2, None)
    assert summarise(Bank(url))["bytes"] == standing.bytes
