"""A small bank that can be learnt from, and a config that trains on it in a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from decoders.config import DecoderConfig, TrainConfig
from storage import BankSpec, BankWriter, ShardWriter
from tests.small_banks import clip_line, row_values, small_spec
from training.optim import OptimConfig

DECODER = DecoderConfig(layers=2, qkv_width=8, heads=2, mlp_ratio=2.0, dropout=0.2, head_dropout=0.2)
CONFIG = TrainConfig(
    decoder=DECODER,
    optim=OptimConfig(lr=3e-3),
    eval_split="test",
    steps=8,
    batch_size=6,
    log_every=3,
    eval_every=4,
    save_every=4,
)


def lines_of(train: int, test: int) -> list[dict[str, Any]]:
    """Listing: label = number % 2, attribute `parity` the same in words."""
    return [clip_line(i, split="train" if i < train else "test") for i in range(train + test)]


def write_learnable_bank(
    path: Path,
    *,
    train: int = 20,
    test: int = 8,
    spec: BankSpec | None = None,
    skip: tuple[int, ...] = (),
    attributes: Callable[[int], dict[str, str]] = lambda _: {},
) -> Path:
    """Random tokens, those of odd clips brighter in channel 0; the clips in `skip` are recorded as failed.
    `attributes` gives a clip further ones, by its number.
    """
    spec = spec or small_spec()
    lines = lines_of(train, test)
    for number, line in enumerate(lines):
        line["attributes"] |= attributes(number)
    with BankWriter(path, spec) as writer:
        writer.enrol(lines)
        per_shard = writer.shard_rows // spec.views
        listing = writer.listing.to_pylist()
        for shard in range(-(-len(listing) // per_shard)):
            with ShardWriter(path, shard, run=writer.run) as file:
                table = []
                for line in listing[shard * per_shard : (shard + 1) * per_shard]:
                    table += write_clip(file, spec, line, bad=line["row"] // spec.views in skip)
                file.commit(table, {})
    return path


def write_clip(file: ShardWriter, spec: BankSpec, line: dict[str, Any], *, bad: bool) -> list[dict[str, Any]]:
    """All views of a clip; their facts."""
    table = []
    for view in range(spec.views):
        row = line["row"] + view
        if not bad:
            values = row_values(spec, row)
            for name in values:
                if name.endswith("/out"):
                    values[name][..., 0] += np.float16(2 * (line["label"] % 2))
            file.append(row, values)
        outcome = {"outcome": "failed" if bad else "written", "reason": "truncated" if bad else ""}
        table.append(outcome | {"row": row, "view": view, "content": f"{row:064d}"})
    return table
