"""A bank of what a live tower sees, beside which the same is computed without one."""

from backbones.taps import FrozenTower
from pipeline.encode import encode_rows
from pipeline.request import frozen_weights
from storage import BackboneSpec, Bank, BankSpec, BankWriter, Kept, ShardWriter, array_layouts
from tests.small_banks import clip_line


def write_live_bank(path, live, frames, *, attention="maps", dtype="float16"):
    """A bank of what the live tower sees, one clip a row, through the extraction's own code."""
    tower, length = live.tower, frames.shape[1]
    spec = BankSpec(
        backbone=BackboneSpec(
            name="tiny",
            weights="0" * 64,
            precision="fp32",
            quick_gelu=True,
            width=tower.width,
            heads=tower.heads,
            depth=tower.depth,
            grid=tower.grid,
            embed=tower.embed,
        ),
        frames=length,
        views=1,
        video={},
        kept=(Kept(blocks=live.blocks, attention=attention, dtype=dtype),),
    )
    tapped = FrozenTower(tower.visual, spec.kept[0].token_blocks, tower.mean.tolist(), tower.std.tolist())
    with BankWriter(path, spec, weights=frozen_weights(tower, spec)) as writer:
        writer.enrol([clip_line(i) for i in range(len(frames))])
        rows = encode_rows(tapped, frames.numpy(), array_layouts(spec))
        with ShardWriter(path, 0, run=writer.run) as shard:
            for row in range(len(rows)):
                shard.append(row, rows.row(row).values, rows.row(row).statistics)
            shard.commit([{"row": row, "view": 0, "outcome": "written"} for row in range(len(rows))], {})
    return Bank.open(path)
