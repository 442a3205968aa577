"""Marks of decoded views, on frames whose oddities are known."""

import numpy as np
import pytest

from tests.drawn_videos import numbered_frames, write_video
from video import Sampling, ViewPlan, decode_bytes
from video.quality import backward_times, is_black, is_constant, missing_frames, qualities, repeated_frames

FRAMES = numbered_frames(6)


@pytest.mark.parametrize(
    ("shown", "indices", "repeats"),
    [
        ([0, 1, 2, 3], [0, 8, 16, 24], 0),
        ([0, 1, 1, 3], [0, 8, 16, 24], 1),
        ([2, 2, 2, 2], [0, 8, 16, 24], 3),
        ([0, 1, 1, 1], [0, 8, 8, 8], 0),  # padding asks for one frame again and again
        ([0, 1, 0, 1], [0, 8, 16, 24], 2),
        ([5], [0], 0),
    ],
)
def test_repeats_are_equal_pictures_under_other_indices(shown, indices, repeats):
    assert repeated_frames(FRAMES[shown], np.array(indices)) == repeats


def test_a_picture_that_differs_in_one_value_is_no_repeat():
    frames = FRAMES[[0, 0]].copy()
    frames[1, -1, -1, -1] ^= 1
    assert repeated_frames(frames, np.array([0, 1])) == 0


@pytest.mark.parametrize(("bright", "black"), [(0, True), (2, True), (3, False), (100, False)])
def test_black_is_dark_nearly_everywhere(bright, black):
    frame = np.full((100, 100, 3), 25, np.uint8)
    frame[:bright] = 255  # of a hundred lines
    assert is_black(frame) == black


def test_a_dark_frame_is_not_black():
    assert not is_black(np.full((8, 8, 3), 26, np.uint8))


def test_constant_is_one_colour_up_to_rounding():
    frame = np.full((50, 60, 3), (200, 30, 90), np.uint8)
    assert is_constant(frame)
    frame[49, 59, 1] += 2
    assert is_constant(frame)
    frame[49, 58, 1] += 3
    assert not is_constant(frame)  # seen although it lies between the points of the grid
    assert is_constant(np.zeros((1, 1, 3), np.uint8))
    assert not is_constant(FRAMES[0])


def test_what_packets_tell():
    assert [missing_frames(announced, 9) for announced in (0, 12, 9, 7)] == [None, 3, 0, 0]
    assert backward_times([0, 1, None, 2, 2, 1, 5, 0]) == 2
    assert backward_times([]) == backward_times([None]) == backward_times([-3, 4]) == 0


def test_each_view_has_marks_of_its_own():
    frames = np.stack([FRAMES[[0, 1]], np.zeros_like(FRAMES[:2])])
    sound, black = qualities(frames, np.array([[0, 1], [2, 3]]), None, 4)
    assert (sound.repeated_frames, sound.black_frames, sound.constant_frames) == (0, 0, 0)
    assert (black.repeated_frames, black.black_frames, black.constant_frames) == (1, 2, 2)
    assert (sound.missing_frames, black.backward_times) == (None, 4)


def test_an_edit_list_hides_frames_but_none_is_missing(tmp_path):
    plan = ViewPlan(sampling=Sampling(kind="tsn", frames=2), size=32)
    for shift in (-7, -8, -9):
        path = write_video(
            tmp_path / "a.mp4", numbered_frames(24), options={"g": "8", "bf": "0"}, shift=shift
        )
        decoded = decode_bytes(path.read_bytes(), "a.mp4", plan)
        assert (decoded.num_frames, decoded.quality[0].missing_frames) == (24 + shift, 0)
