"""The settings of a sweep: all of a grid, or some drawn, each with its seeds."""

from dataclasses import replace

import pytest

from decoders.sweeps.choices import Choices, Range
from decoders.sweeps.config import SearchPlan
from decoders.sweeps.trials import contests, settings
from tests.small_sweeps import BASE, sweep_config

PLAIN = SearchPlan()


def test_a_grid_is_every_combination_in_order():
    vary = {"optim.lr": Choices((1e-3, 2e-3)), "decoder.layers": Choices((1, 2))}
    found = settings(sweep_config(vary, PLAIN))
    assert [tuple(setting.values.values()) for setting in found] == [
        (1e-3, 1),
        (1e-3, 2),
        (2e-3, 1),
        (2e-3, 2),
    ]
    assert found[3].config == replace(
        BASE,
        optim=replace(BASE.optim, lr=2e-3),
        decoder=replace(BASE.decoder, layers=2),
        order_seed=0,
    )
    assert [trial.name for trial in found[3].trials] == ["003-s0"]


def test_seeds_share_an_order_and_differ_in_nothing_else():
    [setting] = settings(sweep_config({}, SearchPlan(seeds=3), seed=5))
    assert [trial.name for trial in setting.trials] == ["000-s5", "000-s6", "000-s7"]
    assert {trial.config.order for trial in setting.trials} == {5}
    assert {replace(trial.config, seed=0) for trial in setting.trials} == {
        replace(BASE, seed=0, order_seed=5)
    }


def test_draws_depend_on_the_search_seed_alone_and_differ():
    vary = {"optim.lr": Range("log", 1e-4, 1e-1), "decoder.dropout": Range("linear", 0, 0.5)}
    plan = SearchPlan(search="random", trials=20)
    first = [setting.values for setting in settings(sweep_config(vary, plan))]
    assert first == [setting.values for setting in settings(sweep_config(vary, plan, steps=99))]
    assert first != [s.values for s in settings(sweep_config(vary, replace(plan, search_seed=1)))]
    assert len({tuple(values.values()) for values in first}) == 20
    few = settings(sweep_config({"decoder.layers": Choices((1, 2))}, plan))
    assert sorted(setting.values["decoder.layers"] for setting in few) == [1, 2]


def test_values_that_only_fit_together():
    vary = {"decoder.heads": Choices((3,)), "decoder.qkv_width": Choices((9,))}
    [setting] = settings(sweep_config(vary, PLAIN))
    assert (setting.config.decoder.heads, setting.config.decoder.qkv_width) == (3, 9)


@pytest.mark.parametrize(
    ("vary", "base", "message"),
    [
        ({"decoder.heads": Choices((2, 3))}, {}, r"setting 1 of the sweep \(decoder.heads=3\).*divide"),
        ({"optim.lr": Choices((-1.0,))}, {}, "lr must be above 0"),
        ({}, {"eval_split": ""}, "picks by validation scores"),
        ({"steps": Choices((8,))}, {}, "expected at least 9 steps for 3 rungs"),
    ],
)
def test_settings_that_cannot_be_trained(vary, base, message):
    with pytest.raises(ValueError, match=message):
        settings(sweep_config(vary, SearchPlan(halving=3, rungs=3), **base))


def test_only_scores_on_the_same_labels_are_compared():
    vary = {"label": Choices(("label", "parity")), "optim.lr": Choices((1e-3, 2e-3))}
    found = contests(settings(sweep_config(vary, PLAIN)))
    assert {key: [s.number for s in some] for key, some in found.items()} == {
        ("label", "test"): [0, 1],
        ("parity", "test"): [2, 3],
    }
