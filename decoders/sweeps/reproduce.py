"""The command that trains a trial again, alone: a recipe and what differs from it.

It is written from the differences between the recipe's config and the trial's, so it holds nothing that goes
without saying, and parses to the very same config.
"""

import shlex
from typing import Any

from decoders.config import TrainConfig
from decoders.recipes import RECIPES
from decoders.sweeps.config import SweepPlaces
from decoders.sweeps.fields import field_types, value_of


def train_command(recipe: str, config: TrainConfig, places: SweepPlaces, run: str) -> str:
    """`framebank train ...` for a config that began as a recipe."""
    where = ["--bank", places.bank, "--run", run]
    if places.eval_bank:
        where += ["--eval-bank", places.eval_bank]
    return shlex.join(["framebank", "train", recipe, *where, *overrides(recipe, config)])


def overrides(recipe: str, config: TrainConfig) -> list[str]:
    """Arguments that turn the recipe's config into this one."""
    base = RECIPES[recipe]()
    words: list[str] = []
    for name in field_types(TrainConfig):
        value = value_of(config, name)
        if value != value_of(base, name):
            words += _option(name, value)
    return words


def _option(name: str, value: Any) -> list[str]:
    """How the command line sets a field."""
    *parts, last = name.replace("_", "-").split(".")
    if isinstance(value, bool):
        return ["--" + ".".join([*parts, last if value else f"no-{last}"])]
    return ["--" + ".".join([*parts, last]), str(value)]
