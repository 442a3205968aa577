"""Frames to taps to a committed shard, on one device, without Ray.

An encoder is built where it runs: it loads the tower, refuses weights other than the bank's, and then turns
shard tasks with decoded frames into committed shards. Tokens go from the device to the shard's files and
nowhere else. Rows are batched only within their shard and in row order, so a shard's bytes do not depend on
what ran beside it.
"""

import pickle
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from backbones.taps import FrozenTower
from backbones.weights import BackboneConfig, load_clip
from pipeline.decode_worker import DecodeOutcome
from pipeline.keep import Kept, KeptRow, keep
from pipeline.outcomes import Line, failed_attempts, failures, fresh_lines, unstorable
from pipeline.task import ShardTask
from storage import (
    WRITTEN,
    ArrayLayout,
    Bank,
    BankSpec,
    ShardWriter,
    SpecMismatch,
    Unstorable,
    is_scale,
    part_layouts,
    row_statistics,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderConfig:
    """What a worker needs to build its encoder."""

    bank: str
    """Folder or URL of the bank."""
    part: int = 0
    """Part of the bank whose arrays are written."""
    run: str
    """Id of the run that holds the bank's lease."""
    backbone: BackboneConfig
    """The tower."""
    device: str = "cpu"
    """torch device of the tower."""
    threads: int = 0
    """CPU threads of torch; 0 leaves torch's own choice."""
    batch_rows: int = 8
    """Rows that go through the tower at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardReport:
    """What encoding one shard came to."""

    shard: int
    """Its number."""
    outcomes: dict[str, int]
    """Rows by outcome."""
    clips: int
    """Clips that were tried in this run."""
    bytes: int
    """Size of the shard's files."""
    encode_seconds: float
    """Time in the tower and the maps."""
    write_seconds: float
    """Time in writing and committing."""


class ShardEncoder:
    """Encodes and writes whole shards.

    Raises:
        SpecMismatch: the weights are not those that the bank was made with.
    """

    def __init__(self, config: EncoderConfig) -> None:
        if config.threads:
            torch.set_num_threads(config.threads)
        self.config = config
        self.bank = Bank(config.bank)
        self.spec = self.bank.spec
        self.layouts = list(part_layouts(self.spec, config.part))
        blocks = self.spec.kept[config.part].token_blocks
        self.tower = build_tower(config.backbone, self.spec, blocks, config.device)
        self.encode_seconds = 0.0

    def __call__(self, task: ShardTask, outcomes: Sequence[DecodeOutcome]) -> ShardReport:
        """Encode a task's decoded clips, write and commit the shard.

        Args:
            task: the shard; `outcomes` has one entry per line of it.
        """
        started, self.encode_seconds = time.perf_counter(), 0.0
        config = self.config
        with ShardWriter(config.bank, task.shard, run=config.run, part=config.part) as writer:
            lines = [write_row(writer, line, row) for line, row in self._rows(task, outcomes)]
            tried = {line["row"] for line in task.lines}
            attempts = failed_attempts(task, lines, tried)
            failed = failures(task, outcomes, lines)
            record = writer.commit(lines, {"attempts": attempts, "failures": failed})
        return ShardReport(
            shard=task.shard,
            outcomes=record.outcomes,
            clips=len(task.lines),
            bytes=record.bytes,
            encode_seconds=self.encode_seconds,
            write_seconds=time.perf_counter() - started - self.encode_seconds,
        )

    def _rows(
        self, task: ShardTask, outcomes: Sequence[DecodeOutcome]
    ) -> Iterator[tuple[Line, KeptRow | None]]:
        """Every row slot of the shard in ascending order, with its values where it has any."""
        fresh = fresh_lines(task, outcomes, self.spec.views)
        kept = {line["row"]: line for line in task.kept}
        encoded = self._encode([frames for _, frames in fresh if frames is not None])
        by_row = {line["row"]: (line, frames) for line, frames in fresh}
        for row in sorted(by_row.keys() | kept.keys()):
            if row in kept:
                line = kept[row]
                yield line, self._stored(row) if line["outcome"] == WRITTEN else None
            else:
                line, frames = by_row[row]
                yield line, None if frames is None else next(encoded)

    def _stored(self, row: int) -> KeptRow:
        """A committed row, byte for byte."""
        values = {layout.name: self.bank.read(layout.name, [row])[0] for layout in self.layouts}
        names = [name for name in values if not is_scale(name)]
        return KeptRow(
            values=values,
            statistics={name: row_statistics(self.bank.values(name, [row]))[0] for name in names},
        )

    def _encode(self, rows: Sequence[np.ndarray]) -> Iterator[KeptRow]:
        """What is kept of rows of frames (T, h, w, 3), batch by batch."""
        for start in range(0, len(rows), self.config.batch_rows):
            began = time.perf_counter()
            batch = encode_rows(
                self.tower, np.stack(rows[start : start + self.config.batch_rows]), self.layouts
            )
            self.encode_seconds += time.perf_counter() - began
            yield from (batch.row(place) for place in range(len(batch)))


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerError:
    """What went wrong in a worker, as data: of an exception Ray Data passes on only a text of its own."""

    message: str
    """The error's type and text."""
    trace: str
    """Its traceback."""


class EncodeWorker:
    """The encode stage: one encoder, built in its worker's own process when the first shard arrives."""

    def __init__(self, config: EncoderConfig) -> None:
        self.config = config
        self.encoder: ShardEncoder | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Encode, write and commit one shard.

        Args:
            row: `work`, as the decode stage leaves it.

        Returns:
            `report`: a pickled ShardReport, or a WorkerError.
        """
        try:
            self.encoder = self.encoder or ShardEncoder(self.config)
            task, outcomes = pickle.loads(row["work"])
            report = self.encoder(task, outcomes)
        except Exception as error:
            report = WorkerError(message=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        return {"report": pickle.dumps(report)}


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
    return FrozenTower(clip.model.visual, blocks=blocks, mean=clip.mean, std=clip.std).to(device)


@torch.inference_mode()
def encode_rows(tower: FrozenTower, frames: np.ndarray, layouts: Sequence[ArrayLayout]) -> Kept:
    """Everything the bank keeps of some rows.

    Args:
        tower: taps of the blocks that the arrays need.
        frames: uint8 (N, T, h, w, 3).
        layouts: the arrays.
    """
    count, length = frames.shape[:2]
    images = tower.normalise(torch.from_numpy(frames.reshape(count * length, *frames.shape[2:])))
    return keep(tower(images), count, layouts)


def write_row(writer: ShardWriter, line: Line, row: KeptRow | None) -> Line:
    """Write a row's values; its line, turned to failed where the values cannot be stored."""
    if row is None:
        return line
    try:
        writer.append(line["row"], row.values, row.statistics)
    except Unstorable as error:
        return unstorable(line, error)
    return line
