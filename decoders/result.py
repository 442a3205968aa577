"""What a call of training did for a run."""

from dataclasses import dataclass
from pathlib import Path

from decoders.head import Head
from training.metrics import METRICS, read_metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What a call did for a run."""

    run: Path
    """Run directory; its metrics.jsonl has every loss."""
    steps: int
    """Steps done in all."""
    resumed_at: int
    """Steps done before this call."""
    seconds: float
    """Wall time of this call, all heads together."""
    scores: dict[str, float]
    """The newest evaluation: eval_top1 and eval_top5; empty without an eval_split."""
    diverged: str = ""
    """Why it ended early, where the loss became infinite or NaN."""


def result_of(head: Head, seconds: float) -> TrainResult:
    """What a call of so many seconds did for the run of a head."""
    return TrainResult(
        run=head.folder,
        steps=head.done,
        resumed_at=head.begun,
        seconds=seconds,
        scores=_newest_scores(head.folder / METRICS),
        diverged=str(head.diverged or ""),
    )


def _newest_scores(path: Path) -> dict[str, float]:
    lines = [line for line in read_metrics(path) if "eval_top1" in line]
    return {name: lines[-1][name] for name in ("eval_top1", "eval_top5")} if lines else {}
