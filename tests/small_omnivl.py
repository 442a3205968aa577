"""A small bank of images and clips, and a pre-trained run of a small model that was never trained."""

from dataclasses import replace
from pathlib import Path

from decoders.draws import seeded
from decoders.omnivl.adapter import BankVisual
from decoders.omnivl.config import AdapterConfig, PretrainConfig
from decoders.omnivl.language.heads import OmniVLHeads
from storage import Bank, BankWriter
from tests.small_banks import clip_line, small_spec, write_shard
from tests.small_heads import SMALL
from training.checkpoint import save_checkpoint
from training.run import open_run

FRAMES = 3
"""T of the clips."""


def write_mixed_bank(path: Path, *, images: int = 5, clips: int = 6) -> Bank:
    """Clips of three frames, then images; captions and splits of their own."""
    spec = small_spec(attention="none")
    with BankWriter(path, spec, shard_rows=4) as writer:
        lines = [line(number, frames=FRAMES if number < clips else 1) for number in range(clips + images)]
        writer.enrol(lines)
        for shard in sorted({row // writer.shard_rows for row in writer.listing["row"].to_pylist()}):
            write_shard(path, shard, writer=writer)
    return Bank(path)


def line(number: int, *, frames: int) -> dict:
    """A line of the listing; the captions say what it is."""
    what = "clip" if frames > 1 else "image"
    found = clip_line(number, split="test" if number % 3 == 2 else "train")
    texts = [f"{what} of a number {number}", f"here is {what} {number}"]
    return found | {"frames": frames, "captions": texts[: 1 + number % 2]}


def write_run(path: Path, bank: Bank, *, seed: int = 0, pool: int = 1, steps: int = 7) -> Path:
    """A run directory as a pre-training leaves it, weights as `seed` draws them."""
    config = PretrainConfig(
        heads=replace(SMALL, merges=2000, context=16),
        adapter=AdapterConfig(blocks=1, layers=1, heads=2, pool=pool, frames=FRAMES),
    )
    tower = bank.spec.backbone
    with seeded(seed):
        visual = BankVisual(config.adapter, config.heads, width=tower.width, grid=tower.grid)
        heads = OmniVLHeads(config.heads)
    tier = {"tier": "bank", "backbone": tower.to_json(), "blocks": [3]}
    document = {"config": config.to_json(), "tier": tier, "samples": {}}
    with open_run(path, document, {}):
        state = {"visual": visual.state_dict(), "heads": heads.state_dict(), "next_step": steps}
        save_checkpoint(path, state, keep=2)
    return path
