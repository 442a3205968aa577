"""The whole story in a bucket that misbehaves: extract, kill, go on, verify, repair, train."""

import os
import signal
import time

import numpy as np
import pytest

from decoders.config import DecoderConfig, TrainConfig
from decoders.train import train
from pipeline import verify
from storage import Bank, BankBusy, BankWriter, CorruptShard, open_place
from tests import s3_server
from tests.s3_server import Faults, fresh_url, proxy
from tests.small_banks import small_spec, write_bank
from tests.small_clips import write_config
from tests.small_extractions import config_for, draw_classes, extract, quiet, start_extraction

BAD_DAY = Faults(busy=0.03, error=0.03, reset=0.03, lost=0.03, cut=0.02)
CLIPS = 4
server, front = s3_server.server, s3_server.front


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_config(tmp_path_factory.mktemp("model") / "small.json"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return draw_classes(tmp_path_factory.mktemp("videos"), CLIPS)


def records_in(url: str) -> int:
    return sum(entry.name.endswith(".json") for entry in open_place(url).entries("shards"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_extracted_killed_gone_on_with_verified_and_repaired(ray_cluster, server, source, model, tmp_path):
    local = extract(config_for(source, model, tmp_path / "bank"), quiet())
    with proxy(server, BAD_DAY, seed=3) as faulty:
        url = fresh_url()
        process = start_extraction(source, model, url)
        while process.poll() is None and not records_in(url):
            time.sleep(0.1)
        assert process.poll() is None, "it ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert start_extraction(source, model, url).wait() == 0
        assert Bank(url).digest == local.digest
        assert len(Bank(url).rows()) == CLIPS
        assert verify.main([url]) == 0
        place = open_place(url)
        name = next(iter(Bank(url).records[0, 1].files))
        data = bytearray(place.read(name))
        data[len(data) // 3] ^= 4
        place.write(name, bytes(data))
        assert verify.main([url]) == 1
        verify.main([url, "--repair"])
        assert start_extraction(source, model, url).wait() == 0
        assert Bank(url).digest == local.digest
        assert verify.main([url]) == 0
        assert sum(faulty.happened[kind] for kind in ("busy", "error", "reset", "lost", "cut")) > 20


def test_a_bank_in_a_bucket_reads_as_one_in_a_folder(server, tmp_path):
    write_bank(tmp_path / "bank", 5, small_spec(dtype="int8"), shard_rows=2)
    with proxy(server, BAD_DAY, seed=5):
        url = fresh_url()
        write_bank(url, 5, small_spec(dtype="int8"), shard_rows=2)
        ours, theirs = Bank(url), Bank(tmp_path / "bank")
        assert ours.digest == theirs.digest
        for name in ours.layouts:
            np.testing.assert_array_equal(ours.read(name, [4, 0, 3]), theirs.read(name, [4, 0, 3]))
        assert ours.table.equals(theirs.table)


def test_two_writers_of_a_bucket(front):
    url = fresh_url()
    with BankWriter(url, small_spec()), pytest.raises(BankBusy, match="one run writes a bank at a time"):
        BankWriter(url, small_spec())
    assert "lease.json" not in [entry.name for entry in open_place(url).entries()]


def test_damage_in_a_bucket_is_refused(front):
    url = fresh_url()
    write_bank(url, 3)
    place, name = open_place(url), "features/block02/out/c/0/0/0/0"
    good = place.read(name)
    for bad in (good[:-9], b"", bytes([good[0] ^ 1]) + good[1:]):
        place.write(name, bad)
        with pytest.raises(CorruptShard):
            Bank(url).read("features/block02/out", [0])
    place.remove([name])
    with pytest.raises(CorruptShard, match="the file is gone"):
        Bank(url).read("features/block02/out", [0])


def test_a_decoder_trains_from_a_bucket(server, tmp_path):
    with proxy(server, Faults(busy=0.02, reset=0.02), seed=1):
        url = fresh_url()
        write_bank(url, 8)
        config = TrainConfig(
            decoder=DecoderConfig(layers=2, heads=2), steps=2, batch_size=4, split="train", eval_split=""
        )
        result = train(config, bank=url, run=tmp_path / "run", device="cpu")
    assert result.steps == 2
