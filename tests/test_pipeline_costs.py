"""When a bank pays: figures small enough to be worked by hand."""

from dataclasses import replace

import pytest

from pipeline.costs import Measured, Workers, account, break_even, stages

MEASURED = Measured(
    listed=100,
    sampled=10,
    written=8,
    decode=2.0,
    tower=3.0,
    keep=0.5,
    write_rate=40.0,
    read_rate=80.0,
    cold=True,
)
CPU = Workers(decoders=4, encoders=2, gpus=0)
GPU = Workers(decoders=4, encoders=2, gpus=2)


def test_stages():
    """80 clips give frames, with 2 rows and 10 bytes each; all 100 are decoded."""
    found = stages(MEASURED, CPU, views=2, bytes_per_clip=10)
    assert found.decode == 100 * 2.0 / 4 == 50
    assert found.encode == 80 * 2 * 3.5 / 2 == 280
    assert found.write == 80 * 10 / 40 == 20


@pytest.mark.parametrize(("slow", "limit"), [("decode", "decode"), ("tower", "encode"), ("keep", "encode")])
def test_the_limit_is_the_longest_stage(slow, limit):
    assert stages(replace(MEASURED, **{slow: 1000.0}), CPU, 1, 1).limit == limit


def test_a_slow_disk_is_the_limit():
    assert stages(replace(MEASURED, write_rate=0.001), CPU, 1, 1).limit == "write"


def test_a_cpu_decodes_and_encodes_in_turn():
    found = account(MEASURED, CPU, views=2, bytes_per_clip=10, clips_per_second=7)
    assert found.bytes == 800
    assert found.once == 50 + 280 + 20
    assert found.online == 50 + 80 * 2 * 3.0 / 2 == 290  # nothing is kept online
    assert found.read == 800 / 80 == 10
    assert found.feed == 70
    assert found.epochs == 2  # 350 + 2 · 10 < 2 · 290, but 350 + 10 > 290


def test_gpus_encode_beside_decoding():
    found = account(MEASURED, GPU, views=2, bytes_per_clip=10, clips_per_second=7)
    assert (found.once, found.online) == (280 + 20, 240)
    slow = account(replace(MEASURED, decode=40.0), GPU, views=2, bytes_per_clip=10, clips_per_second=7)
    assert (slow.once, slow.online) == (1000 + 20, 1000)


def test_break_even():
    assert break_even(once=100, read=10, online=30) == 6  # 5 epochs cost 150 either way: not cheaper yet
    assert break_even(once=99, read=10, online=30) == 5
    assert break_even(once=100, read=30, online=30) is None
    assert break_even(once=0.1, read=31, online=30) is None


@pytest.mark.parametrize(("once", "read", "online"), [(350, 10, 290), (1e4, 1, 3), (7, 0.1, 0.4), (1, 0, 50)])
def test_break_even_is_the_first_epoch_that_is_cheaper(once, read, online):
    found = break_even(once, read, online)
    assert found is not None
    assert once + found * read < found * online
    assert once + (found - 1) * read >= (found - 1) * online


def test_evls_own_figures():
    """Kinetics-400's 240,000 clips under ViT-B/16 with q and k: 29.05 MB each are 6.97 TB, and 59.3 clips/s
    take 1.72 GB/s."""
    measured = replace(MEASURED, listed=240_000, written=10)
    found = account(measured, GPU, views=1, bytes_per_clip=29.05e6, clips_per_second=59.3)
    assert found.bytes == pytest.approx(6.97e12, rel=1e-3)
    assert found.feed == pytest.approx(1.72e9, rel=2e-3)
