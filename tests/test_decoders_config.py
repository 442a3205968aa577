"""Settings as plain values, and the mistakes they refuse."""

from dataclasses import replace

import pytest

from decoders.config import DecoderConfig, TrainConfig
from decoders.evl import EVLDecoder, TokenShape


def test_the_order_has_a_seed_of_its_own_where_one_is_set():
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


def test_layers_read_the_last_blocks_or_all_of_them_the_last_one():
    decoder = DecoderConfig(layers=3, heads=4)
    assert (decoder.depth, decoder.blocks_of((1, 2, 3, 4))) == (3, (2, 3, 4))
    decoder = replace(decoder, multi_layer=False)
    assert (decoder.depth, decoder.blocks_of((4,))) == (1, (4, 4, 4))


def test_runs_from_before_a_setting_are_the_same_runs_still():
    values = TrainConfig().to_json()
    assert not {"tokens", "multi_layer"} & values["decoder"].keys()
    assert not {"augment", "views"} & values.keys()
    assert TrainConfig.from_json(values) == TrainConfig()
    decoder = DecoderConfig(tokens="pooled", cross_frame=False, multi_layer=False)
    other = TrainConfig(decoder=decoder, views=2)
    assert (other.to_json()["decoder"]["tokens"], other.to_json()["views"]) == ("pooled", 2)
    assert TrainConfig.from_json(other.to_json()) == other


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
        ({"tokens": "pooled"}, "cross_frame compares the patches"),
    ],
)
def test_decoder_config_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        DecoderConfig(**wrong)
