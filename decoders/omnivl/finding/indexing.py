"""`framebank index`: unit embeddings and alignment tokens of all images and clips of a bank, or of files, for
searches.

A bank's tokens of one clip take megabytes, of which a search would need all for every candidate. What is left
after the visual module is small: a vector, and some tokens for the alignment decoder.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.lib.format import open_memmap
from rich.console import Console
from rich.progress import track

from decoders.omnivl.finding.coarse import Layout, coarsened, coarser
from decoders.omnivl.finding.index import ARRAYS, FILES, INDEX, ITEMS, Index, IndexFacts, IndexRefused
from decoders.omnivl.items import Item
from decoders.omnivl.model import OmniVLModel, Source
from decoders.omnivl.opening import BANKS, Opener, tell_failed
from decoders.omnivl.schedule import KINDS, Kind
from decoders.omnivl.shown import Shown
from decoders.omnivl.visual import VisualOut
from training.run import write_json

MOST_TOKENS = 64
"""M by default: at width 512 in fp16, 128 candidates are 8 MB a query."""
Watch = Callable[["Batches"], Iterable[tuple[Sequence[Item], VisualOut]]]
Kept = dict[Kind, tuple[Layout, Layout]]
"""How tokens of each kind come, and how they are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexCommand:
    """Embeddings and alignment tokens of images and clips, for `framebank search`."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory of a pre-training."""
    shown: Annotated[Shown, tyro.conf.arg(name="")]
    out: Path
    """Folder of the index."""
    split: str = ""
    """Split to take; empty takes all."""
    tokens: int = MOST_TOKENS
    """Most alignment tokens of an item; where the model has more, they are averaged, which changes scores."""
    full_tokens: bool = False
    """Keep all tokens, whatever that takes."""
    batch: int = 32
    """Items that are seen at once."""
    device: str = "auto"
    """auto, cpu or cuda."""


@dataclass(frozen=True, slots=True)
class Batches:
    """Batches of a kind with their number, which a progress bar asks for."""

    source: Source
    items: Sequence[Item]
    size: int

    def __len__(self) -> int:
        return -(-len(self.items) // self.size)

    def __iter__(self) -> Iterator[tuple[Sequence[Item], VisualOut]]:
        return self.source.seen(self.items, self.size)


def write_index(
    model: OmniVLModel, source: Source, out: Path, command: IndexCommand, watch: Watch = iter
) -> Index:
    """Make an index, or make it anew.

    Args:
        command: its split, tokens, and batch. watch: what batches are taken through, for progress.

    Raises:
        IndexRefused: `out` holds something else.
        ValueError: there is nothing to index, or nothing that can be decoded.
    """
    items: dict[Kind, list[Item]] = {kind: source.items(kind) for kind in KINDS}
    if not any(items.values()):
        raise ValueError(
            f"expected written images or clips in split {command.split!r} of {source.shown.place}, found none"
        )
    layouts: Kept = {kind: _layouts(source, kind, command) for kind in KINDS if items[kind]}
    facts = facts_of(model, source, command, items, layouts)
    _clear(out)
    arrays = {
        name: open_memmap(out / f"{name}.npy", mode="w+", dtype=ARRAYS[name], shape=shape)
        for name, shape in facts.shapes().items()
    }
    seen: dict[Kind, list[Item]] = {kind: [] for kind in KINDS}
    for kind, layout in layouts.items():
        batches = watch(Batches(source, items[kind], command.batch))
        seen[kind] = _fill(arrays, sum(map(len, seen.values())), batches, layout)
    if not any(seen.values()):
        raise ValueError(f"expected files of {source.shown.place} that can be decoded, found none")
    _settle(out, arrays, [item for kind in KINDS for item in seen[kind]])
    found = replace(facts, images=len(seen["image"]), videos=len(seen["video"]))
    write_json(out / INDEX, found.to_json())
    return Index(out)


def facts_of(
    model: OmniVLModel,
    source: Source,
    command: IndexCommand,
    items: dict[Kind, list[Item]],
    layouts: Kept,
) -> IndexFacts:
    """What an index is going to be."""
    return IndexFacts(
        images=len(items["image"]),
        videos=len(items["video"]),
        embed=model.config.heads.embed,
        width=model.config.heads.width,
        tokens=max(kept.tokens for _, kept in layouts.values()),
        averaged=any(whole != kept for whole, kept in layouts.values()),
        split=command.split,
        run=str(model.run),
        checkpoint=model.checkpoint.name,
        weights=model.digest,
        bank=source.shown.bank,
        sources=source.shown.sources,
        root=source.shown.root,
        fingerprint=source.fingerprint,
        rows=source.digest,
    )


def _layouts(source: Source, kind: Kind, command: IndexCommand) -> tuple[Layout, Layout]:
    """How tokens come, and how they are kept."""
    whole = source.layout(kind)
    return whole, whole if command.full_tokens else coarser(whole, command.tokens)


def _clear(out: Path) -> None:
    """An empty folder, what was an index gone, its index.json first. Searches that have it open go on: their
    files are removed, not changed.
    """
    if out.exists() and (
        not out.is_dir() or {file.name.removesuffix(".tmp") for file in out.iterdir()} - {*FILES}
    ):
        raise IndexRefused(
            f"expected a new, empty or index folder at {out}, found something else; choose another"
        )
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        for file in (out / name, out / f"{name}.tmp"):
            file.unlink(missing_ok=True)


def _fill(
    arrays: dict[str, np.memmap], begin: int, batches: Iterable[Any], layouts: tuple[Layout, Layout]
) -> list[Item]:
    """Write what is seen of the items of one kind, the first at place `begin`; those that were seen."""
    whole, kept = layouts
    seen: list[Item] = []
    for items, visual in batches:
        if visual.mask is not None:
            raise ValueError("expected all tokens of an item to be there, found some masked")
        places = slice(begin + len(seen), begin + len(seen) + len(items))
        arrays["embeddings"][places] = visual.embedding.float().cpu().numpy()
        arrays["tokens"][places, : kept.tokens] = coarsened(visual.tokens, whole, kept).half().cpu().numpy()
        arrays["lengths"][places] = kept.tokens
        seen += items
    return seen


def _settle(out: Path, arrays: dict[str, np.memmap], items: Sequence[Item]) -> None:
    """Everything on the disk, so that index.json may vouch for it."""
    with (out / ITEMS).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(item.to_json(), ensure_ascii=False) + "\n" for item in items)
    for name, values in arrays.items():
        values.flush()
        if len(values) > len(items):  # some could not be decoded
            _shorten(out / f"{name}.npy", values[: len(items)])
    for name in (ITEMS, *(f"{name}.npy" for name in ARRAYS)):
        handle = os.open(out / name, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _shorten(file: Path, values: np.ndarray) -> None:
    """Put an array in the place of a longer one, of which it is the beginning."""
    short = file.with_name(f"{file.name}.tmp")
    with short.open("wb") as handle:
        np.save(handle, values)
    short.replace(file)


def main(argv: Sequence[str], opener: Opener = BANKS) -> int:
    """`framebank index RUN --bank BANK --out INDEX [--split NAME]`, or of files with `--sources LIST...`."""
    command = tyro.cli(IndexCommand, prog="framebank index", args=argv)
    console = Console()
    model = opener.model(command.run, command.device)
    source = opener.source(model, command.shown, command.split)
    bars = Console(stderr=True)
    index = write_index(
        model, source, command.out, command, lambda found: track(found, "indexing", console=bars)
    )
    tell_failed(source, bars)
    facts = index.facts
    console.print(
        f"{command.out}: {facts.images:,} images, {facts.videos:,} clips; {facts.tokens} alignment tokens of "
        f"width {facts.width}{', averaged' if facts.averaged else ''}"
    )
    if facts.averaged:
        console.print(
            "the model has more tokens: averaged ones change what the alignment decoder says; --full-tokens "
            "keeps all, a model with a larger adapter.pool needs no averages"
        )
    return 0
