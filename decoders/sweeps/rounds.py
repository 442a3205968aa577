"""Rounds of a sweep: how far each goes, what trains together, who goes on.

Successive halving (Jamieson and Talwalkar, 2016): all settings train to the first rung, the best 1 in `eta`
go on to the next, and so on. A run pauses at a rung and goes on from its checkpoint; its learning rate is
that of the full run all along, so a survivor is what it would be without a sweep. n settings with 3 rungs
and eta = 3 cost about n/9 + (n/3)(2/9) + (n/9)(2/3) = 0.26 n full trainings.

ASHA (Li et al., 2020) does the same without waiting: a trial goes on as soon as it is among the best of those
that have arrived. That keeps machines busier, but who goes on then depends on who arrives first: a sweep that
was interrupted, or ran on other machines, could end with another winner. Here every round waits for its last
trial, so the winner is a function of the description and the bank. What is lost is small, as heads on one
read arrive together.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise

from decoders.config import TrainConfig
from decoders.sweeps.config import SearchPlan
from decoders.sweeps.standing import Standing
from decoders.sweeps.trials import Trial


def rungs(config: TrainConfig, plan: SearchPlan) -> list[int]:
    """Steps after which the trials of a round are compared; the last is the end."""
    if not plan.halving:
        return [config.steps]
    return [math.ceil(config.steps / plan.halving**left) for left in reversed(range(plan.rungs))]


def groups(trials: Sequence[Trial], reads: Callable[[Trial], Hashable], heads: int) -> list[list[Trial]]:
    """Trials that read alike, at most `heads` together, as evenly as it goes. No group's composition matters
    to what its members become.
    """
    alike: dict[Hashable, list[Trial]] = {}
    for trial in trials:
        alike.setdefault(reads(trial), []).append(trial)
    return [group for some in alike.values() for group in _even(some, math.ceil(len(some) / heads))]


def ranked(standings: Mapping[int, Standing]) -> list[int]:
    """Numbers of the settings, best first: by mean score, ties by order, diverged ones last."""
    return sorted(standings, key=lambda number: (-standings[number].rank, number))


def promoted(standings: Mapping[int, Standing], eta: int) -> list[int]:
    """Numbers of the settings that go on: the best 1 in `eta`, at least one, none that has diverged."""
    best = ranked(standings)[: max(1, len(standings) // eta)]
    return sorted(number for number in best if not standings[number].diverged)


def _even(trials: Sequence[Trial], count: int) -> list[list[Trial]]:
    """`count` runs of neighbours whose sizes differ by one at most."""
    edges = [round(place * len(trials) / count) for place in range(count + 1)]
    return [list(trials[low:high]) for low, high in pairwise(edges)]
