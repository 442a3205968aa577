"""What became of each row: the clip table's lines, and the counts at the end of a run."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.decode_worker import DecodeOutcome
from pipeline.task import ShardTask
from storage import FAILED, QUARANTINED, WRITTEN, Bank
from video import DecodedClip

Line = dict[str, Any]
"""A line of the clip table."""


def fresh_lines(
    task: ShardTask, outcomes: Sequence[DecodeOutcome], views: int
) -> list[tuple[Line, np.ndarray | None]]:
    """Clip table lines of the tried clips, one per view, with that view's frames where they were decoded."""
    fresh: list[tuple[Line, np.ndarray | None]] = []
    for line, outcome in zip(task.lines, outcomes, strict=True):
        labelling = {
            name: line[name] for name in ("key", "label", "class_name", "split", "captions", "attributes")
        }
        common = labelling | {"outcome": outcome.outcome, "reason": outcome.reason}
        for view in range(views):
            facts = {} if outcome.clip is None else decoded_facts(outcome.clip, view)
            frames = None if outcome.clip is None else outcome.clip.frames[view]
            fresh.append((common | facts | {"row": line["row"] + view, "view": view}, frames))
    return fresh


def decoded_facts(clip: DecodedClip, view: int) -> Line:
    """What the clip table keeps of one decoded view."""
    return {
        "content": clip.content,
        "decoder": clip.decoder,
        "indices": clip.indices[view].tolist(),
        "num_frames": clip.num_frames,
        "fps": clip.fps,
        "width": clip.width,
        "height": clip.height,
        "rotation": clip.rotation,
    }


def failed_attempts(task: ShardTask, lines: Sequence[Line], tried: set[int]) -> dict[str, int]:
    """Vain attempts by row for the commit record: earlier ones plus this one."""
    earlier = dict(task.attempts)
    failed = sorted({line["row"] - line["view"] for line in lines if line["outcome"] == FAILED})
    return {str(row): earlier.get(row, 0) + (row in tried) for row in failed}


def outcome_counts(bank: Bank, *, attempts: int) -> dict[str, int]:
    """Clips (not rows) by outcome: one bad view spoils a clip, failed and out of attempts is quarantined."""
    table = bank.table.select(["row", "view", "outcome"]).to_pydict()
    spent = {row for record in bank.records.values() for row, n in record.attempts.items() if n >= attempts}
    clips: dict[int, str] = {}
    for row, view, outcome in zip(table["row"], table["view"], table["outcome"], strict=True):
        clip = row - view
        found = QUARANTINED if outcome == FAILED and clip in spent else outcome
        if clips.get(clip, WRITTEN) == WRITTEN:
            clips[clip] = found
    return dict(Counter(clips.values()))
