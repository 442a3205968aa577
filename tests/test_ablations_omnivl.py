"""OmniVL in small: the drawn world, what is asked, a whole ablation on few files, and what is learned."""

import csv
import time
from io import StringIO

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from ablations.ledger import Ledger
from ablations.omnivl import OmniVlConfig, run_omnivl
from ablations.omnivl_exam import asked_about
from ablations.omnivl_report import page_of, table_of
from ablations.omnivl_world import SPLITS, WorldConfig, draw_world, scenes_of
from video import Clip, Sampling, ViewPlan, decode_views

SMALL = WorldConfig(train=1)
GATE = 0.6


def quiet() -> Console:
    return Console(file=StringIO(), width=200)


def test_every_caption_is_there_as_often_as_the_others():
    scenes = list(scenes_of(WorldConfig(train=3)))
    counts = {(split, kind): 0 for split in SPLITS for kind in ("image", "clip")}
    for scene in scenes:
        counts[scene.split, scene.kind] += 1
    assert counts == {
        ("train", "image"): 144,
        ("train", "clip"): 144,
        ("test", "image"): 48,
        ("test", "clip"): 48,
        ("reversed", "image"): 0,
        ("reversed", "clip"): 48,
    }
    tests = [scene.caption for scene in scenes if (scene.split, scene.kind) == ("test", "clip")]
    assert len(set(tests)) == 48
    assert not {s.seed for s in scenes if s.split == "train"} & {s.seed for s in scenes if s.split == "test"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    listing = draw_world(folder, SMALL)
    with listing.open(newline="") as file:
        return folder, list(csv.DictReader(file))


def test_a_reversed_clip_is_the_same_pictures_in_opposite_order(world):
    folder, rows = world
    plan = ViewPlan(sampling=Sampling(kind="tsn", frames=4), size=64)
    clips = [row for row in rows if row["kind"] == "clip"]
    forwards = next(row for row in clips if row["split"] == "test" and row["where"] == "left")
    same = {"shape": forwards["shape"], "colour": forwards["colour"], "split": "reversed", "where": "right"}
    backwards = next(row for row in clips if same.items() <= row.items())
    ahead, back = (
        decode_views(Clip(key=row["path"], path=str(folder / row["path"])), plan).frames[0]
        for row in (forwards, backwards)
    )
    np.testing.assert_array_equal(ahead, back[::-1])


def test_an_image_has_its_object_where_the_caption_says(world):
    folder, rows = world
    for row in [row for row in rows if row["kind"] == "image" and row["colour"] == "red"][:12]:
        pixels = np.asarray(Image.open(folder / row["path"])).astype(float)
        red = np.clip(pixels[..., 0] - pixels[..., 1:].max(-1), 0, None) ** 2
        y, x = (np.arange(64) @ red.sum(axis) / red.sum() / 64 for axis in (1, 0))
        found = {"left": x < 0.4, "right": x > 0.6, "top": y < 0.4, "bottom": y > 0.6}
        assert found[row["where"]], row


def test_a_world_is_found_again_and_refused_for_others(world):
    folder, _ = world
    before = (folder / "list.csv").stat().st_mtime_ns
    assert draw_world(folder, SMALL).stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="pictures of other settings"):
        draw_world(folder, WorldConfig(train=2))


def test_questions_ask_for_what_is_drawn(world):
    _, rows = world
    asked = asked_about(next(row for row in rows if row["kind"] == "clip"))
    assert [kind for kind, _, _ in asked] == ["clip shape", "clip colour", "clip clip"]
    assert asked[2][1] == "which way does it move?"


def test_a_report_has_a_line_for_each_schedule_and_kind(tmp_path):
    settings = {"short": False, "image_steps": 1, "joint_steps": 2, "answer_steps": 3}
    ledger = Ledger(tmp_path / "found.json", settings)
    exam = {"dual": 0.5, "reranked": 0.25, "matched": 0.1, "among_8": 1.0, "captions": 0.75}
    ledger.once("train / video_only", lambda: {"steps": 3, "seconds": 7.0})
    ledger.once("exam / video_only", lambda: {"image": exam, "video": exam | {"flipped": 0.9}})
    head, lines = table_of(ledger)
    assert lines[0] == ["video only", "images", "0.50", "0.25", "0.10", "1.00", "0.75", ""]
    assert lines[1][-1] == "0.90"
    page = page_of(ledger, head, lines)
    assert "| video only | clips |" in page
    assert "3 steps in all" in page.replace("\n", " ")


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_what_is_learned_of_images_and_of_clips(tmp_path, ray_cluster):
    """Gates of the decoupled schedule, within a quarter of an hour on one thread."""
    start = time.monotonic()
    config = OmniVlConfig(folder=tmp_path, schedules=("decoupled",), threads=1)
    found = run_omnivl(config, quiet())["stages"]
    assert time.monotonic() - start < 15 * 60
    exam = found["exam / decoupled"]
    for kind in ("image", "video"):
        assert exam[kind]["dual"] >= GATE
        assert exam[kind]["among_8"] >= 0.9
        assert exam[kind]["captions"] >= GATE
    assert exam["video"]["flipped"] >= GATE
    assert found["answers"]["all"] >= GATE


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_who_saw_videos_alone_knows_little_of_images(tmp_path, ray_cluster):
    config = OmniVlConfig(folder=tmp_path, schedules=("video_only",), threads=1)
    exam = run_omnivl(config, quiet())["stages"]["exam / video_only"]
    assert exam["video"]["dual"] >= GATE
    assert exam["image"]["dual"] <= 0.4
    assert exam["image"]["captions"] <= 0.1
