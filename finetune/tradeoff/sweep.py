"""Vectors of all clips at all mixtures, each clip decoded once.

The next clips are decoded while a group of them is encoded at every mixture in turn, so changing weights (a
fraction of a second) is paid once a group and not once a clip, and what is held beside the weights are two
groups of frames, 3.6 MB a clip at 3 views of 8 frames. Each mixture has a journal of its own, named by the
digest of what decides its vectors: a command that was interrupted goes on where it was, and one that asks for
further shares, runs or sets takes what is known. A clip is known by where it lies, since lists of different
sets may call different videos alike.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from finetune.decoding import Decoders
from finetune.evaluation.video_vectors import Journal, found_of
from finetune.tradeoff.mixtures import Curve
from video import Clip, DecodedClip, DecodeError, ViewPlan

GROUP = 16
"""Clips that are encoded at one mixture before the next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One mixture of one curve, and where its vectors are kept."""

    curve: Curve
    share: float
    journal: Path
    identity: Mapping[str, Any]

    def open(self, *, vectors: bool = True) -> Journal:
        """What is known of it."""
        return Journal(self.journal, self.identity, vectors=vectors)


def points_of(curves: Sequence[Curve], shares: Sequence[float], plan: ViewPlan, out: Path) -> list[Point]:
    """Every share of every curve, curve by curve."""
    found = []
    for curve in curves:
        for share in shares:
            identity = curve.identity(share, plan)
            digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
            journal = out / "vectors" / f"{digest[:16]}.jsonl"
            found.append(Point(curve=curve, share=share, journal=journal, identity=identity))
    return found


def placed(clip: Clip) -> Clip:
    """The clip under a key that no other video has: where it lies."""
    path = clip.path if "://" in clip.path else os.path.abspath(clip.path)
    return replace(clip, key=f"{path}:{clip.offset}" if clip.size >= 0 else path)


def encode_all(
    points: Sequence[Point], clips: Sequence[Clip], plan: ViewPlan, processes: int, console: Console
) -> None:
    """Put what is missing of all clips at all points into their journals.

    Raises OSError where a journal cannot be written.
    """
    every = {point.journal: point for point in points}  # curves may meet in a point
    with ExitStack() as stack:
        journals = [
            (point, stack.enter_context(closing(point.open(vectors=False)))) for point in every.values()
        ]
        lacking = [[clip for clip in clips if clip.key not in journal.known] for _, journal in journals]
        keys = {clip.key for some in lacking for clip in some}
        left = [clip for clip in clips if clip.key in keys]
        if not left:
            return
        progress = stack.enter_context(_progress(console))
        task = progress.add_task("encoding videos", total=sum(map(len, lacking)))
        decoders = stack.enter_context(Decoders(processes))
        found = zip(left, decoders.in_order(left, plan, ahead=GROUP), strict=True)
        while group := list(islice(found, GROUP)):
            for point, journal in journals:
                for _ in encode_group(point, journal, group):
                    progress.advance(task)


def encode_group(
    point: Point, journal: Journal, group: Sequence[tuple[Clip, DecodedClip | DecodeError]]
) -> Iterator[str]:
    """Encode those of some decoded clips that a journal lacks, at its point; their keys."""
    lacking = [(clip.key, views) for clip, views in group if clip.key not in journal.known]
    if not lacking:
        return
    tower = point.curve.tower(point.share)
    for key, views in lacking:
        journal.add(key, found_of(tower, views))
        yield key


def _progress(console: Console) -> Progress:
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)
