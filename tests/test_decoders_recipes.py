"""Recipes: what they say of themselves, and the paper's figures in them."""

import json

import pytest

from decoders.config import TrainConfig
from decoders.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_json_and_say_what_to_expect(name):
    config = RECIPES[name]()
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    document = RECIPES[name].__doc__
    assert f"framebank train {name} " in document
    assert all(word in document for word in ("Command:", "Hardware:", "Expected:"))


@pytest.mark.parametrize(
    ("name", "layers", "width", "heads", "split", "steps"),
    [
        ("k400-b16-8f", 4, 768, 12, 1, 50_000),
        ("k400-b16-16f", 4, 768, 12, 1, 50_000),
        ("k400-b16-32f", 4, 768, 12, 1, 50_000),
        ("k400-l14-8f", 4, 1024, 16, 1, 50_000),
        ("k400-l14-16f", 4, 1024, 16, 2, 50_000),
        ("k400-l14-32f", 4, 1024, 16, 4, 50_000),
        ("ssv2-b16-8f", 12, 768, 12, 1, 30_000),
    ],
)
def test_recipes_of_the_paper(name, layers, width, heads, split, steps):
    config = RECIPES[name]()
    decoder = config.decoder
    assert (decoder.layers, decoder.qkv_width, decoder.heads) == (layers, width, heads)
    assert (config.batch_size, config.batch_split, config.steps) == (256, split, steps)
    assert (config.optim.lr, config.optim.weight_decay, config.optim.decay_vectors) == (4e-4, 0.05, True)
    assert (decoder.dropout, decoder.head_dropout, decoder.cls_init) == (0.5, 0.5, "zeros")
    assert (config.optim.warmup_steps, config.label_smoothing, config.precision) == (0, 0.0, "fp16")
