"""Where trials stand, as their run directories say.

Nothing else is asked: a sweep that goes on, here or on another machine, sees what the first one saw. A trial
stands at a rung by the validation score of that very step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, pstdev

from decoders.sweeps.trials import Setting
from training.checkpoint import list_checkpoints
from training.metrics import METRICS, read_metrics
from training.run import DIVERGED, RunDirectory, RunError


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How a setting stands at a rung."""

    top1: tuple[float | None, ...]
    """Validation top-1 of each seed; None where it diverged."""
    top5: tuple[float | None, ...]
    """The same for top-5."""

    @property
    def diverged(self) -> bool:
        """Whether any of its seeds did: such a setting is not to be relied on."""
        return None in self.top1

    @property
    def score(self) -> float | None:
        """Mean top-1 over the seeds; None where one diverged."""
        known = [value for value in self.top1 if value is not None]
        return None if self.diverged else mean(known)

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds."""
        return pstdev(value for value in self.top1 if value is not None) if self.score is not None else 0.0

    @property
    def rank(self) -> float:
        """The score, as a figure to sort by."""
        return -1.0 if self.score is None else self.score


def has_arrived(run: Path, rung: int) -> bool:
    """Whether a run has done `rung` steps, evaluated and saved there, or has diverged before."""
    return (run / DIVERGED).exists() or (saved_steps(run) >= rung and rung in _scores(run))


def saved_steps(run: Path) -> int:
    """Steps of a run's newest checkpoint; 0 where there is none."""
    return max(list_checkpoints(run), default=0) if run.is_dir() else 0


def standing(setting: Setting, folder: Path, rung: int) -> Standing:
    """How a setting stands after `rung` steps. Raises RunError where a trial was not evaluated there."""
    found = [_at(folder / trial.name, rung) for trial in setting.trials]
    return Standing(top1=tuple(top1 for top1, _ in found), top5=tuple(top5 for _, top5 in found))


def curve(run: Path) -> list[tuple[int, float]]:
    """(steps, validation top-1) of a run, as far as it came."""
    return [(step, top1) for step, (top1, _) in sorted(_scores(run).items())]


def divergence(run: Path) -> str:
    """Why a run diverged; empty where it did not."""
    mark = RunDirectory.read(run).divergence if (run / DIVERGED).exists() else None
    return mark["reason"] if mark else ""


def newest_first(folder: Path, names: Sequence[str]) -> list[tuple[str, int, float]]:
    """(name, steps, top-1) of the newest evaluation of each run that has one, best first."""
    curves = {name: curve(folder / name) for name in names}
    last = [(name, *points[-1]) for name, points in curves.items() if points]
    return sorted(last, key=lambda line: -line[2])


def _at(run: Path, rung: int) -> tuple[float | None, float | None]:
    scores = _scores(run)
    if rung in scores:
        return scores[rung]
    if divergence(run):
        return None, None
    raise RunError(
        f"expected a validation score after step {rung} in {run / METRICS}, found none; was the run "
        "trained on by another command? Remove its folder, and the sweep trains it again"
    )


def _scores(run: Path) -> dict[int, tuple[float, float]]:
    lines = read_metrics(run / METRICS)
    return {line["step"]: (line["eval_top1"], line["eval_top5"]) for line in lines if "eval_top1" in line}
