"""The settings of a sweep, and the trainings that each one needs.

A setting is one choice of everything that varies. With several seeds it is trained as often, each a trial
with a run directory of its own, named after the setting's number and the seed (`007-s1`). All trials get the
same `order_seed`, so seeds see the clips in the same order and share one read of the bank; what seeds still
differ in is initial weights and dropout.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from decoders.config import TrainConfig
from decoders.sweeps.config import SweepConfig
from decoders.sweeps.fields import with_values

Contest = tuple[str, str]
"""Label set and validation split: only scores on the same ones can be compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One training."""

    name: str
    """Name of its run directory."""
    config: TrainConfig
    """All of its settings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One choice of what varies."""

    number: int
    """Place in the sweep's list, from 0."""
    values: dict[str, Any]
    """Dotted name to value."""
    trials: tuple[Trial, ...]
    """One per seed."""

    @property
    def config(self) -> TrainConfig:
        """With its first seed."""
        return self.trials[0].config

    @property
    def contest(self) -> Contest:
        """Which others it is compared with."""
        return self.config.label, self.config.eval_split

    @property
    def text(self) -> str:
        """What it varies, in a line."""
        return " ".join(f"{name}={shown(value)}" for name, value in self.values.items()) or "the base"


def settings(config: SweepConfig) -> list[Setting]:
    """All settings of a sweep, in order. Raises ValueError where one makes no training."""
    chosen = list(_grid(config) if config.plan.search == "grid" else _drawn(config))
    return [_setting(config, number, values) for number, values in enumerate(chosen)]


def contests(found: Sequence[Setting]) -> dict[Contest, list[Setting]]:
    """Settings that are compared with each other."""
    groups: dict[Contest, list[Setting]] = {}
    for setting in found:
        groups.setdefault(setting.contest, []).append(setting)
    return groups


def shown(value: Any) -> str:
    """A value for people."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _grid(config: SweepConfig) -> Iterator[dict[str, Any]]:
    names = list(config.vary)
    for values in itertools.product(*(config.vary[name].grid() for name in names)):
        yield dict(zip(names, values, strict=True))


def _drawn(config: SweepConfig) -> Iterator[dict[str, Any]]:
    """Different draws; fewer than asked for where there are no more."""
    plan, seen = config.plan, set()
    generator = np.random.default_rng(plan.search_seed)
    for _ in range(100 * plan.trials):
        values = {name: varied.draw(generator) for name, varied in config.vary.items()}
        if tuple(values.values()) not in seen:
            seen.add(tuple(values.values()))
            yield values
        if len(seen) == plan.trials:
            return


def _setting(config: SweepConfig, number: int, values: dict[str, Any]) -> Setting:
    """Raises ValueError, with its values, where it makes no training or none that can be compared."""
    try:
        trained = with_values(config.base, values)
        _check(trained, config)
    except ValueError as error:
        text = ", ".join(f"{name}={shown(value)}" for name, value in values.items()) or "the base"
        raise ValueError(f"setting {number} of the sweep ({text}) cannot be trained: {error}") from error
    shared = replace(trained, order_seed=config.base.order if trained.order_seed is None else trained.order)
    trials = [
        Trial(name=f"{number:03}-s{seed}", config=replace(shared, seed=seed))
        for seed in range(trained.seed, trained.seed + config.plan.seeds)
    ]
    return Setting(number=number, values=values, trials=tuple(trials))


def _check(config: TrainConfig, sweep: SweepConfig) -> None:
    """Raise ValueError where a training cannot be scored at every rung."""
    if not config.eval_split:
        raise ValueError("a sweep picks by validation scores: name the clips with eval_split")
    needed = sweep.plan.halving ** (sweep.plan.rungs - 1) if sweep.plan.halving else 1
    if config.steps < needed:
        raise ValueError(
            f"expected at least {needed} steps for {sweep.plan.rungs} rungs of 1 in {sweep.plan.halving}, "
            f"found {config.steps}; take fewer rungs"
        )
