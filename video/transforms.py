"""From frames of any size to the encoder's size, in uint8.

Two resize modes. "bicubic" is what open_clip's preprocessing does to a still image: Pillow's antialiased
bicubic on the short side, then a centre crop; the frozen tower was trained on such images, so it is the
default. "bilinear" is EVL's: torch's bilinear *without* antialias and sizes rounded down, which aliases on
large videos but is what that method's published numbers were made with.

Normalisation is not done here: frames stay uint8 (a quarter of the bytes of fp32) until they are on the
encoder's device. EVL interpolates floats and never rounds; here a bilinear value is rounded to the nearest of
256, an error of at most 0.002 of the pixel range.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

Resize = Literal["bicubic", "bilinear"]
Size = tuple[int, int]
ATTEMPTS = 10  # at a random box that lies inside the frame


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A rectangle of a frame, in pixels."""

    top: int
    """First row."""
    left: int
    """First column."""
    height: int
    """Number of rows."""
    width: int
    """Number of columns."""


def eval_crops(
    frames: UInt8[np.ndarray, "T H W 3"], size: Size, *, resize: Resize = "bicubic", crops: int = 1
) -> UInt8[np.ndarray, "S T h w 3"]:
    """Short side to `size`, then the centre crop, or three crops along the side that has more to spare.

    Three crops are the two ends and the centre, in the order top/left, centre, bottom/right.
    """
    scaled = resized(frames, covering_size(frames.shape[1:3], size, resize), resize=resize)
    spare_h, spare_w = scaled.shape[1] - size[0], scaled.shape[2] - size[1]
    tops, lefts = [_middle(spare_h, resize)] * crops, [_middle(spare_w, resize)] * crops
    if crops == 3 and spare_h > spare_w:
        tops[0], tops[2] = 0, spare_h
    elif crops == 3:
        lefts[0], lefts[2] = 0, spare_w
    return np.stack([scaled[:, t : t + size[0], x : x + size[1]] for t, x in zip(tops, lefts, strict=True)])


def covering_size(source: tuple[int, ...], size: Size, resize: Resize) -> Size:
    """Size (h, w) of the smallest frame of the source's shape that covers `size`.

    A square target cuts the long side's fraction off, as torchvision and EVL do; for others open_clip rounds
    it.
    """
    height, width = source
    if size[0] == size[1] and height <= width:
        return size[0], int(size[0] * width / height)
    if size[0] == size[1]:
        return int(size[0] * height / width), size[0]
    ratio = min(height / size[0], width / size[1])
    whole = round if resize == "bicubic" else int
    return max(size[0], whole(height / ratio)), max(size[1], whole(width / ratio))


def random_box(
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> Box:
    """A box with a random share of the frame's area and a random aspect ratio (width / height, uniform in its
    logarithm).

    The rule of Inception's and torchvision's random resized crop: ten attempts at a box that fits, else the
    largest central one whose aspect ratio is in range.
    """
    for _ in range(ATTEMPTS):
        area = height * width * rng.uniform(*scale)
        aspect = float(np.exp(rng.uniform(*np.log(ratio))))
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            return Box(top=top, left=left, height=h, width=w)
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    return Box(top=(height - h) // 2, left=(width - w) // 2, height=h, width=w)


def window_box(
    height: int, width: int, rng: np.random.Generator, *, size: Size, short_side: tuple[int, int]
) -> Box:
    """The part of a frame that a window of `size` (h, w) covers, placed at random, after the short side was
    scaled to a random number of pixels from `short_side` (both ends included).

    The rule of PySlowFast's training crops; a window larger than the scaled frame covers all of it.
    """
    scale = min(height, width) / rng.integers(short_side[0], short_side[1], endpoint=True)
    h, w = min(height, round(size[0] * scale)), min(width, round(size[1] * scale))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    return Box(top=top, left=left, height=h, width=w)


def crop_to(
    frames: UInt8[np.ndarray, "T H W 3"], box: Box, size: Size, *, resize: Resize = "bicubic"
) -> UInt8[np.ndarray, "T h w 3"]:
    """The box of every frame, resized to `size`."""
    cut = frames[:, box.top : box.top + box.height, box.left : box.left + box.width]
    return resized(cut, size, resize=resize)


def flipped(frames: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T H W 3"]:
    """Left and right exchanged."""
    return frames[:, :, ::-1]


def resized(
    frames: UInt8[np.ndarray, "T H W 3"], size: Size, *, resize: Resize = "bicubic"
) -> UInt8[np.ndarray, "T h w 3"]:
    """Every frame resized to `size` (h, w), whatever its aspect ratio."""
    if frames.shape[1:3] == size:
        return frames
    if resize == "bilinear":
        return _bilinear(frames, size)
    shape = size[1], size[0]
    return np.stack([np.asarray(Image.fromarray(f).resize(shape, Image.Resampling.BICUBIC)) for f in frames])


def _bilinear(frames: np.ndarray, size: Size) -> np.ndarray:
    import torch  # 2.5 s and 200 MB to import: only where EVL's resize is asked for

    channels_first = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    scaled = torch.nn.functional.interpolate(channels_first, size=size, mode="bilinear", align_corners=False)
    return scaled.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def _middle(spare: int, resize: Resize) -> int:
    return round(spare / 2) if resize == "bicubic" else spare // 2
