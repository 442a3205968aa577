"""What became of each row: its facts, and the counts at the end of a run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.decode_worker import DecodeOutcome
from pipeline.task import ShardTask
from storage import FAILED, QUARANTINED, WRITTEN, Bank
from video import DecodedClip, Fault, Stage

Line = dict[str, Any]
"""The facts of a row."""


def fresh_lines(
    task: ShardTask, outcomes: Sequence[DecodeOutcome], views: int
) -> list[tuple[Line, np.ndarray | None]]:
    """Facts of the tried clips, a line per view, with that view's frames where they were decoded."""
    fresh: list[tuple[Line, np.ndarray | None]] = []
    contents = dict(task.contents)
    for line, outcome in zip(task.lines, outcomes, strict=True):
        checked = refuse_other_content(outcome, contents.get(line["row"], ""))
        common = {name: getattr(checked, name) for name in ("outcome", "reason", "error", "stage")}
        for view in range(views):
            facts = {} if checked.clip is None else decoded_facts(checked.clip, view)
            frames = None if checked.clip is None else checked.clip.frames[view]
            fresh.append((common | facts | {"row": line["row"] + view, "view": view}, frames))
    return fresh


def refuse_other_content(outcome: DecodeOutcome, expected: str) -> DecodeOutcome:
    """The outcome, turned to failed where the clip is no longer the one that the bank holds rows of."""
    if outcome.clip is None or expected in ("", outcome.clip.content):
        return outcome
    return DecodeOutcome(
        outcome=FAILED,
        reason=f"its content has digest {outcome.clip.content[:12]}, the bank holds {expected[:12]}; restore "
        "the file, or extract the clip anew with --redo",
        error=Fault.OTHER_CONTENT,
        stage=Stage.READ,
        decoder=outcome.clip.decoder,
        seconds=outcome.seconds,
    )


def unstorable(line: Line, cause: Exception) -> Line:
    """The facts of a row, turned to failed since its values cannot be stored."""
    failed = {"outcome": FAILED, "reason": f"encoding: {cause}"}
    return line | failed | {"error": Fault.UNSTORABLE, "stage": Stage.ENCODE}


def decoded_facts(clip: DecodedClip, view: int) -> Line:
    """What the facts say of one decoded view."""
    return {
        "content": clip.content,
        "decoder": clip.decoder,
        "indices": clip.indices[view].tolist(),
        "num_frames": clip.num_frames,
        "fps": clip.fps,
        "width": clip.width,
        "height": clip.height,
        "rotation": clip.rotation,
        **asdict(clip.quality[view]),
    }


def failed_attempts(task: ShardTask, lines: Sequence[Line], tried: set[int]) -> dict[str, int]:
    """Vain attempts by row for the commit record: earlier ones plus this one."""
    earlier = dict(task.attempts)
    failed = sorted({line["row"] - line["view"] for line in lines if line["outcome"] == FAILED})
    return {str(row): earlier.get(row, 0) + (row in tried) for row in failed}


def failures(
    task: ShardTask, outcomes: Sequence[DecodeOutcome], lines: Sequence[Line]
) -> list[dict[str, Any]]:
    """Every vain attempt at the clips of a shard that are failed now, for the commit record: what is known of
    it and may differ from run to run.

    Args:
        outcomes: one for each line of the task.
        lines: facts of all rows of the shard, after encoding.
    """
    decoded = {line["row"]: outcome for line, outcome in zip(task.lines, outcomes, strict=True)}
    attempts = failed_attempts(task, lines, set(decoded))
    first: dict[int, Line] = {}
    for line in lines:
        if line["outcome"] == FAILED:
            first.setdefault(line["row"] - line["view"], line)
    earlier = [entry for entry in task.failures if entry["row"] in first]
    return earlier + [
        {
            "row": row,
            "attempt": attempts[str(row)],
            "error": line["error"],
            "stage": line["stage"],
            "message": "; ".join((line["reason"], *decoded[row].notes)),
            "decoder": decoded[row].decoder or line.get("decoder", ""),
            "seconds": round(decoded[row].seconds, 3),
        }
        for row, line in first.items()
        if row in decoded
    ]


def outcome_counts(bank: Bank, *, attempts: int) -> dict[str, int]:
    """Clips (not rows) by outcome: one bad view spoils a clip, failed and out of attempts is quarantined."""
    table = bank.table.select(["key", "row", "view", "outcome"]).to_pydict()
    records = [record for (part, _), record in bank.records.items() if part == 0]
    spent = {row for record in records for row, n in record.attempts.items() if n >= attempts}
    clips: dict[str, str] = {}
    for key, row, view, outcome in zip(*table.values(), strict=True):
        found = QUARANTINED if outcome == FAILED and row - view in spent else outcome
        if clips.get(key, WRITTEN) == WRITTEN:
            clips[key] = found
    return dict(Counter(clips.values()))
