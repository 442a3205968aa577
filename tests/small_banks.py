"""Small real banks for tests: random rows, written through the same writers as an extraction."""

from pathlib import Path
from typing import Any

import numpy as np

from storage import (
    MAPS,
    ArrayLayout,
    BackboneSpec,
    BankSpec,
    BankWriter,
    Kept,
    ShardWriter,
    array_layouts,
    dequantize_map,
    part_layouts,
    row_statistics,
)
from storage.layout import weight_shapes

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


def small_spec(
    *, blocks: tuple[int, ...] = (2, 3), attention: Any = "maps", dtype: Any = "float16", **changes: Any
) -> BankSpec:
    """T = 3, two blocks, a 2 x 3 grid."""
    kept = Kept(blocks=blocks, attention=attention, dtype=dtype)
    values: dict[str, Any] = {
        "backbone": BACKBONE,
        "frames": 3,
        "views": 1,
        "video": {"seed": 0},
        "kept": (kept,),
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


def row_values(spec: BankSpec, row: int, frames: int = 0) -> dict[str, np.ndarray]:
    """The values of a row of `frames` frames (0: the spec's), decided by its number alone; arrays of later
    parts are drawn last.
    """
    rng, length = np.random.default_rng(row), frames or spec.frames
    layouts = [layout for layout in array_layouts(spec, [length]) if layout.frames == length]
    values = {layout.name: drawn(rng, layout) for layout in layouts}
    for name in [name for name in values if name.endswith(MAPS)]:
        values |= as_map(name, values[name])
    return values


def as_map(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """An attention map of random values: its rows sum to one."""
    if values.dtype == np.uint8:
        total = dequantize_map(values, np.ones(values.shape[:-1], np.float32)).sum(-1)
        return {name: values, f"{name}_scale": 1 / total}
    shares = abs(values.astype(np.float32)) + 1e-3
    return {name: (shares / shares.sum(-1, keepdims=True)).astype(np.float16)}


def drawn(rng: np.random.Generator, layout: ArrayLayout) -> np.ndarray:
    """Random values that an array may hold."""
    if np.dtype(layout.dtype).kind in "iu":
        return rng.integers(0, 127, layout.row_shape).astype(layout.dtype)
    values = rng.standard_normal(layout.row_shape).astype(layout.dtype)
    return abs(values) if layout.name.endswith("_scale") else values


def write_shard(
    path: Path | str, shard: int, *, writer: BankWriter, failed: tuple[int, ...] = (), part: int = 0
) -> None:
    """Write and commit every enrolled row of a shard; the clips in `failed` are recorded as failed."""
    lengths = dict(zip(*(writer.listing[name].to_pylist() for name in ("row", "frames")), strict=True))
    rows = [row for row in sorted(lengths) if row // writer.shard_rows == shard]
    spec, frames = writer.spec, lengths[rows[0]]
    names = [layout.name for layout in part_layouts(spec, part, frames)]
    with ShardWriter(path, shard, run=writer.run, part=part, frames=frames) as file:
        facts = []
        for clip in rows:
            for view in range(spec.views):
                row, bad = clip + view, clip in failed
                if not bad:
                    drawn_values = row_values(spec, row, frames)
                    values = {name: found for name, found in drawn_values.items() if name in names}
                    floats = {n: v.astype(np.float32)[None] for n, v in values.items() if v.dtype.kind == "f"}
                    file.append(row, values, {n: row_statistics(v)[0] for n, v in floats.items()})
                facts.append(
                    {"row": row, "view": view, "outcome": "failed" if bad else "written"}
                    | {"reason": "truncated" if bad else "", "content": f"{row:064d}"}
                )
        file.commit(facts, {"seconds": 0.1})


def write_bank(
    path: Path | str,
    clips: int,
    spec: BankSpec | None = None,
    *,
    failed: tuple[int, ...] = (),
    shard_rows: int = 0,
) -> BankSpec:
    """A whole small bank of `clips` clips; its spec."""
    spec = spec or small_spec()
    with BankWriter(path, spec, shard_rows=shard_rows, weights=frozen_weights(spec)) as writer:
        writer.enrol([clip_line(number) for number in range(clips)])
        for shard in range(-(-writer.rows // writer.shard_rows)):
            write_shard(path, shard, writer=writer, failed=failed)
    return spec


def frozen_weights(spec: BankSpec) -> dict[str, np.ndarray]:
    """Random weights for derived q and k, where the spec has any."""
    rng = np.random.default_rng(1)
    return {
        name: rng.standard_normal(shape).astype(np.float32) for name, shape in weight_shapes(spec).items()
    }
