"""Frames to taps to a committed shard, on one device, without Ray.

An encoder is built where it runs: it loads the tower, refuses weights other than the bank's, and then turns
shard tasks with decoded frames into committed shards. Tokens go from the device to the shard's files and
nowhere else. Rows are batched only within their shard and in row order, so a shard's bytes do not depend on
what ran beside it.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from backbones.config import BackboneConfig, TemporalView
from backbones.taps import FrozenTower
from backbones.weights import load_clip
from pipeline.decode_worker import DecodeOutcome
from pipeline.keep import Kept, KeptRow, keep
from pipeline.outcomes import Line, failed_attempts, failures, fresh_lines, unstorable
from pipeline.task import EncoderConfig, ShardReport, ShardTask
from storage import (
    WRITTEN,
    ArrayLayout,
    Bank,
    BankSpec,
    ShardWriter,
    SpecMismatch,
    TemporalSpec,
    Unstorable,
    is_scale,
    part_layouts,
    row_statistics,
)


class ShardEncoder:
    """Encodes and writes whole shards. Safe to call from several threads: one at a time is in the tower,
    others may write meanwhile.

    Raises:
        SpecMismatch: the weights are not those that the bank was made with.
    """

    def __init__(self, config: EncoderConfig) -> None:
        if config.threads:
            torch.set_num_threads(config.threads)
        self.config = config
        self.bank = Bank(config.bank)
        self.spec = self.bank.spec
        blocks = self.spec.kept[config.part].token_blocks
        self.tower = build_tower(config.backbone, self.spec, blocks, config.device)
        self._in_tower = threading.Lock()

    def __call__(self, task: ShardTask, outcomes: Sequence[DecodeOutcome]) -> ShardReport:
        """Encode a task's decoded clips, write and commit the shard.

        Args:
            task: the shard; `outcomes` has one entry per line of it.
        """
        started, config, tower = time.perf_counter(), self.config, TowerTime()
        target = {"run": config.run, "part": config.part, "frames": task.frames}
        with ShardWriter(config.bank, task.shard, **target) as writer:
            lines = [write_row(writer, line, row) for line, row in self._rows(task, outcomes, tower)]
            tried = {line["row"] for line in task.lines}
            attempts = failed_attempts(task, lines, tried)
            failed = failures(task, outcomes, lines)
            record = writer.commit(lines, {"attempts": attempts, "failures": failed})
        return ShardReport(
            shard=task.shard,
            outcomes=record.outcomes,
            clips=len(task.lines),
            bytes=record.bytes,
            frames=tower.rows * task.frames,
            encode_seconds=tower.seconds,
            write_seconds=time.perf_counter() - started - tower.seconds - tower.waited,
        )

    def _rows(
        self, task: ShardTask, outcomes: Sequence[DecodeOutcome], tower: "TowerTime"
    ) -> Iterator[tuple[Line, KeptRow | None]]:
        """Every row slot of the shard in ascending order, with its values where it has any."""
        fresh = fresh_lines(task, outcomes, self.spec.views)
        kept = {line["row"]: line for line in task.kept}
        layouts = part_layouts(self.spec, self.config.part, task.frames)
        encoded = self._encode([frames for _, frames in fresh if frames is not None], layouts, tower)
        by_row = {line["row"]: (line, frames) for line, frames in fresh}
        for row in sorted(by_row.keys() | kept.keys()):
            if row in kept:
                line = kept[row]
                yield line, self._stored(row, layouts) if line["outcome"] == WRITTEN else None
            else:
                line, frames = by_row[row]
                yield line, None if frames is None else next(encoded)

    def _stored(self, row: int, layouts: Sequence[ArrayLayout]) -> KeptRow:
        """A committed row, byte for byte."""
        values = {layout.name: self.bank.read(layout.name, [row])[0] for layout in layouts}
        names = [name for name in values if not is_scale(name)]
        return KeptRow(
            values=values,
            statistics={name: row_statistics(self.bank.values(name, [row]))[0] for name in names},
        )

    def _encode(
        self, rows: Sequence[np.ndarray], layouts: Sequence[ArrayLayout], tower: "TowerTime"
    ) -> Iterator[KeptRow]:
        """What is kept of rows of frames (T, h, w, 3), batch by batch; a batch of rows of another T than the
        spec's has about as many frames as one of the spec's.
        """
        count = max(1, self.config.batch_rows * self.spec.frames // layouts[0].frames)
        for start in range(0, len(rows), count):
            frames = np.stack(rows[start : start + count])
            came = time.perf_counter()
            with self._in_tower:
                began = time.perf_counter()
                batch = encode_rows(self.tower, frames, layouts)
                tower.seconds += time.perf_counter() - began
            tower.waited += began - came
            tower.rows += len(frames)
            yield from (batch.row(place) for place in range(len(batch)))


@dataclass(slots=True)
class TowerTime:
    """What one shard had of the tower."""

    seconds: float = 0.0
    """Time in it."""
    waited: float = 0.0
    """Time in which another shard had it."""
    rows: int = 0
    """Rows encoded."""


def build_tower(config: BackboneConfig, spec: BankSpec, blocks: Sequence[int], device: str) -> FrozenTower:
    """The bank's tower on a device, with taps after `blocks`.

    Raises:
        SpecMismatch: the weights at hand are not the bank's.
    """
    clip = load_clip(config)
    if clip.digest != spec.backbone.weights:
        raise SpecMismatch(
            f"this worker's weights of {clip.name} have digest {clip.digest[:12]}, the bank was made with "
            f"{spec.backbone.weights[:12]}; give every machine the same weights file"
        )
    if temporal_spec(clip.view) != spec.backbone.temporal:
        raise SpecMismatch(
            f"this worker's temporal view of {clip.name} is {clip.view}, the bank was made with "
            f"{spec.backbone.temporal}; give every machine the file of settings beside the weights"
        )
    return clip.tower(blocks).to(device)


def temporal_spec(view: TemporalView | None) -> TemporalSpec | None:
    """A tower's temporal view as a bank's spec has it."""
    return None if view is None else TemporalSpec(window=view.window, boundary=view.boundary)


@torch.inference_mode()
def encode_rows(tower: FrozenTower, frames: np.ndarray, layouts: Sequence[ArrayLayout]) -> Kept:
    """Everything the bank keeps of some rows.

    Args:
        tower: taps of the blocks that the arrays need.
        frames: uint8 (N, T, h, w, 3).
        layouts: the arrays of rows with this T.
    """
    count, length = frames.shape[:2]
    images = tower.normalise(torch.from_numpy(frames.reshape(count * length, *frames.shape[2:])))
    return keep(tower(images, frames=length), count, layouts)


def write_row(writer: ShardWriter, line: Line, row: KeptRow | None) -> Line:
    """Write a row's values; its line, turned to failed where the values cannot be stored."""
    if row is None:
        return line
    try:
        writer.append(line["row"], row.values, row.statistics)
    except Unstorable as error:
        return unstorable(line, error)
    return line
