"""How far rounds go, what trains together, who goes on."""

from dataclasses import replace

import pytest

from decoders.sweeps.config import SearchPlan
from decoders.sweeps.rounds import groups, promoted, ranked, rungs
from decoders.sweeps.standing import Standing
from decoders.sweeps.trials import Trial
from tests.small_sweeps import BASE


def stood(*top1):
    return Standing(top1=top1, top5=top1)


@pytest.mark.parametrize(
    ("steps", "plan", "expected"),
    [
        (300, SearchPlan(halving=3, rungs=3), [34, 100, 300]),
        (300, SearchPlan(halving=2, rungs=4), [38, 75, 150, 300]),
        (300, SearchPlan(halving=0, rungs=4), [300]),
        (300, SearchPlan(halving=3, rungs=1), [300]),
    ],
)
def test_rungs_end_with_all_steps(steps, plan, expected):
    assert rungs(replace(BASE, steps=steps), plan) == expected


def test_best_first_ties_by_order_diverged_last():
    standings = {0: stood(0.5), 1: stood(None), 2: stood(0.7, 0.5), 3: stood(0.9, None), 4: stood(0.5, 0.5)}
    assert ranked(standings) == [2, 0, 4, 1, 3]
    assert promoted(standings, 2) == [0, 2]
    assert promoted(standings, 5) == [2]
    assert promoted({1: stood(None), 3: stood(None)}, 3) == []


def test_a_seed_that_diverged_spoils_the_mean():
    assert stood(0.2, 0.4).score == pytest.approx(0.3)
    assert stood(0.2, 0.4).spread == pytest.approx(0.1)
    assert stood(0.9, None).score is None


def test_groups_read_alike_and_are_even():
    trials = [Trial(name=str(n), config=replace(BASE, batch_size=6 if n < 9 else 4)) for n in range(12)]
    found = groups(trials, lambda trial: trial.config.batch_size, 8)
    assert [[trial.name for trial in group] for group in found] == [
        ["0", "1", "2", "3"],
        ["4", "5", "6", "7", "8"],
        ["9", "10", "11"],
    ]
    assert groups([], lambda trial: 0, 8) == []
