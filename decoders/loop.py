"""The training loop: one or several heads learn from the same batches, each read once.

Every head learns from a piece of a batch before the next piece is taken, so there is never more than one in
use beside those that are read ahead. All heads see the clips in the same order, but need not have the same
steps to do. So the loop goes by spans, steps that the same heads take. A span begins where the head that is
furthest behind stands, and ends where a head joins (one that was further when the run was stopped), is done
or diverges. Each span reads only what its heads use.

A head gets the losses that it would get alone, bit for bit: see `decoders/head.py`. Where several processes
train together, each runs this loop on its part of every batch.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing

from decoders.clips import ClipOrder, stacked
from decoders.config import TrainConfig
from decoders.dataset import Batch, training_batches
from decoders.evaluate import score
from decoders.head import Head
from decoders.shared_reader import SharedReader
from training.interrupt import StopRequest, TrainingStopped
from training.team import ALONE, Team


class Loop:
    """Steps of some heads, and what is due after some of them. The heads agree on the order of clips, the
    clips themselves, the size of batches and their pieces.
    """

    def __init__(self, heads: Sequence[Head], team: Team = ALONE) -> None:
        self._heads = heads
        self._team = team

    def run(self, stop: StopRequest) -> None:
        """All steps that are left until the heads' goals. Raises TrainingStopped, after saving every head,
        when `stop` says so.
        """
        for head in self._heads:
            if not head.config.steps:
                head.save()
        while unfinished := self._unfinished():
            first = min(head.done for head in unfinished)
            heads = [head for head in unfinished if head.done == first]
            others = [head.done for head in unfinished if head.done > first]
            last = min([head.goal for head in heads] + others)
            self._take(heads, range(first, last), stop)

    def _unfinished(self) -> list[Head]:
        return [head for head in self._heads if head.unfinished]

    def _take(self, heads: Sequence[Head], steps: range, stop: StopRequest) -> None:
        """A span of steps, or its beginning where a head diverges."""
        config, team = heads[0].config, self._team
        ours = rows_each(config, team.size)
        shared = SharedReader([head.data.reader for head in heads])
        clips = stacked([head.data.clips for head in heads])
        order = ClipOrder(clips, config.order, rank=team.rank, world=team.size)
        batches = training_batches(shared.union, order, steps, ours, config.batch_split)
        with closing(batches):
            for _ in steps:
                for piece in range(config.batch_split):
                    _learn(heads, piece, shared, next(batches))
                stopping = team.any(stop.requested)
                _settle(heads, team, stopping=stopping)
                if stopping and (unfinished := self._unfinished()):
                    raise TrainingStopped(_how_to_go_on(unfinished, team))
                if any(head.diverged for head in heads):
                    return


def rows_each(config: TrainConfig, processes: int) -> int:
    """Rows of a batch that each process learns from. Raises ValueError where it does not divide into them."""
    pieces = processes * config.batch_split
    needed = pieces * (2 if config.augment.mixup else 1)  # mixup pairs neighbours
    if config.batch_size % needed:
        split = f" in {config.batch_split} pieces each (batch_split)" if config.batch_split > 1 else ""
        mixed = ", an even number of clips each (mixup)" if config.augment.mixup else ""
        raise ValueError(
            f"expected a batch_size that {processes} workers can share{split}{mixed}, a multiple of "
            f"{needed}, found {config.batch_size}; take other workers: batch_size decides the losses"
        )
    return config.batch_size // processes


def _learn(heads: Sequence[Head], piece: int, shared: SharedReader, batch: Batch) -> None:
    """A function of its own so that nothing holds the batch when the next is taken."""
    for head, part in zip(heads, shared.parts(batch), strict=True):
        head.learn(piece, part)


def _settle(heads: Sequence[Head], team: Team, *, stopping: bool) -> None:
    """What is due after a step: log, evaluate, save."""
    for head in heads:
        head.flush(stopping=stopping)
    sound = [head for head in heads if not head.diverged]
    for group in _by_held_out_clips([head for head in sound if head.exam_due]):
        for head, scores in zip(group, score([head.exam() for head in group], team), strict=True):
            head.write_scores(scores)
    for head in sound:
        if stopping or head.due(head.config.save_every):
            head.save()


def _by_held_out_clips(heads: Sequence[Head]) -> Iterator[list[Head]]:
    """Heads that are evaluated on the same rows, together."""
    groups: defaultdict[bytes, list[Head]] = defaultdict(list)
    for head in heads:
        groups[head.exam().clips.rows.tobytes()].append(head)
    yield from groups.values()


def _how_to_go_on(heads: Sequence[Head], team: Team) -> str:
    done = min(head.done for head in heads)
    workers = f" --workers {team.size}" if team.size > 1 else ""
    commands = [f"framebank train resume --run {head.folder}{workers}" for head in heads]
    if len(heads) == 1:
        return f"stopped after step {done} of {heads[0].config.steps}; go on with: {commands[0]}"
    return (
        f"stopped {len(heads)} heads after step {done}; go on with the same call of train_heads, or, each "
        "by itself, with:\n  " + "\n  ".join(commands)
    )
