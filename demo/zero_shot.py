"""How well the tiny CLIP names what it has never seen: fresh stills against one prompt for each shape and
colour.
"""

from dataclasses import dataclass

import numpy as np
import torch
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer

from demo.painter import HUES, SHAPES
from demo.stills import draw_stills

PROMPT = "a photo of a {} {}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ZeroShot:
    """Top-1 accuracies over `stills` fresh stills, each holding one object."""

    pair: float
    """Shape and colour both right; chance is 1/36."""
    shape: float
    colour: float
    stills: int
    seed: int


@torch.no_grad()
def zero_shot(
    model: CLIP,
    tokenizer: SimpleTokenizer,
    *,
    stills: int,
    seed: int,
    mean: tuple[float, ...] = (0.5, 0.5, 0.5),
    std: tuple[float, ...] = (0.5, 0.5, 0.5),
) -> ZeroShot:
    """Scores the model in its present mode and dtype; the caller calls `eval()`."""
    names = [PROMPT.format(colour, shape) for shape in SHAPES for colour in HUES]
    classes = model.encode_text(tokenizer(names), normalize=True)
    rng = np.random.default_rng(seed)
    guesses, truths = [], []
    while len(guesses) * 64 < stills:
        batch = draw_stills(min(64, stills - len(guesses) * 64), rng, empty=0.0)
        pictures = normalise(batch.pictures, mean, std)
        guesses.append((model.encode_image(pictures, normalize=True) @ classes.T).argmax(dim=1).numpy())
        truths.append(batch.codes[:, 0] * len(HUES) + batch.codes[:, 1])
    guess, truth = np.concatenate(guesses), np.concatenate(truths)
    return ZeroShot(
        pair=float((guess == truth).mean()),
        shape=float((guess // len(HUES) == truth // len(HUES)).mean()),
        colour=float((guess % len(HUES) == truth % len(HUES)).mean()),
        stills=stills,
        seed=seed,
    )


def normalise(pictures: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """uint8 (N, S, S, 3) to float32 (N, 3, S, S), as the tower wants it."""
    planes = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 255
    return (planes - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
