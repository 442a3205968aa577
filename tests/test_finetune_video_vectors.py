"""Vectors of videos: from banks with gaps, and in a journal that any interruption leaves readable."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from backbones.config import BackboneConfig
from backbones.weights import load_clip
from finetune.evaluation.video_vectors import Journal, bank_vectors, clip_vector, encoded, video_vector
from storage import POOLED, Bank, BankWriter
from tests.small_banks import clip_line, small_spec, write_bank, write_shard
from tests.small_clips import write_config
from tests.test_finetune_decoding import HOSTILE, PLAN, drawn
from video import decode_views


def test_a_vector_is_the_sum_over_views_of_mean_unit_frames():
    embeddings = torch.randn(2, 3, 8)
    expected = sum(torch.stack([F.normalize(frame, dim=0) for frame in view]).mean(0) for view in embeddings)
    torch.testing.assert_close(video_vector(embeddings), expected)


@pytest.mark.parametrize("views", [1, 2])
def test_a_banks_clips_but_for_those_that_failed(tmp_path, views):
    write_bank(tmp_path / "bank", 4, small_spec(views=views), failed=(views,))
    bank = Bank(tmp_path / "bank")
    found = dict(bank_vectors(bank))
    assert sorted(found) == [f"clips/{number:04d}.mp4" for number in (0, 2, 3)]
    for key, vector in found.items():
        first = int(key[6:10]) * views
        pooled = torch.from_numpy(bank.read(POOLED, list(range(first, first + views))))
        np.testing.assert_array_equal(vector, video_vector(pooled).numpy())


def test_images_and_videos_of_a_bank(tmp_path):
    path, spec = tmp_path / "bank", small_spec()
    with BankWriter(path, spec, shard_rows=2) as writer:
        writer.enrol([clip_line(0) | {"frames": 1}, clip_line(1)])
        for shard in range(2):
            write_shard(path, shard, writer=writer)
    bank = Bank(path)
    found = dict(bank_vectors(bank))
    for key, row, frames in ((clip_line(0)["key"], 2, 1), (clip_line(1)["key"], 0, 3)):
        pooled = torch.from_numpy(bank.read(bank.pooled_name(frames), [row]))
        np.testing.assert_array_equal(found[key], video_vector(pooled).numpy())


def test_a_video_that_kills_its_decoder_costs_its_own_vector_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("video.decode_process.CHILD", HOSTILE)
    clips = drawn(tmp_path, ["a.mp4", "crash.mp4", "b.mp4"])
    tower = load_clip(
        BackboneConfig(name=str(write_config(tmp_path / "small.json")), weights="random:0")
    ).tower()
    found = dict(encoded(tower, clips, PLAN, processes=1))
    assert list(found) == ["a.mp4", "crash.mp4", "b.mp4"]
    assert "the decoder died: signal 11" in found["crash.mp4"]
    for clip in (clips[0], clips[2]):
        np.testing.assert_array_equal(found[clip.key], clip_vector(tower, decode_views(clip, PLAN).frames))


def journal_of(path, identity=None):
    return Journal(path, identity or {"digest": "a", "mean": (0.5, 0.25)})


def test_a_journal_survives_every_cut(tmp_path):
    path = tmp_path / "deep/vectors.jsonl"
    journal = journal_of(path)
    journal.add("a.mp4", np.arange(3, dtype=np.float32))
    journal.add("b.mp4", "not a media file")
    journal.close()
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        again = journal_of(path)
        lines = whole[:size].count(b"\n") - 1
        assert len(again.vectors) + len(again.failed) == max(0, lines)
        for key, value in (("a.mp4", np.arange(3, dtype=np.float32)), ("b.mp4", "not a media file")):
            if key not in again.vectors and key not in again.failed:
                again.add(key, value)
        again.close()
        assert path.read_bytes() == whole
    read = Journal(path, {"digest": "a", "mean": (0.5, 0.25)}, vectors=False)
    assert (read.vectors, read.known) == ({}, {"a.mp4", "b.mp4"})
    read.close()
    read = journal_of(path)
    np.testing.assert_array_equal(read.vectors["a.mp4"], np.arange(3, dtype=np.float32))
    assert read.failed == {"b.mp4": "not a media file"}
    read.close()


def test_a_journal_of_something_else_is_refused(tmp_path):
    journal_of(tmp_path / "v.jsonl").close()
    with pytest.raises(ValueError, match=r"vectors of another model, .*; name another --out"):
        journal_of(tmp_path / "v.jsonl", {"digest": "b"})
    (tmp_path / "v.jsonl").write_text('{"key": "a"}\n')
    with pytest.raises(ValueError, match=r"vectors of another model"):
        journal_of(tmp_path / "v.jsonl")
