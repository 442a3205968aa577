"""Every odd video ends as it should, alone and among sound ones in one extraction."""

import os
import random
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.decode_worker import DecodeLimits, decode_isolated, own_process
from storage import POOLED, Bank
from tests.drawn_videos import frame_number
from tests.odd_videos import Odd, build, corpus
from tests.small_clips import write_config
from tests.small_extractions import config_for, draw_clip, extract, quiet
from video import Clip, Sampling, ViewPlan
from video.decode_process import CHILD
from video.transforms import eval_crops

PLAN = ViewPlan(sampling=Sampling(kind="tsn", frames=4), size=(64, 96))
ODDS = corpus()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of the corpus, and the names that could be made."""
    folder = tmp_path_factory.mktemp("odd")
    yield folder, {odd.name for odd in build(folder, ODDS)}
    while own_process():
        own_process().pop().stop()


@pytest.mark.parametrize("odd", ODDS, ids=[ascii(odd.name).strip("'") for odd in ODDS])
def test_it_ends_as_it_should(made, odd: Odd):
    folder, names = made
    if odd.name not in names:
        pytest.skip("its encoder is missing")
    found = decode_isolated(Clip(key=odd.name, path=str(folder / odd.name)), PLAN, DecodeLimits())
    assert (found.outcome, found.error) == (("failed", odd.error) if odd.error else ("written", "")), (
        found.reason
    )
    if odd.error:
        assert found.reason
        assert found.stage in ("read", "open", "decode")
        return
    assert found.clip is not None
    view, indices = found.clip.frames[0], found.clip.indices[0]
    marks = {name: getattr(found.clip.quality[0], name) for name in found.clip.quality[0].__slots__}
    marks["rotation"] = found.clip.rotation
    assert {name: value for name, value in marks.items() if value} == dict(odd.marks)
    if odd.shown is not None:
        assert found.clip.num_frames == len(odd.shown)
        assert [frame_number(frame) for frame in view] == [odd.shown[index] for index in indices]
    elif "rotation" not in odd.marks:
        assert np.abs(view - plainly(folder / odd.name, indices).astype(int)).mean() < 4


def plainly(path: Path, indices: np.ndarray) -> np.ndarray:
    """These frames by PyAV, decoded from the start."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return eval_crops(np.stack([frames[index] for index in indices]), PLAN.hw, resize="bicubic", crops=1)[0]


def draw_good(folder: Path, count: int) -> set[str]:
    """So many sound videos of coarse noise; their names."""
    names = {f"good {number}.mp4" for number in range(count)}
    for number in range(count):
        draw_clip(folder / f"good {number}.mp4", number)
    return names


def lines_of(bank: Bank) -> dict[str, dict]:
    """The clip table by key."""
    return {line["key"]: line for line in bank.table.to_pylist()}


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("without_ray", 40),
        pytest.param("without_ray", 200, marks=pytest.mark.slow),
        pytest.param("ray_cluster", 200, marks=[pytest.mark.slow, pytest.mark.timeout(1200)]),
    ],
)
def test_a_run_among_odd_videos_ends_with_every_clip_accounted_for(request, tmp_path, where, count):
    """Sound ones are written as they are in a run of their own, bad ones recorded with a true reason."""
    request.getfixturevalue(where)
    alone, mixed = tmp_path / "alone", tmp_path / "mixed"
    alone.mkdir()
    mixed.mkdir()
    good = draw_good(alone, count)
    odds = {odd.name: odd for odd in build(tmp_path, ODDS)}
    places = random.Random(0).sample(range(1000, 9999), count + len(odds))
    keys = dict(zip([*sorted(good), *odds], (f"{place} " for place in places), strict=True))
    for name, place in keys.items():
        source = alone / name if name in good else tmp_path / name
        source.rename(mixed / (place + name)) if name in odds else os.link(source, mixed / (place + name))
    Path(os.fsdecode(os.fsencode(mixed) + b"/caf\xe9.mp4")).write_bytes(b"no text")
    model = str(write_config(tmp_path / "tiny.json"))
    apart = extract(config_for(alone, model, tmp_path / "apart", shard_rows=16), quiet())
    bank = extract(config_for(mixed, model, tmp_path / "bank", shard_rows=16), quiet())
    lines, expected = lines_of(bank), lines_of(apart)
    assert set(lines) == {place + name for name, place in keys.items()} | {"caf\\xe9.mp4"}
    assert (lines["caf\\xe9.mp4"]["outcome"], lines["caf\\xe9.mp4"]["error"]) == ("failed", "unreadable")
    for name in good:
        line, own = lines[keys[name] + name], expected[name]
        assert (line["outcome"], line["content"], line["indices"]) == (
            "written",
            own["content"],
            own["indices"],
        )
        np.testing.assert_allclose(
            bank.read(POOLED, [line["row"]]), apart.read(POOLED, [own["row"]]), atol=2e-3
        )
    for name, odd in odds.items():
        line = lines[keys[name] + name]
        assert (line["outcome"], line["error"]) == (
            ("failed", odd.error) if odd.error else ("written", "")
        ), line
        assert bool(line["reason"]) == bool(line["stage"]) == bool(odd.error)
    failed = {line["row"] for line in lines.values() if line["outcome"] == "failed"}
    entries = [entry for record in bank.records.values() for entry in record.failures]
    assert {entry["row"] for entry in entries} == failed
    assert all(entry["attempt"] == 1 and entry["message"] and entry["seconds"] >= 0 for entry in entries)


@pytest.mark.usefixtures("without_ray")
def test_a_decoder_that_crashes_hangs_or_hoards_harms_its_own_video_only(tmp_path, monkeypatch):
    while own_process():
        own_process().pop().stop()
    child = Path(__file__).with_name("hostile_child.py")
    monkeypatch.setattr("video.decode_process.CHILD", (sys.executable, "-P", str(child)))
    videos = tmp_path / "videos"
    videos.mkdir()
    good = draw_good(videos, 6)
    for number, name in enumerate(("crash.mp4", "good 2 hang.mp4", "greedy.mp4")):
        draw_clip(videos / name, 100 + number)
    config = config_for(videos, str(write_config(tmp_path / "tiny.json")), tmp_path / "bank", shard_rows=4)
    limits = DecodeLimits(seconds=4, memory_gb=1.2)
    bank = extract(replace(config, limits=limits, attempts=2), quiet())
    lines = lines_of(bank)
    assert {name for name, line in lines.items() if line["outcome"] == "written"} == good
    found = {name: (line["error"], line["reason"]) for name, line in lines.items() if line["error"]}
    assert found == {
        "crash.mp4": ("decoder died", "the decoder died: signal 11 (SIGSEGV)"),
        "good 2 hang.mp4": ("too slow", "decoding took longer than 4 s"),
        "greedy.mp4": ("too much memory", "decoding took more than 1.2 GB of memory"),
    }
    entries = {entry["error"]: entry for record in bank.records.values() for entry in record.failures}
    assert "GB when it was ended" in entries["too much memory"]["message"]
    assert entries["too slow"]["seconds"] >= 4
    monkeypatch.setattr("video.decode_process.CHILD", CHILD)
    again = extract(replace(config, limits=limits, attempts=2), quiet())
    assert {line["outcome"] for line in lines_of(again).values()} == {"written"}
    assert not [entry for record in again.records.values() for entry in record.failures]
    while own_process():
        own_process().pop().stop()
