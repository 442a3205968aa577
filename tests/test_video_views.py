"""Views: shapes, the frames and crops they say they are, and seeds that make them independent of order."""

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.drawn_videos import frame_number, numbered_frames, write_video
from video import Clip, DecodeError, Sampling, ViewPlan, decode_bytes, decode_views, open_video, views
from video.transforms import eval_crops


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    path = write_video(tmp_path_factory.mktemp("videos") / "a.mp4", numbered_frames(60))
    return Clip(key="a.mp4", path=str(path))


def test_evaluation_views_are_temporal_times_spatial(clip: Clip) -> None:
    plan = ViewPlan(temporal_views=3, spatial_views=3, size=32, sampling=Sampling(frames=4, stride=4))
    decoded = decode_views(clip, plan)
    assert plan.count == 9
    assert decoded.frames.shape == (9, 4, 32, 32, 3)
    assert decoded.indices[::3, 0].tolist() == [0, 24, 47]
    video = open_video(Path(clip.path).read_bytes(), "a")
    for view in range(9):
        crops = eval_crops(video.read(decoded.indices[view]), (32, 32), crops=3)
        assert np.array_equal(decoded.frames[view], crops[view % 3])


def test_one_view_shows_the_frames_it_says(clip: Clip) -> None:
    plan = ViewPlan(size=(64, 96), sampling=Sampling(kind="evl-eval"))
    decoded = decode_views(clip, plan)
    assert (plan.count, plan.frames, decoded.frames.shape) == (1, 8, (1, 8, 64, 96, 3))
    assert decoded.indices.tolist() == [[0, 16, 32, 48, 59, 59, 59, 59]]
    assert [frame_number(frame) for frame in decoded.frames[0]] == decoded.indices[0].tolist()


def test_facts_of_the_file_are_reported(clip: Clip) -> None:
    decoded = decode_views(clip, ViewPlan(size=32))
    assert decoded.content == hashlib.sha256(Path(clip.path).read_bytes()).hexdigest()
    facts = decoded.num_frames, decoded.fps, decoded.width, decoded.height, decoded.rotation, decoded.decoder
    assert facts == (60, 25.0, 96, 64, 0, "decord")
    assert pickle.loads(pickle.dumps(decoded)).content == decoded.content


TRAIN = ViewPlan(
    kind="train",
    augmented_views=4,
    seed=3,
    size=32,
    flip=True,
    randaugment="rand-m7-n4-mstd0.5-inc1",
    sampling=Sampling(kind="tsn", frames=4),
)


def test_augmented_views_are_a_function_of_seed_content_and_number(clip: Clip) -> None:
    first = decode_views(clip, TRAIN)
    again = decode_views(Clip(key="other name", path=clip.path), TRAIN)
    assert first.frames.shape == (4, 4, 32, 32, 3)
    assert np.array_equal(first.frames, again.frames)
    assert len({view.tobytes() for view in first.frames}) == 4
    fewer = decode_views(clip, ViewPlan(**fields(TRAIN) | {"augmented_views": 2}))
    assert np.array_equal(fewer.frames, first.frames[:2])
    other = decode_views(clip, ViewPlan(**fields(TRAIN) | {"seed": 4}))
    assert not np.array_equal(other.frames, first.frames)


def test_flipping_changes_nothing_else(clip: Clip) -> None:
    plain = fields(TRAIN) | {"randaugment": "", "augmented_views": 12}
    still = decode_views(clip, ViewPlan(**plain | {"flip": False}))
    flip = decode_views(clip, ViewPlan(**plain))
    mirrored = [not np.array_equal(a, b) for a, b in zip(still.frames, flip.frames, strict=True)]
    assert 0 < sum(mirrored) < 12
    for a, b, turned in zip(still.frames, flip.frames, mirrored, strict=True):
        assert np.array_equal(a[:, :, ::-1] if turned else a, b)


@pytest.mark.parametrize("plan", [TRAIN, ViewPlan(temporal_views=3, spatial_views=3, size=32)])
def test_decoding_in_small_groups_changes_nothing(
    clip: Clip, plan: ViewPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = decode_views(clip, plan).frames
    monkeypatch.setattr(views, "GROUP_BYTES", 3 * 64 * 96 * 3)
    assert np.array_equal(decode_views(clip, plan).frames, whole)


def test_bytes_in_memory_and_missing_files(clip: Clip) -> None:
    data = Path(clip.path).read_bytes()
    assert decode_bytes(data, "a", ViewPlan(size=32)).num_frames == 60
    with pytest.raises(DecodeError, match="unreadable: No such file"):
        decode_views(Clip(key="x", path="/nowhere/x.mp4"), ViewPlan())
    with pytest.raises(DecodeError, match="empty"):
        decode_bytes(b"", "x", ViewPlan())


def test_the_plan_as_json_says_what_decides_the_pixels() -> None:
    plan = ViewPlan(temporal_views=3, size=(32, 48))
    values = json.loads(json.dumps(plan.to_json()))
    assert values == plan.to_json()
    assert values["size"] == [32, 48]
    assert values["sampling"] == {"kind": "dense", "frames": 8, "stride": 16, "padding": "last-frame"}
    assert "seed" not in values
    explicit = ViewPlan(temporal_views=3, size=(32, 48), sampling=Sampling(padding="last-frame"))
    assert explicit.to_json() == values
    assert ViewPlan(size=64).to_json() == ViewPlan(size=(64, 64)).to_json()
    train = TRAIN.to_json()
    assert train["sampling"] == {"kind": "tsn", "frames": 4}
    assert (train["seed"], train["flip"], "temporal_views" in train) == (3, True, False)


def test_wrong_plans_are_refused_with_a_way_out() -> None:
    for settings, name in [
        ({"kind": "test"}, "kind"),
        ({"size": 0}, "size"),
        ({"size": (32,)}, "size"),
        ({"resize": "area"}, "resize"),
        ({"spatial_views": 2}, "spatial_views"),
        ({"temporal_views": 0}, "temporal_views"),
        ({"augmented_views": 2}, "augmented_views"),
        ({"flip": True}, "flip"),
        ({"randaugment": "rand-m7"}, "randaugment"),
        ({"kind": "train", "spatial_views": 3}, "spatial_views"),
        ({"kind": "train", "seed": -1}, "seed"),
        ({"kind": "train", "crop_scale": (0.5, 1.5)}, "crop_scale"),
        ({"kind": "train", "crop_ratio": (2.0, 1.0)}, "crop_ratio"),
        ({"kind": "train", "randaugment": "strong"}, "randaugment"),
        ({"kind": "train", "sampling": Sampling(kind="evl-eval")}, "sampling"),
        ({"sampling": Sampling(kind="evl-train")}, "sampling"),
    ]:
        with pytest.raises(ValueError, match=rf"views\.[\w, .]*{name}.*expected .* found "):
            ViewPlan(**settings)


def fields(plan: ViewPlan) -> dict:
    return {name: getattr(plan, name) for name in plan.__dataclass_fields__}
