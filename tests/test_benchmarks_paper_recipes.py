"""The benchmark of the paper's recipes: a whole one on a small tower, and what it checks."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.paper_clips import CUTS, count_frames, read_frames, write_clips
from benchmarks.paper_recipes import EXTRACT, LIMITS, Trial, run_trial
from benchmarks.published_frames import evaluation_frames, is_published, training_frames
from benchmarks.video_files import write_video
from pipeline.recipes import recipes
from storage import Bank
from tests.small_clips import write_config

SMALL = ("--views.size", "64", "--backbone.name")


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    """Two videos as long as the cuts need, of a small picture that drifts."""
    folder = tmp_path_factory.mktemp("originals")
    for label, name in enumerate(("long", "short")):
        length = max(cut.last for cut in CUTS if cut.label == label)
        picture = np.random.default_rng(label).integers(0, 255, (4, 6, 3), dtype=np.uint8)
        picture = picture.repeat(8, 0).repeat(8, 1)
        pictures = (np.roll(picture, number, 1) for number in range(length))
        write_video(folder / f"{name}.avi", pictures, "mpeg4", "yuv420p")
    return folder


@pytest.fixture(scope="module")
def lists(originals, tmp_path_factory) -> dict[str, Path]:
    """Its clips, small."""
    return write_clips(originals, tmp_path_factory.mktemp("clips"), short_side=64)


def test_a_recipe_from_videos_to_its_score(tmp_path, lists, without_ray):
    small = (*EXTRACT, *SMALL, str(write_config(tmp_path / "small.json")))
    trial = Trial(recipe="k400-b16-8f", lists=lists, limits=LIMITS["b16"], folder=tmp_path, extract=small)
    found = run_trial(trial)
    assert found["rows"] == {"train": 4, "val": 6}
    assert found["views"] == {"train": 1, "val": 3}
    assert found["tensors"] == 97
    assert found["frames"]["train"]["clip-1.mp4 (60 frames)"] == [[0, 16, 32, 48, 48, 48, 48, 48]]
    assert found["frames"]["val"]["clip-5.mp4 (60 frames)"] == [[0, 16, 32, 48, 59, 59, 59, 59]] * 3
    starts = [frames[0] for frames in found["frames"]["val"]["clip-4.mp4 (300 frames)"]]
    assert starts == [0, 94, 187]
    assert 0 <= found["top1"] <= 1
    refuses_a_bank_of_other_frames(trial)


def refuses_a_bank_of_other_frames(trial: Trial) -> None:
    plan = Bank(trial.bank("val")).spec.video["plan"]
    line = Bank(trial.bank("val")).table.to_pylist()[0]
    assert is_published(plan, line["view"], line["indices"], line["num_frames"])
    assert not is_published(plan, line["view"], [i + 1 for i in line["indices"]], line["num_frames"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "blocks", "clips"),
    [
        ("k400-b16-16f", 4, (4, 2)),
        ("k400-b16-32f", 4, (4, 2)),
        ("k400-l14-8f", 4, (2, 1)),
        ("k400-l14-16f", 4, (2, 1)),
        ("k400-l14-32f", 4, (2, 1)),
        ("ssv2-b16-8f", 12, (4, 2)),
    ],
)
def test_the_other_recipes(tmp_path, lists, without_ray, name, blocks, clips):
    small = (*EXTRACT, *SMALL, str(write_config(tmp_path / "small.json", layers=12)))
    found = run_trial(Trial(recipe=name, lists=lists, limits=clips, folder=tmp_path, extract=small))
    assert found["rows"] == {"train": clips[0], "val": 3 * clips[1]}
    assert found["tensors"] == 23 * blocks + 5
    assert np.isfinite(found["losses"]).all()


@pytest.mark.slow
def test_a_recipe_at_its_full_size(tmp_path, lists):
    trial = Trial(recipe="k400-b16-8f", lists=lists, limits=LIMITS["l14"], folder=tmp_path)
    found = run_trial(trial)
    assert found["parameters_of_400_classes"] == 33_183_376
    assert found["rows"] == {"train": 2, "val": 3}


def test_cuts_have_their_length_and_size(lists):
    for number, cut in enumerate(CUTS):
        clip = lists[cut.split].parent / f"clip-{number}.mp4"
        assert count_frames(clip) == cut.last - cut.first
        assert next(read_frames(clip, 0, 1, 64)).shape == (64, 96, 3)
    assert lists["val"].read_text() == "clip-4.mp4 0\nclip-5.mp4 1\n"


def test_too_short_videos_are_named(tmp_path, originals):
    (tmp_path / "one.avi").write_bytes((originals / "short.avi").read_bytes())
    with pytest.raises(ValueError, match="expected two videos"):
        write_clips(tmp_path, tmp_path)


def test_published_frames_of_a_video_that_is_too_short():
    assert training_frames(0, 60, 8, 16) == [0, 16, 32, 48, 48, 48, 48, 48]
    assert evaluation_frames(60, 8, 16, start_of=(0, 1)) == [0, 16, 32, 48, 59, 59, 59, 59]
    assert training_frames(1, 60, 8, 16) == []


@pytest.mark.parametrize("name", [name for name in recipes() if name.startswith("ssv2")])
def test_segments_hold_a_frame_each(name):
    plan = recipes()[name][1].views.to_json()
    assert is_published(plan, 0, [0, 10, 20, 30, 40, 50, 60, 70], 81)
    assert not is_published(plan, 0, [0, 10, 20, 30, 40, 50, 60, 81], 81)
    assert not is_published(plan, 0, [0, 10], 81)
