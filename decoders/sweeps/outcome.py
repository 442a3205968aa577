"""What a sweep found, as it stands after some of its rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoders.sweeps.config import SweepConfig
from decoders.sweeps.rounds import ranked, rungs
from decoders.sweeps.standing import Standing, divergence
from decoders.sweeps.trials import Contest, Setting, contests


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """Settings, and how those that came so far stood after each round."""

    config: SweepConfig
    settings: Sequence[Setting]
    rounds: Sequence[Mapping[int, Standing]]
    """Per round that is done: number of a setting to its standing."""

    def order(self) -> list[Setting]:
        """Best first: who came further, and among them by score."""
        left, placed = {setting.number: setting for setting in self.settings}, []
        for standings in reversed(self.rounds):
            placed += [left.pop(number) for number in ranked(standings) if number in left]
        return placed + list(left.values())

    def winners(self) -> dict[Contest, Setting]:
        """The best of the last round among those whose scores can be compared; none where all diverged."""
        last = self.rounds[-1]
        found: dict[Contest, Setting] = {}
        for contest, some in contests(self.settings).items():
            arrived = {setting.number: last[setting.number] for setting in some if setting.number in last}
            best = [number for number in ranked(arrived) if not arrived[number].diverged]
            if best:
                found[contest] = next(setting for setting in some if setting.number == best[0])
        return found

    def describe(self, setting: Setting, folder: Path) -> dict[str, Any]:
        """A setting as sweep.json has it; `folder` has the run directories."""
        steps = rungs(setting.config, self.config.plan)
        reached = [
            {"step": steps[place], **described(standings[setting.number])}
            for place, standings in enumerate(self.rounds)
            if setting.number in standings
        ]
        reasons = {trial.name: divergence(folder / trial.name) for trial in setting.trials}
        return {
            "number": setting.number,
            "values": setting.values,
            "label": setting.config.label,
            "eval_split": setting.config.eval_split,
            "trials": [trial.name for trial in setting.trials],
            "rungs": reached,
            "diverged": {name: reason for name, reason in reasons.items() if reason},
        }


def described(standing: Standing) -> dict[str, Any]:
    """A standing as sweep.json has it."""
    return {
        "score": standing.score,
        "spread": standing.spread,
        "top1": list(standing.top1),
        "top5": list(standing.top5),
    }
