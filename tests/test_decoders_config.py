"""Settings as plain values, and the mistakes they refuse."""

from dataclasses import replace

import pytest

from decoders.config import DecoderConfig, TrainConfig
from decoders.evl import EVLDecoder, TokenShape


def test_the_order_has_a_seed_of_its_own_where_one_is_set():
    config = TrainConfig(seed=3)
    assert config.order == 3
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
        ({"views": -1}, "views"),
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
