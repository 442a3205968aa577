"""The winner, tested on clips that had no part in choosing it, and the commands that train it again."""

from pathlib import Path
from statistics import mean, pstdev
from typing import Any

from decoders.evaluate import evaluate
from decoders.sweeps.config import SweepConfig, SweepPlaces
from decoders.sweeps.jobs import trials_folder
from decoders.sweeps.reproduce import train_command
from decoders.sweeps.standing import Standing
from decoders.sweeps.trials import Setting


def described_winner(
    setting: Setting, standing: Standing, config: SweepConfig, places: SweepPlaces
) -> dict[str, Any]:
    """What sweep.json says of a winner: its validation score, its test, a command per seed."""
    return {
        "number": setting.number,
        "label": setting.config.label,
        "eval_split": setting.config.eval_split,
        "values": setting.values,
        "score": standing.score,
        "spread": standing.spread,
        "config": setting.config.to_json(),
        "runs": [str(trials_folder(places) / trial.name) for trial in setting.trials],
        "test": _tested(setting, config.plan.test_split, places),
        "commands": [
            train_command(config.recipe, trial.config, places, f"{Path(places.folder)}-{trial.name}")
            for trial in setting.trials
        ],
    }


def _tested(setting: Setting, split: str, places: SweepPlaces) -> dict[str, Any] | None:
    """Test scores of every seed and their mean; None where nothing is to be tested."""
    if not split:
        return None
    bank = places.test_bank or places.eval_bank or places.bank
    runs = [trials_folder(places) / trial.name for trial in setting.trials]
    reports = [evaluate(run, bank=bank, split=split, device=places.device) for run in runs]
    top1 = [report["top1"] for report in reports]
    return {
        "split": split,
        "clips": reports[0]["clips"],
        "chance": reports[0]["chance"],
        "score": mean(top1),
        "spread": pstdev(top1),
        "top1": top1,
        "top5": [report["top5"] for report in reports],
    }
