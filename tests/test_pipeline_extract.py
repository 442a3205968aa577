"""Extraction on Ray: every row is its own video's, bad videos are accounted for, no interruption shows."""

import os
import random
import re
import signal
import time
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import pipeline.extract
from backbones.config import BackboneConfig
from backbones.maps import cross_frame_maps
from backbones.taps import FrozenTower
from backbones.weights import load_clip
from pipeline.errors import ExtractionError
from pipeline.extract import extract
from pipeline.room import bank_bytes
from storage import POOLED, Bank, BankWriter, SpecMismatch, array_name
from tests.small_clips import write_config
from tests.small_extractions import config_for, draw_classes, quiet, start_extraction
from video import Clip, InputError, Sampling, ViewPlan, decode_views

BAD = {"empty.mp4": b"", "noise.mp4": random.Random(0).randbytes(4000)}
GOOD = 10


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Ten different videos in two class folders, and two that cannot be decoded."""
    folder = tmp_path_factory.mktemp("videos")
    draw_classes(folder, GOOD)
    for name, data in BAD.items():
        (folder / "class 0" / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_config(tmp_path_factory.mktemp("model") / "small.json"))


@pytest.fixture(scope="module")
def bank(ray_cluster, source, model, tmp_path_factory):
    return extract(config_for(source, model, tmp_path_factory.mktemp("bank") / "bank", encoders=2), quiet())


def direct(bank, model, source, line):
    """Taps of one video, computed here and now."""
    clip = load_clip(BackboneConfig(name=model, weights="random:0"))
    tower = FrozenTower(clip.model.visual, blocks=bank.spec.blocks, mean=clip.mean, std=clip.std)
    plan = ViewPlan(sampling=Sampling(kind="tsn", frames=4), size=64)
    frames = decode_views(Clip(key="", path=str(source / line["key"])), plan).frames[line["view"]]
    with torch.inference_mode():
        return tower(tower.normalise(torch.from_numpy(frames)))


def test_every_row_is_its_own_videos(bank, model, source):
    rows = bank.rows()
    assert len(rows) == GOOD
    lines = {line["row"]: line for line in bank.table.to_pylist()}
    for row in rows.tolist():
        taps = direct(bank, model, source, lines[row])
        for block in bank.spec.blocks:
            stored = bank.read(array_name(block, "out"), [row])[0]
            np.testing.assert_allclose(stored, taps.out[block].numpy(), rtol=2e-3, atol=2e-3)
            maps = cross_frame_maps(taps.q[block][None], taps.k[block][None])
            for tap, values in zip(("map_prev", "map_next"), maps, strict=True):
                stored = bank.read(array_name(block, tap), [row])[0]
                np.testing.assert_allclose(stored, values[0].numpy(), rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(bank.read(POOLED, [row])[0], taps.pooled.numpy(), rtol=2e-3, atol=2e-3)


def test_the_clip_table_says_what_each_row_is(bank):
    lines = bank.table.to_pylist()
    assert len({line["content"] for line in lines if line["outcome"] == "written"}) == GOOD
    for line in lines:
        if line["outcome"] == "written":
            assert line["class_name"] == line["key"].split("/")[0]
            assert (line["decoder"], line["num_frames"], line["width"]) == ("decord", 12, 64)
            assert len(line["indices"]) == 4


def test_bad_videos_are_recorded_with_their_reasons(bank):
    failed = {line["key"]: line["reason"] for line in bank.table.to_pylist() if line["outcome"] == "failed"}
    assert set(failed) == {f"class 0/{name}" for name in BAD}
    assert failed["class 0/empty.mp4"] == "empty file (0 bytes)"
    assert "not a media file" in failed["class 0/noise.mp4"]


def test_failed_videos_are_tried_again_and_then_quarantined(without_ray, source, model, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").write_bytes((source / "class 0/clip 0.mp4").read_bytes())
    (videos / "b.mp4").write_bytes(b"")
    config = config_for(videos, model, tmp_path / "bank", attempts=2)
    digests = {extract(config, quiet()).digest for _ in range(2)}
    assert Bank(tmp_path / "bank").records[0, 0].attempts == {1: 2}
    said = Console(file=StringIO(), width=200)
    digests.add(extract(config, said).digest)
    assert len(digests) == 1
    assert "0 new\n0 clips to do" in said.file.getvalue()
    assert re.search(r"2 │\s+1 │\s+0 │\s+0 │\s+1 │\s+0 │", said.file.getvalue())


def test_a_mended_video_is_written_by_the_next_run(without_ray, source, model, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    good = (source / "class 0/clip 0.mp4").read_bytes()
    for name, data in (
        ("a.mp4", good),
        ("b.mp4", good[:500]),
        ("c.mp4", (source / "class 1/clip 1.mp4").read_bytes()),
    ):
        (videos / name).write_bytes(data)
    config = config_for(videos, model, tmp_path / "bank")
    before = extract(config, quiet())
    assert before.rows().tolist() == [0, 2]
    (videos / "b.mp4").write_bytes((source / "class 0/clip 2.mp4").read_bytes())
    after = extract(config, quiet())
    assert after.rows().tolist() == [0, 1, 2]
    for name in after.layouts:
        np.testing.assert_array_equal(before.read(name, [0, 2]), after.read(name, [0, 2]))


def test_a_finished_run_again_is_a_cheap_success(without_ray, bank, source, model):
    config = config_for(source, model, bank.path)
    said = Console(file=StringIO(), width=200)
    for _ in range(2):
        extract(config, quiet())
    start = time.perf_counter()
    assert extract(config, said).digest == bank.digest
    assert "0 new\n0 clips to do" in said.file.getvalue()
    assert time.perf_counter() - start < 10


def test_more_videos_are_added_behind_those_there_are(without_ray, source, model, tmp_path):
    first = extract(config_for(source, model, tmp_path / "bank", limit=3), quiet())
    more = extract(config_for(source, model, tmp_path / "bank"), quiet())
    assert len(more.rows()) == GOOD
    assert more.table["key"].to_pylist()[:3] == first.table["key"].to_pylist()


def test_several_views_make_several_rows(without_ray, source, model, tmp_path):
    views = ViewPlan(sampling=Sampling(frames=2, stride=2), size=64, temporal_views=2)
    found = extract(config_for(source, model, tmp_path / "bank", views=views, attention="qk"), quiet())
    assert len(found.rows()) == GOOD * 2
    failed = found.table.filter(found.table["outcome"].to_numpy(zero_copy_only=False) == "failed")
    assert failed.num_rows == len(BAD) * 2
    assert found.read(array_name(3, "q"), found.rows()[:1]).shape == (1, 2, 17, 4, 16)


def test_another_spec_is_refused_with_both_sides(bank, source, model):
    with pytest.raises(SpecMismatch, match=r"does not keep features/block01/out.*(?s:.)*keeps blocks 2 3"):
        extract(config_for(source, model, bank.path, last_blocks=3), quiet())
    other = BackboneConfig(name=model, weights="random:1")
    with pytest.raises(SpecMismatch, match=r"backbone.weights: the bank has"):
        extract(config_for(source, model, bank.path, backbone=other), quiet())


def test_nothing_written_is_an_error(without_ray, model, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/empty.mp4").write_bytes(b"")
    with pytest.raises(ExtractionError, match="none of 1 clips could be written"):
        extract(config_for(tmp_path / "videos", model, tmp_path / "bank"), quiet())


def test_a_wrong_or_empty_folder_is_refused(model, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        extract(config_for(tmp_path / "nowhere", model, tmp_path / "bank"), quiet())
    (tmp_path / "void").mkdir()
    with pytest.raises(InputError, match="void"):
        extract(config_for(tmp_path / "void", model, tmp_path / "bank"), quiet())


def test_a_disk_too_small_is_refused_before_anything_runs(source, model, tmp_path, monkeypatch):
    monkeypatch.setattr("storage.places.local_place.LocalPlace.free_bytes", lambda place: 1000)
    said = run_in_process(config_for(source, model, tmp_path / "bank"))
    assert "take about" in said
    assert "0.00 GB free" in said


def run_in_process(config):
    try:
        extract(config, quiet())
    except Exception as error:
        return str(error)
    return ""


def test_frames_of_another_size_than_the_towers_are_refused_before_a_bank_is_made(source, model, tmp_path):
    views = ViewPlan(sampling=Sampling(kind="tsn", frames=4), size=96)
    said = run_in_process(config_for(source, model, tmp_path / "bank", views=views))
    assert "(64, 64) pixels, views.size asks for (96, 96)" in said
    assert not (tmp_path / "bank").exists()


def test_a_url_of_an_unknown_kind_is_not_taken_for_a_folder(source, model):
    assert "found ftp://..." in run_in_process(config_for(source, model, "ftp://b/bank"))


def test_a_workers_error_is_told_as_it_was(ray_cluster, source, model, tmp_path, monkeypatch):
    copy = tmp_path / "small.json"
    copy.write_bytes(Path(model).read_bytes())
    config = config_for(source, str(copy), tmp_path / "bank", limit=1)
    real = pipeline.extract.run_tasks
    monkeypatch.setattr("pipeline.extract.run_tasks", lambda *given: (copy.unlink(), real(*given)))
    said = run_in_process(config)
    assert said.startswith("a worker failed: BackboneError: ")
    assert "run the same command to go on" in said


def test_the_estimate_is_what_comes_out(bank):
    used = sum(file.bytes for record in bank.records.values() for file in record.files.values())
    assert used == pytest.approx(bank_bytes(list(bank.layouts.values()), len(bank.rows())), rel=0.5)


def kill_at(moment, source, model, bank) -> None:
    """SIGKILL an extraction once `moment` shards have been committed."""
    process = start_extraction(source, model, bank)
    while process.poll() is None and len(list(Path(bank).glob("shards/*.json"))) < moment:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_and_run_again_it_is_the_same_bank(bank, source, model, tmp_path):
    kill_at(1, source, model, tmp_path / "bank")
    again = extract(replace(config_for(source, model, tmp_path / "bank")), quiet())
    assert again.digest == bank.digest


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(6))
def test_killed_at_random_moments_and_run_again_it_is_the_same_bank(bank, source, model, tmp_path, seed):
    rng = random.Random(seed)
    for _ in range(2):
        process = start_extraction(source, model, tmp_path / "bank")
        time.sleep(rng.uniform(3, 25))
        process.kill()
        process.wait()
    assert extract(config_for(source, model, tmp_path / "bank"), quiet()).digest == bank.digest


def test_a_bank_being_written_is_refused(bank, source, model):
    with BankWriter(bank.path, bank.spec):
        said = run_in_process(config_for(source, model, bank.path))
    assert "is being written by run" in said
