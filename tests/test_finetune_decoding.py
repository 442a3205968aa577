"""Children that decode: answers in order, a crash costs one video, and none outlives who asked."""

import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from finetune.decoding import Decoders
from tests.small_extractions import draw_clip
from video import Clip, DecodedClip, Sampling, ViewPlan, decode_views

PLAN = ViewPlan(sampling=Sampling(frames=3, stride=3), size=64)
HOSTILE = (sys.executable, "-P", str(Path(__file__).with_name("hostile_child.py")))


def drawn(folder, names):
    for seed, name in enumerate(names):
        draw_clip(folder / name, seed)
    return [Clip(key=name, path=str(folder / name)) for name in names]


def test_answers_are_in_order_and_a_crash_costs_one_video(tmp_path, monkeypatch):
    monkeypatch.setattr("video.decode_process.CHILD", HOSTILE)
    clips = drawn(tmp_path, ["a.mp4", "crash.mp4", "b.mp4", "c.mp4"])
    (tmp_path / "empty.mp4").write_bytes(b"")
    clips.insert(2, Clip(key="empty.mp4", path=str(tmp_path / "empty.mp4")))
    with Decoders(2) as decoders:
        found = list(decoders.in_order(clips, PLAN, ahead=3))
    assert len(found) == len(clips)
    for clip, views in zip(clips, found, strict=True):
        if clip.key in ("crash.mp4", "empty.mp4"):
            assert ("the decoder died: signal 11" in str(views)) == (clip.key == "crash.mp4")
        else:
            assert isinstance(views, DecodedClip)
            np.testing.assert_array_equal(views.frames, decode_views(clip, PLAN).frames)


@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_no_child_outlives_it(tmp_path, seconds):
    clips = drawn(tmp_path, ["a.mp4"]) * 8
    before = set(psutil.Process().children())
    with Decoders(2) as decoders:
        waiting = [decoders.submit(clip, PLAN) for clip in clips]
        psutil.wait_procs(set(psutil.Process().children()) - before, timeout=seconds)
    assert all(future.done() for future in waiting)
    assert set(psutil.Process().children()) <= before
