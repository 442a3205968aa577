"""`framebank caption`: what a pre-trained model says of images and clips, and how good that is.

Captions come from the generation decoder by beam search, three beams as in BLIP. Where items have captions of
their own these are references, and BLEU, ROUGE-L and CIDEr are reported, images and clips apart: CIDEr weighs
words by how rare they are among the references of the set, so a mixture would be neither's number.
"""

import json
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from decoders.omnivl.captions.scores import caption_scores
from decoders.omnivl.items import Item, with_keys
from decoders.omnivl.language.beams import BeamConfig, generate
from decoders.omnivl.language.memory import memory_of
from decoders.omnivl.language.vocabulary import detokenise
from decoders.omnivl.model import OmniVLModel, Source
from decoders.omnivl.opening import BANKS, Opener, tell_failed
from decoders.omnivl.schedule import KINDS, Kind
from decoders.omnivl.shown import Shown
from training.run import write_json

LONGEST = 20
"""Tokens of a caption by default, its end among them."""
SHOWN = 10
"""Captions that are printed where a file takes all."""
Scores = dict[str, dict[str, int | float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """What was said of an image or a clip."""

    item: Item
    text: str

    def to_json(self) -> dict[str, Any]:
        """A line of the file."""
        item = self.item
        return {
            "key": item.keys[0],
            "row": item.row,
            "kind": item.kind,
            "caption": self.text,
            "references": list(item.captions),
        }


def captions(
    model: OmniVLModel, source: Source, items: Sequence[Item], beams: BeamConfig, *, batch: int = 32
) -> Generator[Caption, None, None]:
    """A caption for each of some items of one kind that can be seen, in their order."""
    with closing(source.seen(items, batch)) as found:
        for some, visual in found:
            tokens = generate(model.heads.generate, memory_of(visual), beams).tokens.cpu()
            texts = detokenise(model.tokenise, tokens)
            yield from (Caption(item=item, text=text) for item, text in zip(some, texts, strict=True))


def scores_of(said: Sequence[Caption]) -> Scores:
    """BLEU, ROUGE-L and CIDEr of each kind of which some have references, and how many have."""
    found: Scores = {}
    for kind in KINDS:
        known = [one for one in said if one.item.kind == kind and one.item.captions]
        if known:
            scores = caption_scores([one.text for one in known], [one.item.captions for one in known])
            found[kind] = {"items": len(known), **scores}
    return found


def longest_of(asked: int, model: OmniVLModel, usual: int) -> int:
    """Most tokens of a text: what is asked for, or (0) the usual number, within the model's context."""
    return asked or min(usual, model.config.heads.context)


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionCommand:
    """Captions of images and clips, a bank's or those of files."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory of a pre-training."""
    shown: Annotated[Shown, tyro.conf.arg(name="")]
    split: str = "test"
    """Split to take; empty takes all."""
    keys: tuple[str, ...] = ()
    """Keys of images and clips to take, of any split; by default all of the split."""
    kind: Literal["any", "image", "video"] = "any"
    """What to take."""
    beams: int = 3
    """Beginnings that the search keeps; 1 is greedy."""
    longest: int = 0
    """Most tokens of a caption; 0: 20, or the model's context where that is less."""
    length_penalty: float = 1.0
    """Power of the length that log-likelihoods are divided by."""
    batch: int = 32
    """Items that are seen at once."""
    out: Path | None = None
    """A .jsonl file for a line each; scores go beside it, to NAME.scores.json."""
    device: str = "auto"
    """auto, cpu or cuda."""


def items_by_kind(source: Source, keys: Sequence[str], kind: str) -> dict[Kind, list[Item]]:
    """What is asked for. Raises ValueError where it is nothing, or a key is not there."""
    kinds: tuple[Kind, ...] = tuple(one for one in KINDS if kind in ("any", one))
    every: dict[Kind, list[Item]] = {one: source.items(one) for one in kinds}
    if keys:
        chosen = with_keys([item for some in every.values() for item in some], keys)
        every = {one: [item for item in chosen if item.kind == one] for one in kinds}
    if not any(every.values()):
        raise ValueError(
            f"expected written {'images or clips' if kind == 'any' else kind + 's'} in the split of "
            f"{source.shown.place}, found none; name another --split, or an empty one for all"
        )
    return every


def main(argv: Sequence[str], opener: Opener = BANKS) -> int:
    """`framebank caption RUN --bank BANK [--split test] [--out FILE.jsonl]`, or of files with `--sources`."""
    command = tyro.cli(CaptionCommand, prog="framebank caption", args=argv)
    model = opener.model(command.run, command.device)
    source = opener.source(model, command.shown, "" if command.keys else command.split)
    beams = BeamConfig(
        beams=command.beams,
        longest=longest_of(command.longest, model, LONGEST),
        length_penalty=command.length_penalty,
    )
    said: list[Caption] = []
    for kind, items in items_by_kind(source, command.keys, command.kind).items():
        found = captions(model, source, items, beams, batch=command.batch)
        bar = track(found, f"{kind}s", total=len(items), console=Console(stderr=True))
        said.extend(bar)
    tell_failed(source, Console(stderr=True))
    scores = scores_of(said)
    if command.out is not None:
        _write(command.out, said, scores)
    _show(said if command.out is None else said[:SHOWN], scores, Console())
    return 0


def _write(out: Path, said: Sequence[Caption], scores: Scores) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(one.to_json(), ensure_ascii=False) + "\n" for one in said)
    out.write_text(text, encoding="utf-8")
    write_json(out.with_suffix(".scores.json"), scores)


def _show(said: Sequence[Caption], scores: Scores, console: Console) -> None:
    table = Table("what", "key", "caption", "reference")
    for one in said:
        table.add_row(
            one.item.kind, one.item.keys[0], one.text, one.item.captions[0] if one.item.captions else ""
        )
    console.print(table)
    for kind, found in scores.items():
        numbers = ", ".join(f"{name} {value:.3f}" for name, value in found.items() if name != "items")
        console.print(f"{found['items']:,} {kind}s: {numbers}")
