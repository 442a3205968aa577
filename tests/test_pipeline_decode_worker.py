"""Decoding in a child: a video that kills or stalls the decoder is charged itself, the next one is not."""

import signal
import threading

import numpy as np
import pytest

from pipeline.decode_worker import DecodeLimits, decode_isolated, own_process
from tests.drawn_videos import write_video
from video import Clip, DecodeError, Sampling, ViewPlan, decode_child

PLAN = ViewPlan(sampling=Sampling(kind="tsn", frames=2), size=32)


@pytest.fixture
def clip(tmp_path):
    path = write_video(tmp_path / "a.mp4", np.zeros((6, 32, 32, 3), np.uint8))
    yield Clip(key="a.mp4", path=str(path))
    while own_process():
        own_process().pop().stop()


def test_a_decoder_that_died_between_videos_is_nobodys_fault(clip):
    assert decode_isolated(clip, PLAN, DecodeLimits()).outcome == "written"
    child = own_process()[0]._process
    child.kill()
    child.wait()
    assert decode_isolated(clip, PLAN, DecodeLimits()).outcome == "written"
    assert own_process()[0]._process is not child


def test_a_decoder_that_dies_on_a_video_is_replaced_and_named(clip):
    limits = DecodeLimits()
    assert decode_isolated(clip, PLAN, limits).outcome == "written"
    child = own_process()[0]._process
    child.send_signal(signal.SIGSTOP)  # it takes the video and does not answer
    threading.Timer(0.5, child.kill).start()
    dead = decode_isolated(clip, PLAN, limits)
    assert (dead.outcome, dead.reason) == ("failed", "the decoder died: signal 9 (SIGKILL)")
    assert (dead.error, dead.stage) == ("decoder died", "decode")
    assert decode_isolated(clip, PLAN, limits).outcome == "written"


def test_a_slow_video_fails_and_its_answer_is_never_taken_for_the_next_ones(clip):
    slow = decode_isolated(clip, PLAN, DecodeLimits(seconds=0))
    assert (slow.outcome, slow.reason) == ("failed", "decoding took longer than 0 s")
    assert (slow.error, slow.stage) == ("too slow", "decode")
    assert not own_process()
    assert decode_isolated(clip, PLAN, DecodeLimits()).clip is not None


def test_a_short_video_is_filtered_on_purpose(clip):
    short = decode_isolated(clip, PLAN, DecodeLimits(min_frames=7))
    assert (short.outcome, short.error, short.clip) == ("filtered", "too few frames", None)
    assert "6 frames, fewer than the 7 asked for" in short.reason


def test_a_bad_video_leaves_the_decoder_alive(clip, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"")
    bad = decode_isolated(Clip(key="bad", path=str(tmp_path / "bad.mp4")), PLAN, DecodeLimits())
    assert (bad.outcome, bad.reason) == ("failed", "empty file (0 bytes)")
    assert (bad.error, bad.stage) == ("empty", "open")
    assert own_process()[0].usable


def test_a_child_that_has_grown_is_replaced_before_the_next_video(clip):
    assert decode_isolated(clip, PLAN, DecodeLimits()).outcome == "written"
    grown = own_process()[0].resident_gb
    assert grown > 0.01
    assert own_process()[0].usable
    assert decode_isolated(clip, PLAN, DecodeLimits(memory_gb=1.5 * grown)).outcome == "written"
    assert not own_process()


def test_what_a_decoder_raises_unforeseen_is_a_reason_without_addresses(clip, monkeypatch):
    def confused(*_):
        raise RuntimeError(f"no use for {object()}")

    monkeypatch.setattr(decode_child, "decode_views", confused)
    found = decode_child.answer(clip, PLAN)
    assert isinstance(found, DecodeError)
    assert (found.reason, found.error) == ("RuntimeError: no use for <object object>", "unexpected")


@pytest.mark.parametrize("name", ["seconds", "memory_gb", "min_frames"])
def test_limits_below_nothing_are_refused(name):
    with pytest.raises(ValueError, match=f"limits.{name} is at least 0, not -1"):
        DecodeLimits(**{name: -1})
