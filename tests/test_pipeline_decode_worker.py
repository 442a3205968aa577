"""Decoding in a child: a video that kills or stalls the decoder is charged itself, the next one is not."""

import numpy as np
import pytest

from pipeline.decode_worker import DecodeLimits, decode_isolated, own_process
from tests.drawn_videos import write_video
from video import Clip, Sampling, ViewPlan

PLAN = ViewPlan(sampling=Sampling(kind="tsn", frames=2), size=32)


@pytest.fixture
def clip(tmp_path):
    path = write_video(tmp_path / "a.mp4", np.zeros((6, 32, 32, 3), np.uint8))
    yield Clip(key="a.mp4", path=str(path))
    while own_process():
        own_process().pop().stop()


def test_a_dead_decoder_is_replaced_and_named(clip):
    limits = DecodeLimits()
    assert decode_isolated(clip, PLAN, limits).outcome == "written"
    own_process()[0]._process.kill()
    dead = decode_isolated(clip, PLAN, limits)
    assert (dead.outcome, dead.reason) == ("failed", "the decoder died: signal 9 (SIGKILL)")
    assert decode_isolated(clip, PLAN, limits).outcome == "written"


def test_a_slow_video_fails_and_its_answer_is_never_taken_for_the_next_ones(clip):
    slow = decode_isolated(clip, PLAN, DecodeLimits(seconds=0))
    assert (slow.outcome, slow.reason) == ("failed", "decoding took longer than 0 s")
    assert not own_process()
    assert decode_isolated(clip, PLAN, DecodeLimits()).clip is not None


def test_a_short_video_is_filtered_on_purpose(clip):
    short = decode_isolated(clip, PLAN, DecodeLimits(min_frames=7))
    assert (short.outcome, short.clip) == ("filtered", None)
    assert "6 frames, fewer than the 7 asked for" in short.reason


def test_a_bad_video_leaves_the_decoder_alive(clip, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"")
    bad = decode_isolated(Clip(key="bad", path=str(tmp_path / "bad.mp4")), PLAN, DecodeLimits())
    assert (bad.outcome, bad.reason) == ("failed", "empty file (0 bytes)")
    assert own_process()[0].usable
