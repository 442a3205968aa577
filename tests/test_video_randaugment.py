"""RandAugment: the same for all frames of a clip, a function of its seed, invisible to the process."""

import random

import numpy as np

from video.randaugment import EVL_POLICY, rand_augment

FRAME = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
CLIP = np.stack([FRAME] * 4)


def test_all_frames_get_the_same_operations() -> None:
    changed = 0
    for seed in range(12):
        augmented = rand_augment(CLIP, EVL_POLICY, seed)
        assert augmented.shape == CLIP.shape
        assert augmented.dtype == np.uint8
        assert all(np.array_equal(augmented[0], frame) for frame in augmented)
        changed += not np.array_equal(augmented, CLIP)
    assert changed >= 8


def test_the_seed_decides() -> None:
    drawn = [rand_augment(CLIP[:1], EVL_POLICY, seed).tobytes() for seed in range(12)]
    assert [rand_augment(CLIP[:1], EVL_POLICY, seed).tobytes() for seed in range(12)] == drawn
    assert len(set(drawn)) >= 8


def test_global_generators_are_left_as_they_were() -> None:
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    rand_augment(CLIP, EVL_POLICY, 3)
    assert (random.random(), np.random.random()) == expected
