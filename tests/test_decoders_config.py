"""Recipes and the mistakes a config refuses."""

import json
from dataclasses import replace

import pytest

from decoders.config import RECIPES, DecoderConfig, TrainConfig
from decoders.evl import EVLDecoder, TokenShape


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


def test_a_seed_of_the_order_is_kept_where_it_is_set():
    config = TrainConfig(seed=3)
    assert config.order == 3
    assert "order_seed" not in config.to_json()
    shared = replace(config, order_seed=0)
    assert shared.order == 0
    assert TrainConfig.from_json(shared.to_json()) == shared


def test_without_temporal_leaves_only_the_blind_decoder():
    shape = TokenShape(width=24, frames=2, grid=(2, 2))
    names = EVLDecoder(DecoderConfig(heads=2).without_temporal(), shape, 3).state_dict()
    assert not [name for name in names if "temporal" in name or "cross" in name]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": -1}, "steps"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 10, "batch_split": 3}, "batch_split must divide"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
    ],
)
def test_train_config_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": 0}, "layers"),
        ({"heads": 5, "qkv_width": 16}, "heads must divide"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_decoder_config_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        DecoderConfig(**wrong)
