import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.model import CLIP

import demo
from demo.stills import draw_stills
from demo.zero_shot import normalise, zero_shot

FOLDER = Path(demo.__file__).parent / "tiny_clip"
MARGIN = 0.04
"""Over three standard errors of an accuracy of 0.9 over 600 stills."""


@pytest.fixture(scope="module")
def tiny_clip() -> CLIP:
    model = open_clip.create_model(f"local-dir:{FOLDER}")
    assert isinstance(model, CLIP)
    return model.eval()


def test_committed_weights_are_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 16 * 2**20


def test_committed_weights_reach_the_stated_accuracy_on_fresh_stills(tiny_clip: CLIP):
    stated = json.loads((FOLDER / "zero_shot.json").read_text())["zero_shot"]
    tokenizer = open_clip.get_tokenizer(f"local-dir:{FOLDER}")
    found = zero_shot(tiny_clip, tokenizer, stills=600, seed=77)
    assert found.pair >= stated["pair"] - MARGIN
    assert found.shape >= found.pair
    assert found.colour >= found.pair


def test_preprocessing_of_the_folder_is_the_one_it_was_trained_with(tiny_clip: CLIP):
    config = json.loads((FOLDER / "open_clip_config.json").read_text())["preprocess_cfg"]
    assert tuple(config["mean"]) == tuple(config["std"]) == (0.5, 0.5, 0.5)
    assert tiny_clip.visual.preprocess_cfg["mean"] == config["mean"]
    assert tiny_clip.visual.image_size == (64, 64)


@torch.no_grad()
def test_words_never_trained_on_are_harmless(tiny_clip: CLIP):
    tokenizer = open_clip.get_tokenizer(f"local-dir:{FOLDER}")

    def embed(text: str) -> torch.Tensor:
        return tiny_clip.encode_text(tokenizer([text]), normalize=True)[0]

    plain = embed("a photo of a red star")
    assert embed("a photo of a rusty red star") @ plain > embed("a photo of a red ring") @ plain
    assert embed("a photo of a rusty red star") @ plain > embed("a photo of a blue star") @ plain


@torch.no_grad()
def test_sizes_in_captions_are_understood(tiny_clip: CLIP):
    stills = draw_stills(200, np.random.default_rng(5), empty=0.0)
    extreme = stills.codes[:, 2] != 1
    tokenizer = open_clip.get_tokenizer(f"local-dir:{FOLDER}")
    texts = tokenizer(["a photo of a small red star", "a photo of a large red star"])
    images = tiny_clip.encode_image(normalise(stills.pictures[extreme], (0.5,) * 3, (0.5,) * 3))
    scores = images @ tiny_clip.encode_text(texts, normalize=True).T
    assert (scores.argmax(dim=1).numpy() * 2 == stills.codes[extreme, 2]).mean() > 0.9
