import numpy as np
import pytest

from demo.motion import MOTIONS, PAIRS, WORDINGS, paint_clip, turn_clockwise


def clip(motion: str, seed: int = 0, shape: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return paint_clip(motion, shape=shape, colour=0, frames=24, size=64, rng=rng)


def red_centre(frame: np.ndarray) -> tuple[float, float, float]:
    """x, y and area of the saturated red pixels."""
    red = frame[..., 0].astype(int) - frame[..., 1:].max(axis=-1) > 60
    rows, columns = np.nonzero(red)
    return columns.mean(), rows.mean(), float(red.sum())


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("seed", [0, 1])
def test_halves_of_a_pair_are_each_others_reverse(pair: tuple[str, str], seed: int):
    np.testing.assert_array_equal(clip(pair[0], seed), clip(pair[1], seed)[::-1])


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_motion_changes_the_picture(motion: str):
    frames = clip(motion).astype(int)
    assert np.abs(frames - frames[:1]).max() > 60


@pytest.mark.parametrize("seed", range(5))
def test_motions_do_what_their_names_say(seed: int):
    def change(motion: str, what: int) -> float:
        frames = clip(motion, seed)
        return red_centre(frames[-1])[what] - red_centre(frames[0])[what]

    assert change("moves right", 0) > 10
    assert change("moves left", 0) < -10
    assert change("moves down", 1) > 10
    assert change("moves up", 1) < -10
    assert change("approaches", 2) > 30
    assert change("recedes", 2) < -30


@pytest.mark.parametrize("seed", range(5))
def test_turning_clockwise_goes_on_in_one_direction(seed: int):
    steps = np.diff(turn_clockwise(24, np.random.default_rng(seed)).angle)
    assert (steps > 0).all()
    assert 0.75 * np.pi < steps.sum() < 1.7 * np.pi


def test_appearing_objects_are_absent_at_first():
    frames = clip("appears")
    red = (frames[..., 0].astype(int) - frames[..., 1:].max(axis=-1) > 60).sum(axis=(1, 2))
    assert red[0] == 0
    assert red[-1] > 50


def test_every_motion_has_several_distinct_wordings():
    assert set(WORDINGS) == set(MOTIONS)
    said = [wording for wordings in WORDINGS.values() for wording in wordings]
    assert len(set(said)) == len(said) == 4 * len(MOTIONS)


def test_unknown_motion_is_an_error():
    with pytest.raises(KeyError, match="wobbles"):
        clip("wobbles")
