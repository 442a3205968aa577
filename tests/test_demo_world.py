import csv
from collections import Counter
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from demo.motion import MOTIONS, PAIRS, paint_clip
from demo.painter import HUES, SHAPES
from demo.world import HELD_OUT, SPLITS, WorldConfig, appearance, draw_dataset, encode, plan_clips

SMALL = WorldConfig(train=6, val=2, test=4, test_pairs=2, size=32, frames=6)


def read_frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_list_and_files_agree_and_decode(tmp_path: Path):
    listing = draw_dataset(tmp_path, SMALL)
    rows = read_rows(listing)
    assert list(rows[0]) == ["path", "split", "appearance", "motion", "caption"]
    assert Counter(row["split"] for row in rows) == {"train": 6, "val": 2, "test": 4, "test_pairs": 2}
    for row in rows:
        assert read_frames(tmp_path / row["path"]).shape == (6, 32, 32, 3)
        assert row["appearance"] in row["caption"]
        assert row["motion"] in MOTIONS
    with av.open(str(tmp_path / rows[0]["path"])) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 12)


def test_file_names_are_numbers_in_an_order_that_says_nothing():
    plans = plan_clips(WorldConfig())
    motions = [MOTIONS.index(plan.motion) for plan in plans]
    number = np.arange(len(plans))
    assert abs(np.corrcoef(number, motions)[0, 1]) < 0.1
    assert abs(np.corrcoef(number, [SPLITS.index(plan.split) for plan in plans])[0, 1]) < 0.1
    same = np.mean([one == two for one, two in pairwise(motions)])
    assert same == pytest.approx(1 / len(MOTIONS), abs=0.04)


def test_files_are_named_by_number_only(tmp_path: Path):
    rows = read_rows(draw_dataset(tmp_path, SMALL))
    assert [row["path"] for row in rows] == [f"clips/{number:06d}.mp4" for number in range(14)]


def test_same_config_same_bytes_in_one_process_or_two(tmp_path: Path):
    def contents(folder: Path, config: WorldConfig) -> dict[str, bytes]:
        draw_dataset(folder, config)
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }

    one = contents(tmp_path / "one", SMALL)
    two = contents(
        tmp_path / "two", WorldConfig(train=6, val=2, test=4, test_pairs=2, size=32, frames=6, workers=2)
    )
    assert one == two
    assert len(one) == 15


def test_another_seed_draws_other_clips():
    assert plan_clips(WorldConfig(seed=1)) != plan_clips(WorldConfig(seed=0))


@pytest.mark.parametrize("pair", PAIRS)
def test_twins_decode_to_the_same_frames_in_opposite_order(tmp_path: Path, pair: tuple[str, str]):
    decoded = []
    for motion in pair:
        rng = np.random.default_rng(4)
        encode(
            paint_clip(motion, shape=0, colour=2, frames=9, size=32, rng=rng), tmp_path / "clip.mp4", fps=12
        )
        decoded.append(read_frames(tmp_path / "clip.mp4"))
    np.testing.assert_array_equal(decoded[0], decoded[1][::-1])


def test_decoded_frames_resemble_the_painted(tmp_path: Path):
    clip = paint_clip("moves right", shape=1, colour=0, frames=9, size=64, rng=np.random.default_rng(0))
    encode(clip, tmp_path / "clip.mp4", fps=12)
    assert np.abs(read_frames(tmp_path / "clip.mp4").astype(int) - clip).mean() < 8


def test_no_scene_is_shared_between_splits_and_test_scenes_are_twins():
    plans = plan_clips(WorldConfig())
    scenes = Counter((plan.split, plan.seed) for plan in plans)
    assert len({seed for _, seed in scenes}) == len(scenes)
    assert {count for (split, _), count in scenes.items() if split == "train"} == {1}
    assert {count for (split, _), count in scenes.items() if split != "train"} == {2}
    twins: dict[tuple[int, ...], set[str]] = {}
    for plan in plans:
        if plan.split == "test":
            twins.setdefault(plan.seed, set()).add(plan.motion)
    assert all(motions in [set(pair) for pair in PAIRS] for motions in twins.values())


def test_labels_are_balanced_in_every_split():
    plans = plan_clips(WorldConfig())
    for split in SPLITS:
        for label in ("motion", "look"):
            of_split = [plan for plan in plans if plan.split == split]
            counts = Counter(plan.motion if label == "motion" else appearance(plan) for plan in of_split)
            assert max(counts.values()) - min(counts.values()) <= 2, (split, label, counts)
            assert len(counts) == {"motion": 12, "look": 6 if split == "test_pairs" else 30}[label]


def test_held_out_pairs_stay_out_of_the_other_splits():
    held = {f"{list(HUES)[colour]} {list(SHAPES)[shape]}" for shape, colour in HELD_OUT}
    assert len(held) == 6
    assert len({shape for shape, _ in HELD_OUT}) == len({colour for _, colour in HELD_OUT}) == 6
    for plan in plan_clips(WorldConfig()):
        assert (appearance(plan) in held) == (plan.split == "test_pairs")


@pytest.mark.parametrize("wrong", [{"val": 3}, {"train": -1}, {"size": 33}, {"frames": 0}, {"workers": 0}])
def test_impossible_configs_are_refused(wrong: dict[str, int]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WorldConfig(**wrong)


def test_progress_is_reported(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    draw_dataset(tmp_path, SMALL, report=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 14) for number in range(1, 15)]
