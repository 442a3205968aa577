"""`framebank probe`: how well a straight cut through frozen embeddings names the classes of images and clips.

Unit embeddings of a pre-trained model, and beside them CLIP's own, the mean of the unit embeddings of the
frames that the bank keeps: what pre-training made of a tower that it never touched. Images and clips apart.
The penalty is picked on a fifth of the training split, drawn by seed, or on a split of its own; then all of
both is fitted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from einops import reduce
from jaxtyping import Float
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from decoders.omnivl.bank_source import BankSource
from decoders.omnivl.items import Item
from decoders.omnivl.model import OmniVLModel, open_model
from decoders.omnivl.pretraining.samples import class_of
from decoders.omnivl.probe import Examples, ProbeConfig, linear_probe
from decoders.omnivl.schedule import KINDS, Kind
from decoders.precision import pick_device
from storage import Bank
from training.run import write_json

VALIDATION = 5
"""One in so many training examples is held out to pick the penalty on, where no split is named."""
ROWS = 256
"""Rows of the bank's own embeddings that are read at once."""
Embed = Callable[[Sequence[Item]], Float[Tensor, "n E"]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeCommand:
    """A linear probe of a pre-trained model's embeddings, and of CLIP's."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory of a pre-training."""
    bank: str
    """Folder or URL of the bank."""
    split: str = "train"
    """Split to fit on."""
    eval_split: str = "test"
    """Split to test on."""
    validation_split: str = ""
    """Split to pick the penalty on; empty: a fifth of the first."""
    label: str = "label"
    """Set of labels: `label`, or an attribute of the clips."""
    seed: int = 0
    """Which fifth."""
    batch: int = 32
    """Items that are seen at once."""
    out: Path | None = None
    """A JSON file for the report."""
    device: str = "auto"
    """auto, cpu or cuda."""


def probe(model: OmniVLModel, bank: Bank, command: ProbeCommand, console: Console) -> dict[str, Any]:
    """Accuracies of each kind that has classes.

    Raises ValueError where no kind has two classes to learn and something to test.
    """
    kinds = {kind: found for kind in KINDS if (found := _of_kind(model, bank, kind, command, console))}
    if not kinds:
        raise ValueError(
            f"expected images or clips of two classes under {command.label!r} in split {command.split!r} of "
            f"{bank.path}, and some in {command.eval_split!r}, found none; name other splits or another "
            "--label"
        )
    return {"run": str(model.run), "weights": model.digest, "label": command.label, "kinds": kinds}


def _of_kind(
    model: OmniVLModel, bank: Bank, kind: Kind, command: ProbeCommand, console: Console
) -> dict[str, Any]:
    source = BankSource(model, bank)
    splits = splits_of([item for item in source.items(kind) if named(item, command.label)], command)
    learned = {named(item, command.label) for item in splits["train"]}
    if len(learned) < 2 or not all(splits.values()):
        return {}
    names = sorted({named(item, command.label) for part in splits.values() for item in part})
    places = {name: number for number, name in enumerate(names)}

    def examples(embed: Embed, part: Sequence[Item]) -> Examples:
        classes = torch.tensor([places[named(item, command.label)] for item in part])
        return Examples(embed(part), classes)

    def ours(some: Sequence[Item]) -> Float[Tensor, "n E"]:
        bar = track(
            source.seen(some, command.batch),
            f"{kind}s",
            total=-(-len(some) // command.batch),
            console=console,
        )
        return torch.cat([visual.embedding.float().cpu() for _, visual in bar])

    def clips(some: Sequence[Item]) -> Float[Tensor, "n E"]:
        return pooled(bank, source.frames(kind), some)

    found = {}
    for name, embed in (("omnivl", ours), ("clip", clips)):
        train, validation, test = (examples(embed, part) for part in splits.values())
        found[name] = linear_probe(train, validation, test, ProbeConfig())
    return {
        "classes": len(names),
        "items": {part: len(some) for part, some in splits.items()},
        "chance": 1 / len(names),
        "top1": {name: probed.accuracy for name, probed in found.items()},
        "penalty": {name: probed.penalty for name, probed in found.items()},
    }


def splits_of(items: Sequence[Item], command: ProbeCommand) -> dict[str, list[Item]]:
    """What is fitted, what the penalty is picked on, what is tested."""
    train = [item for item in items if item.split == command.split]
    if command.validation_split:
        held = [item for item in items if item.split == command.validation_split]
    else:
        order = np.random.default_rng(command.seed).permutation(len(train))
        held = [train[place] for place in order[: max(1, len(train) // VALIDATION)]]
        rows = {item.row for item in held}
        train = [item for item in train if item.row not in rows]
    test = [item for item in items if item.split == command.eval_split]
    return {"train": train, "validation": held, "test": test}


def named(item: Item, label: str) -> str:
    """The class of an item in words; empty for none."""
    line = {"attributes": item.attributes, "label": item.label, "class_name": item.class_name}
    return class_of(line, label)


def pooled(bank: Bank, frames: int, items: Sequence[Item]) -> Float[Tensor, "n E"]:
    """CLIP's embedding of each image or clip: the mean of its frames' unit vectors, a unit vector again."""
    rows = np.array([item.row for item in items], np.int64)
    name = bank.pooled_name(frames)
    found = [
        torch.from_numpy(bank.read(name, rows[start : start + ROWS])).float()
        for start in range(0, len(rows), ROWS)
    ]
    each = F.normalize(torch.cat(found), dim=-1)
    return F.normalize(reduce(each, "n t e -> n e", "mean"), dim=-1)


def main(argv: Sequence[str]) -> int:
    """`framebank probe RUN --bank BANK [--split train] [--eval-split test] [--label LABEL]`."""
    command = tyro.cli(ProbeCommand, prog="framebank probe", args=argv)
    model = open_model(command.run, pick_device(command.device))
    report = probe(model, Bank(command.bank), command, Console(stderr=True))
    if command.out is not None:
        command.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(command.out, report)
    table = Table("", "classes", "train", "test", "OmniVL", "CLIP", "chance", title=command.label)
    for kind, found in report["kinds"].items():
        count, shares = found["items"], found["top1"]
        table.add_row(
            f"{kind}s",
            str(found["classes"]),
            f"{count['train'] + count['validation']:,}",
            f"{count['test']:,}",
            *(f"{share:.3f}" for share in (shares["omnivl"], shares["clip"], found["chance"])),
        )
    Console().print(table)
    return 0
