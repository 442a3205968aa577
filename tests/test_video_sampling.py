"""Frame indices: EVL's published examples, even spread of evaluation views, bounds for any length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from video import Sampling, frame_indices

EVL = {"frames": 8, "stride": 16}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_evl_pads_a_short_video_with_the_last_sampled_frame_in_training() -> None:
    indices = frame_indices(Sampling(kind="evl-train", **EVL), 60, rng=rng())
    assert indices.tolist() == [0, 16, 32, 48, 48, 48, 48, 48]
    assert indices.dtype == np.int64


def test_evl_pads_a_short_video_with_its_last_frame_in_evaluation() -> None:
    for views in (1, 3):
        indices = frame_indices(Sampling(kind="evl-eval", **EVL), 60, view=views - 1, views=views)
        assert indices.tolist() == [0, 16, 32, 48, 59, 59, 59, 59]


def test_evl_train_starts_anywhere_that_leaves_room() -> None:
    sampling = Sampling(kind="evl-train", frames=4, stride=2)
    starts = {int(frame_indices(sampling, 10, rng=rng(seed))[0]) for seed in range(60)}
    assert starts == {0, 1, 2, 3}
    assert frame_indices(sampling, 7, rng=rng()).tolist() == [0, 2, 4, 6]


def test_evaluation_views_are_spread_evenly() -> None:
    sampling = Sampling(kind="evl-eval", **EVL)  # span 113
    assert [int(frame_indices(sampling, 300, view=v, views=3)[0]) for v in range(3)] == [0, 94, 187]
    assert [int(frame_indices(sampling, 300, view=v, views=4)[0]) for v in range(4)] == [0, 62, 125, 187]
    assert frame_indices(sampling, 300)[0] == 187 // 2
    assert frame_indices(sampling, 300, view=2, views=3)[-1] == 299


def test_dense_padding_is_a_choice() -> None:
    assert frame_indices(Sampling(**EVL), 60).tolist() == [0, 16, 32, 48, 59, 59, 59, 59]
    last = Sampling(padding="last-sampled", **EVL)
    assert frame_indices(last, 60).tolist() == [0, 16, 32, 48, 48, 48, 48, 48]
    assert frame_indices(last, 60, rng=rng()).tolist() == [0, 16, 32, 48, 48, 48, 48, 48]


def test_tsn_takes_one_frame_of_each_segment_both_ends_included() -> None:
    sampling = Sampling(kind="tsn", frames=4)
    drawn = np.stack([frame_indices(sampling, 41, rng=rng(seed)) for seed in range(400)])
    assert drawn.min(axis=0).tolist() == [0, 10, 20, 30]
    assert drawn.max(axis=0).tolist() == [10, 20, 30, 40]
    assert frame_indices(sampling, 41).tolist() == [5, 15, 25, 35]
    assert frame_indices(sampling, 41, view=0, views=2).tolist() == [2, 12, 22, 32]
    assert frame_indices(sampling, 41, view=1, views=2).tolist() == [7, 17, 27, 37]


def test_an_image_fills_every_place() -> None:
    for kind in ("dense", "tsn", "evl-eval"):
        assert frame_indices(Sampling(kind=kind, frames=3), 1).tolist() == [0, 0, 0]


@given(
    st.sampled_from(["dense", "tsn", "evl-train", "evl-eval"]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 2000),
    st.integers(1, 5),
    st.integers(0, 2**32),
)
def test_indices_exist_and_never_go_back(kind, frames, stride, length, views, seed) -> None:
    sampling = Sampling(kind=kind, frames=frames, stride=stride)
    drawn = [] if kind == "evl-eval" else [frame_indices(sampling, length, rng=rng(seed))]
    fixed = [] if kind == "evl-train" else range(views)
    drawn += [frame_indices(sampling, length, view=view, views=views) for view in fixed]
    for indices in drawn:
        assert indices.shape == (frames,)
        assert indices.dtype == np.int64
        assert indices.min() >= 0
        assert indices.max() < length
        assert (np.diff(indices) >= 0).all()
    if len(drawn) == 1 and kind != "evl-eval":
        assert np.array_equal(frame_indices(sampling, length, rng=rng(seed)), drawn[0])


def test_wrong_settings_are_refused_with_a_way_out() -> None:
    for settings, word in [
        ({"kind": "every"}, "dense"),
        ({"frames": 0}, "at least 1"),
        ({"stride": 0}, "at least 1"),
        ({"padding": "mirror"}, "last-frame"),
        ({"kind": "evl-eval", "padding": "last-frame"}, "leave it out"),
    ]:
        with pytest.raises(ValueError, match=word):
            Sampling(**settings)
    with pytest.raises(ValueError, match="evl-eval"):
        frame_indices(Sampling(kind="evl-train"), 10)
    with pytest.raises(ValueError, match="evl-train"):
        frame_indices(Sampling(kind="evl-eval"), 10, rng=rng())
    with pytest.raises(ValueError, match="at least 1 frame"):
        frame_indices(Sampling(), 0)
