"""Small real banks for tests: random rows, written through the same writers as an extraction."""

from pathlib import Path
from typing import Any

import numpy as np

from storage import BackboneSpec, BankSpec, BankWriter, ShardWriter, array_layouts

BACKBONE = BackboneSpec(
    name="test",
    weights="0" * 64,
    precision="fp32",
    quick_gelu=True,
    width=16,
    heads=2,
    depth=4,
    grid=(2, 3),
    embed=8,
)


def small_spec(**changes: Any) -> BankSpec:
    """T = 3, two blocks, a 2 x 3 grid."""
    values: dict[str, Any] = {
        "backbone": BACKBONE,
        "blocks": (2, 3),
        "frames": 3,
        "views": 1,
        "video": {"seed": 0},
    }
    return BankSpec(**(values | changes))


def clip_line(number: int, *, split: str = "train", classes: int = 2) -> dict[str, Any]:
    """A line of the listing."""
    return {
        "key": f"clips/{number:04d}.mp4",
        "label": number % classes,
        "class_name": f"class {number % classes}",
        "split": split,
        "captions": [f"caption {number}"],
        "attributes": {"parity": "odd" if number % 2 else "even"},
        "path": f"/nowhere/{number:04d}.mp4",
        "offset": 0,
        "size": -1,
    }


def row_values(spec: BankSpec, row: int) -> dict[str, np.ndarray]:
    """The values of a row, decided by its number alone."""
    rng = np.random.default_rng(row)
    return {
        layout.name: rng.standard_normal(layout.row_shape).astype(layout.dtype)
        for layout in array_layouts(spec)
    }


def write_shard(
    path: Path, spec: BankSpec, shard: int, *, writer: BankWriter, failed: tuple[int, ...] = ()
) -> None:
    """Write and commit every enrolled row of a shard; the rows in `failed` are recorded as failed."""
    lines = [line for line in writer.listing.to_pylist() if line["row"] // writer.shard_rows == shard]
    with ShardWriter(path, shard, run=writer.run) as file:
        table = []
        for line in lines:
            for view in range(spec.views):
                row = line["row"] + view
                bad = line["row"] in failed
                if not bad:
                    file.append(row, row_values(spec, row))
                facts = {
                    name: line[name]
                    for name in ("key", "label", "class_name", "split", "captions", "attributes")
                }
                table.append(
                    facts
                    | {"row": row, "view": view, "outcome": "failed" if bad else "written"}
                    | {"reason": "truncated" if bad else "", "content": f"{row:064d}"}
                )
        file.commit(table, {"seconds": 0.1})


def write_bank(
    path: Path, clips: int, spec: BankSpec | None = None, *, failed: tuple[int, ...] = ()
) -> BankSpec:
    """A whole small bank of `clips` clips; its spec."""
    spec = spec or small_spec()
    with BankWriter(path, spec) as writer:
        writer.enrol([clip_line(number) for number in range(clips)])
        for shard in range(-(-writer.rows // writer.shard_rows)):
            write_shard(path, spec, shard, writer=writer, failed=failed)
    return spec
