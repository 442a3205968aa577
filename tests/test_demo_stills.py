import numpy as np

from demo.painter import HUES, SHAPES
from demo.stills import ATTRIBUTES, NOTHING, UNSAID, draw_stills, fits, phrase


def codes(**values: int) -> np.ndarray:
    return np.array([values.get(name, UNSAID) for name in ATTRIBUTES])


def test_same_seed_same_stills():
    one, two = (draw_stills(8, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.pictures, two.pictures)
    assert one.captions == two.captions


def test_every_caption_is_true_of_its_own_still():
    stills = draw_stills(300, np.random.default_rng(0))
    assert fits(stills.said, stills.codes).diagonal().all()


def test_captions_say_what_their_codes_say():
    stills = draw_stills(300, np.random.default_rng(1))
    for caption, said in zip(stills.captions, stills.said, strict=True):
        words = caption.split()
        assert [shape in words for shape in SHAPES] == [said[0] == number for number in range(len(SHAPES))]
        assert [colour in words for colour in HUES] == [said[1] == number for number in range(len(HUES))]
        assert ("small" in words, "large" in words, "glowing" in words) == (
            said[2] == 0,
            said[2] == 2,
            said[6] == 1,
        )


def test_phrase_in_full():
    said = codes(shape=3, colour=0, size=0, column=0, row=1, dot=0)
    assert phrase(said) == "a small red star on the left with its dot at the top"
    assert phrase(codes()) == "an object"


def test_partial_captions_fit_more_than_one_still():
    seen = np.array([[3, 0, 1, 0, 1, 2, 0], [3, 4, 1, 2, 1, 2, 0], [0, 0, 1, 0, 0, 0, 1]])
    said = np.stack([codes(shape=3), codes(colour=0), codes(shape=3, colour=4), codes(glow=1)])
    expected = [[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]]
    np.testing.assert_array_equal(fits(said, seen), np.array(expected, bool))


def test_empty_scenes_fit_only_captions_of_nothing():
    stills = draw_stills(20, np.random.default_rng(2), empty=1.0)
    assert (stills.codes[:, 0] == NOTHING).all()
    assert fits(stills.said, stills.codes).all()
    assert not fits(np.stack([codes(shape=3), codes(colour=0)]), stills.codes).any()


def test_all_pairs_of_shape_and_colour_are_drawn():
    stills = draw_stills(1000, np.random.default_rng(0), empty=0.0)
    assert len(np.unique(stills.codes[:, :2], axis=0)) == len(SHAPES) * len(HUES)


def test_easy_stills_are_large_and_plainly_described():
    stills = draw_stills(100, np.random.default_rng(0), empty=0.0, hardness=0.0)
    assert (stills.said[:, 2:] == UNSAID).all()
    assert (stills.codes[:, 2] > 0).all()
