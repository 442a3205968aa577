"""Crops equal open_clip's image preprocessing (bicubic) and EVL's tensor operations (bilinear)."""

import numpy as np
import pytest
import torch
from open_clip.transform import image_transform
from PIL import Image

from video.transforms import Box, crop_to, eval_crops, flipped, random_box, resized

SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def pictures(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]


@pytest.mark.parametrize("source", [(64, 96), (97, 61), (64, 64), (333, 500), (17, 400), (225, 224)])
@pytest.mark.parametrize("size", [(64, 64), (224, 224), (32, 48), (48, 32), (37, 91)])
def test_the_default_equals_open_clip(source: tuple[int, int], size: tuple[int, int]) -> None:
    frames = pictures(2, *source)
    theirs = image_transform(size, is_train=False, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    expected = np.stack(
        [(theirs(Image.fromarray(f)) * 255).round().byte().permute(1, 2, 0).numpy() for f in frames]
    )
    assert np.array_equal(eval_crops(frames, size)[0], expected)


@pytest.mark.parametrize("source", [(64, 96), (97, 61), (240, 320)])
def test_bilinear_equals_evl(source: tuple[int, int]) -> None:
    size, frames = 56, pictures(2, *source)
    height, width = source
    scaled = (size, size * width // height) if height < width else (size * height // width, size)
    tensor = torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 255
    tensor = torch.nn.functional.interpolate(tensor, size=scaled, mode="bilinear", align_corners=False)
    top, left = (scaled[0] - size) // 2, (scaled[1] - size) // 2
    expected = tensor[:, :, top : top + size, left : left + size].permute(1, 2, 3, 0).numpy() * 255
    ours = eval_crops(frames, (size, size), resize="bilinear")[0]
    assert np.abs(ours - expected).max() <= 0.501


@pytest.mark.parametrize("resize", ["bicubic", "bilinear"])
@pytest.mark.parametrize("source", [(40, 100), (100, 40)])
def test_three_crops_are_both_ends_and_the_centre(source: tuple[int, int], resize: str) -> None:
    frames = pictures(2, *source)
    crops = eval_crops(frames, (40, 40), resize=resize, crops=3)
    assert crops.shape == (3, 2, 40, 40, 3)
    along = frames if source[0] == 40 else frames.swapaxes(1, 2)
    seen = crops if source[0] == 40 else crops.swapaxes(2, 3)
    for crop, start in zip(seen, (0, 30, 60), strict=True):
        assert np.array_equal(crop, along[:, :, start : start + 40])
    assert np.array_equal(crops[1], eval_crops(frames, (40, 40), resize=resize)[0])


def test_random_boxes_lie_inside_and_cover_what_was_asked() -> None:
    rng = np.random.default_rng(0)
    boxes = [random_box(120, 160, rng, scale=SCALE, ratio=RATIO) for _ in range(2000)]
    assert all(0 <= b.top <= 120 - b.height and 0 <= b.left <= 160 - b.width for b in boxes)
    shares = np.array([b.height * b.width / (120 * 160) for b in boxes])
    aspects = np.array([b.width / b.height for b in boxes])
    assert 0.07 < shares.min() < 0.12
    assert shares.max() > 0.9
    assert 0.7 < aspects.min() < 0.8
    assert 1.25 < aspects.max() < 1.4


def test_a_frame_that_no_box_fits_is_cropped_in_its_centre() -> None:
    box = random_box(10, 1000, np.random.default_rng(0), scale=(0.9, 1.0), ratio=RATIO)
    assert box == Box(top=0, left=(1000 - 13) // 2, height=10, width=13)


def test_crops_and_flips() -> None:
    frames = pictures(3, 64, 96)
    box = Box(top=5, left=7, height=20, width=30)
    cut = crop_to(frames, box, (20, 30))
    assert np.array_equal(cut, frames[:, 5:25, 7:37])
    assert crop_to(frames, box, (16, 48), resize="bilinear").shape == (3, 16, 48, 3)
    assert np.array_equal(flipped(flipped(frames)), frames)
    assert np.array_equal(flipped(frames)[:, :, 0], frames[:, :, -1])


def test_inputs_are_not_changed() -> None:
    frames = pictures(2, 64, 96)
    before = frames.copy()
    for resize in ("bicubic", "bilinear"):
        resized(frames, (32, 32), resize=resize)
        eval_crops(frames, (32, 32), resize=resize, crops=3)
    assert np.array_equal(frames, before)
