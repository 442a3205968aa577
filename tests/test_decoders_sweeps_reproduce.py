"""The command that trains a trial again parses to the very same config."""

import shlex
from dataclasses import replace
from typing import Literal, get_args, get_origin

import pytest

from decoders.config import TrainConfig
from decoders.recipes import RECIPES
from decoders.sweeps.config import SweepPlaces
from decoders.sweeps.fields import field_types, value_of, with_values
from decoders.sweeps.reproduce import overrides, train_command
from decoders.train import TrainCommand, parse

PLACES = SweepPlaces(bank="a bank", folder="f", eval_bank="b")
OTHERS = {
    "decoder.qkv_width": (48, 96),
    "label": ("it's so", ""),
    "eval_split": ("", "val"),
    "order_seed": (3, None),
}


def other(name, value):
    """Another value of a field."""
    hint = field_types(TrainConfig)[name]
    if get_origin(hint) is Literal:
        return next(some for some in get_args(hint) if some != value)
    if name in OTHERS:
        return next(some for some in OTHERS[name] if some != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, float):
        return value / 3 if value else 0.123456789012345
    return value * 2 or 2


def parse_back(command: str) -> TrainCommand:
    program, verb, *words = shlex.split(command)
    assert (program, verb) == ("framebank", "train")
    parsed = parse(words)
    assert isinstance(parsed, TrainCommand)
    return parsed


@pytest.mark.parametrize("recipe", ["shapes", "k400-b16-8f"])
def test_every_field_changed_comes_back(recipe):
    base = RECIPES[recipe]()
    config, unchanged = base, []
    for name in field_types(TrainConfig):
        try:
            config = with_values(config, {name: other(name, value_of(base, name))})
        except ValueError:  # it would not fit the others
            unchanged.append(name)
    assert not {"optim.lr", "decoder.layers", "decoder.cross_frame", "seed", "order_seed"} & set(unchanged)
    assert len(unchanged) < 4
    found = parse_back(train_command(recipe, config, PLACES, "a run"))
    assert found.config == config
    assert (found.bank, str(found.run), found.eval_bank) == ("a bank", "a run", "b")


def test_nothing_is_said_of_what_the_recipe_has():
    base = RECIPES["shapes"]()
    assert overrides("shapes", base) == []
    changed = replace(base, optim=replace(base.optim, lr=4e-3), decoder=base.decoder.without_temporal())
    assert overrides("shapes", changed) == [
        "--decoder.no-temporal-conv",
        "--decoder.no-temporal-position",
        "--decoder.no-cross-frame",
        "--optim.lr",
        "0.004",
    ]
