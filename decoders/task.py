"""The learning problem that a bank and a config pose together, as plain values that a run directory keeps.

A run learns to tell `classes` apart from the tokens of `blocks`, as one backbone saw them. Training goes on
only on a bank with the same fingerprint; evaluation may use another bank (other clips, other views, another
way to keep attention) as long as the same backbone saw as many frames and the blocks are there.
"""

from dataclasses import asdict, dataclass
from typing import Any

from decoders.clips import class_list
from decoders.config import TrainConfig
from decoders.evl import EVLDecoder, TokenShape
from storage import Bank, array_name
from storage.spec import differences


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What stays fixed over the life of a run."""

    label: str
    """Name of the label set."""
    classes: tuple[str, ...]
    """K names, in the order of the logits."""
    blocks: tuple[int, ...]
    """The backbone block that each decoder layer reads, shallow to deep."""
    shape: TokenShape
    """Width, frames and grid of the tokens."""
    backbone: dict[str, Any]
    """The bank's backbone spec, as JSON."""
    fingerprint: str
    """Fingerprint of the bank trained on."""
    kept: dict[str, str]
    """Block to the type of its tokens and the form of its attention in the bank trained on."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` turns them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Task":
        fixed: dict[str, Any] = {name: tuple(values[name]) for name in ("classes", "blocks")}
        fixed["shape"] = TokenShape(**(values["shape"] | {"grid": tuple(values["shape"]["grid"])}))
        return cls(**(values | fixed))


def pose_task(bank: Bank, config: TrainConfig) -> Task:
    """The task of training `config` on `bank`. Raises ValueError where the bank cannot serve the config."""
    spec, layers, depth = bank.spec, config.decoder.layers, config.decoder.depth
    if len(spec.blocks) < depth:
        raise ValueError(
            f"a decoder of {layers} layers reads {depth} blocks, {bank.path} holds {len(spec.blocks)} "
            f"({', '.join(map(str, spec.blocks))}); take fewer layers, let all of them read the last block "
            "(no multi_layer), or extract more blocks"
        )
    blocks = config.decoder.blocks_of(spec.blocks)
    _refuse_missing_maps(bank, blocks, config)
    return Task(
        label=config.label,
        classes=class_list(bank.table, config.label),
        blocks=blocks,
        shape=TokenShape(width=spec.backbone.width, frames=spec.frames, grid=spec.backbone.grid),
        backbone=spec.backbone.to_json(),
        fingerprint=bank.fingerprint,
        kept=kept_arrays(bank, blocks),
    )


def check_bank(task: Task, bank: Bank, config: TrainConfig) -> None:
    """Raise ValueError, with each difference, where a run cannot be evaluated on `bank`."""
    spec = bank.spec
    trained = {"backbone": task.backbone, "frames": task.shape.frames}
    lines = differences({"backbone": spec.to_json()["backbone"], "frames": spec.frames}, trained)
    missing = sorted(set(task.blocks) - set(spec.blocks))
    if missing:
        lines.append(f"blocks: the bank has {list(spec.blocks)}, asked for {list(task.blocks)}")
    if lines:
        raise ValueError(f"{bank.path} is no bank this run can be evaluated on:\n  " + "\n  ".join(lines))
    _refuse_missing_maps(bank, task.blocks, config)


def kept_arrays(bank: Bank, blocks: tuple[int, ...]) -> dict[str, str]:
    """How a bank keeps some blocks: their tokens' type and their attention's form."""
    return {
        f"block {block}": f"{bank.layouts[array_name(block, 'out')].dtype}, {bank.spec.attention(block)}"
        for block in blocks
    }


def build_decoder(task: Task, config: TrainConfig) -> EVLDecoder:
    """The decoder of a task, with weights from torch's current generator."""
    return EVLDecoder(config.decoder, task.shape, len(task.classes))


def _refuse_missing_maps(bank: Bank, blocks: tuple[int, ...], config: TrainConfig) -> None:
    blind = [block for block in blocks if bank.spec.attention(block) == "none"]
    if config.decoder.cross_frame and blind:
        raise ValueError(
            f"cross_frame reads attention maps, {bank.path} keeps attention=none of block {blind[0]}; train "
            "with cross_frame off, or extract with attention=maps (--grow adds it to this bank)"
        )
