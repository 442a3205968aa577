"""What a setting may be: values and ranges, in a grid and drawn."""

import numpy as np
import pytest

from decoders.config import TrainConfig
from decoders.sweeps.choices import Choices, Range, parse_varied


@pytest.mark.parametrize(
    ("text", "varied"),
    [
        ("optim.lr=1e-3,2e-3", Choices((1e-3, 2e-3))),
        ("decoder.cross-frame=true,false", Choices((True, False))),
        ("label=motion,appearance", Choices(("motion", "appearance"))),
        ("order_seed=none,3", Choices((None, 3))),
        ("optim.weight_decay=log:1e-4:1e-1", Range("log", 1e-4, 1e-1)),
        ("decoder.layers=integer:1:4", Range("integer", 1, 4)),
        ("decoder.dropout=linear:0:0.5:6", Range("linear", 0, 0.5, 6)),
    ],
)
def test_texts_and_back(text, varied):
    name, found = parse_varied(TrainConfig, text)
    assert found == varied
    assert parse_varied(TrainConfig, f"{name}={found.text}") == (name, varied)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optim.lr", "expected NAME=VALUE"),
        ("optim.lr=fast", r"optim\.lr: expected a number, found 'fast'"),
        ("lr=1", r"near it: optim\.lr"),
        ("decoder.layers=log:1:4", "expected a whole number, found the range log"),
        ("optim.lr=log:0:1", "above 0"),
        ("optim.lr=log:1:0.1", "from low to high"),
        ("optim.lr=log:1e-4", "log:LOW:HIGH"),
        ("decoder.layers=1,1", "different values"),
        ("precision=fp8", "one of fp32, bf16, fp16"),
        ("decoder.layers=integer:1.5:4", "whole ends"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_varied(TrainConfig, text)


def test_grids():
    assert Range("log", 1e-3, 1e-1, 3).grid() == (1e-3, 1e-2, 1e-1)
    assert Range("linear", 0, 1, 3).grid() == (0.0, 0.5, 1.0)
    assert Range("integer", 1, 4).grid() == (1, 2, 3, 4)
    assert Range("integer", 1, 9, 3).grid() == (1, 5, 9)
    with pytest.raises(ValueError, match="number of points for a grid"):
        Range("log", 1e-3, 1e-1).grid()


def test_draws_keep_to_their_range_and_scale():
    generator = np.random.default_rng(0)
    drawn = np.array([Range("log", 1e-4, 1e-1).draw(generator) for _ in range(3000)])
    assert drawn.min() >= 1e-4
    assert drawn.max() <= 1e-1
    shares = np.histogram(np.log10(drawn), bins=3, range=(-4, -1))[0] / len(drawn)
    assert np.abs(shares - 1 / 3).max() < 0.05
    layers = [Range("integer", 1, 4).draw(generator) for _ in range(200)]
    assert set(layers) == {1, 2, 3, 4}
    assert all(type(value) is int for value in layers)
