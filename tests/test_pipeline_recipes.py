"""Extraction recipes: EVL's published settings, script by script."""

import pytest

from backbones.config import BackboneConfig
from backbones.weights import load_clip
from decoders.recipes import RECIPES
from pipeline.recipes import SCRIPTS, recipes
from tests.small_clips import write_config

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.parametrize(
    ("name", "model", "frames", "stride", "temporal", "spatial"),
    [
        ("k400-b16-8f", "ViT-B-16", 8, 16, 3, 1),
        ("k400-b16-16f", "ViT-B-16", 16, 16, 1, 3),
        ("k400-b16-32f", "ViT-B-16", 32, 8, 1, 3),
        ("k400-l14-8f", "ViT-L-14", 8, 16, 3, 1),
        ("k400-l14-16f", "ViT-L-14", 16, 16, 1, 3),
        ("k400-l14-32f", "ViT-L-14", 32, 8, 1, 3),
    ],
)
def test_the_six_scripts(name, model, frames, stride, temporal, spatial):
    train, test = recipes()[name][1], recipes()[f"{name}-test"][1]
    for config, kind, padding in ((train, "evl-train", "last-sampled"), (test, "evl-eval", "last-frame")):
        sampling = config.views.sampling
        assert (sampling.kind, sampling.frames, sampling.stride) == (kind, frames, stride)
        assert sampling.fill == padding
        assert (config.backbone.name, config.backbone.weights) == (model, "openai")
        assert (config.last_blocks, config.attention) == (4, "maps")
    assert (test.views.temporal_views, test.views.spatial_views) == (temporal, spatial)


def test_something_something():
    train, test = recipes()["ssv2-b16-8f"][1], recipes()["ssv2-b16-8f-test"][1]
    assert train.last_blocks == test.last_blocks == RECIPES["ssv2-b16-8f"]().decoder.layers == 12
    assert {config.views.sampling.kind for config in (train, test)} == {"tsn"}
    assert (test.views.temporal_views, test.views.spatial_views) == (1, 3)


@pytest.mark.parametrize("name", SCRIPTS)
def test_pixels_are_those_of_the_published_code(name):
    train, test = recipes()[name][1].views, recipes()[f"{name}-test"][1].views
    assert (train.kind, test.kind) == ("train", "eval")
    assert train.hw == test.hw == (224, 224)
    assert train.resize == test.resize == "bilinear"
    assert train.randaugment == "rand-m7-n4-mstd0.5-inc1"
    assert (train.crop_scale, train.crop_ratio) == ((0.08, 1.0), (3 / 4, 4 / 3))
    assert not train.flip


def test_every_recipe_of_the_paper_has_its_training():
    assert set(SCRIPTS) == set(RECIPES) - {"shapes"}


def test_frames_are_normalised_as_clip_was_trained(tmp_path):
    clip = load_clip(BackboneConfig(name=str(write_config(tmp_path / "small.json")), weights="random:0"))
    assert (tuple(clip.mean), tuple(clip.std)) == (MEAN, STD)
