"""`framebank retrieve`: how well the items of an index and their own captions find each other.

Images among images, clips among clips, both ways. From text to visual every caption is a query and its item
the right answer; from visual to text every item is a query and any of its captions is right. Each direction
is measured after stage one (cosines alone) and after stage two (the best K judged by the alignment decoder),
with ties as `decoders.ranks` has them. Stage two orders K candidates anew, so its recall at 1 is never above
the recall at K of stage one; early in training it may well be below stage one's own, and is reported as it
comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from jaxtyping import Float32, Float64, Int64
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

from decoders.omnivl.finding.search import Now, Searcher, open_search
from decoders.omnivl.finding.two_stage import Candidates, Judge, Score, TwoStage, nearest, ranks_after
from decoders.omnivl.opening import BANKS, Opener
from decoders.omnivl.schedule import KINDS, Kind
from decoders.ranks import RECALLS, ranks, summary
from training.run import write_json

QUERIES = 16
"""Queries whose pairs are judged between two steps of the bar."""
WAYS = {"text_to_visual": "text to visual", "visual_to_text": "visual to text"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Captioned:
    """Items of one kind that have captions, and these."""

    places: NDArray[np.int64]
    """(n,) where they are in the index."""
    texts: tuple[str, ...]
    """m captions, item by item."""
    owners: NDArray[np.int64]
    """(m,) for each text its item, counted among those here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One direction: what asks, what is asked for, and which belongs to which."""

    queries: Float32[np.ndarray, "Q E"]
    gallery: Float32[np.ndarray, "G E"]
    query_ids: Int64[np.ndarray, " Q"]
    gallery_ids: Int64[np.ndarray, " G"]
    """An answer is right if it has the id of its query."""
    judge: Judge


def captioned(searcher: Searcher, kind: Kind, split: str) -> Captioned:
    """The items of a kind and a split (empty: of all) that have captions."""
    places = searcher.index.places(kind)
    found = [
        (place, item.captions)
        for place, item in enumerate(searcher.index.items(places), start=places.start)
        if item.captions and (not split or item.split == split)
    ]
    return Captioned(
        places=np.array([place for place, _ in found], np.int64),
        texts=tuple(text for _, texts in found for text in texts),
        owners=np.repeat(np.arange(len(found)), [len(texts) for _, texts in found]),
    )


def retrieve(
    searcher: Searcher, how: TwoStage, *, split: str = "", progress: Progress | None = None
) -> dict[str, Any]:
    """Recalls and ranks of each kind that has captions, both ways, after either stage.

    Raises ValueError where nothing has captions.
    """
    found = {kind: captioned(searcher, kind, split) for kind in KINDS}
    report = {kind: _of_kind(searcher, those, how, progress) for kind, those in found.items() if those.texts}
    if not report:
        raise ValueError(
            f"expected captions of items in split {split!r} of {searcher.index.path}, found none; index a "
            "bank with captions, or name another split"
        )
    facts = searcher.index.facts
    return {
        "index": str(searcher.index.path),
        "weights": facts.weights,
        "split": split,
        "score": how.score,
        "candidates": how.candidates,
        "tokens_averaged": facts.averaged,
        "kinds": report,
    }


def _of_kind(
    searcher: Searcher, those: Captioned, how: TwoStage, progress: Progress | None
) -> dict[str, Any]:
    tokens, texts = searcher.encoded(those.texts)
    items, numbers = searcher.index.embeddings[those.places], np.arange(len(those.places))

    def by_text(queries: NDArray[np.int64], found: NDArray[np.int64]) -> Float32[np.ndarray, " n"]:
        return searcher.judged(tokens[queries], those.places[found])

    def by_item(queries: NDArray[np.int64], found: NDArray[np.int64]) -> Float32[np.ndarray, " n"]:
        return by_text(found, queries)

    ways = (
        Way(queries=texts, gallery=items, query_ids=those.owners, gallery_ids=numbers, judge=by_text),
        Way(queries=items, gallery=texts, query_ids=numbers, gallery_ids=those.owners, judge=by_item),
    )
    first = ranks(*map(torch.from_numpy, (items, texts, those.owners)))
    report: dict[str, Any] = {"items": len(items), "captions": len(texts)}
    for name, way, before in zip(WAYS, ways, first, strict=True):
        report[name] = _stages(way, before, how, temperature=searcher.temperature, progress=progress)
    return report


def _stages(
    way: Way, before: Float64[Tensor, " Q"], how: TwoStage, *, temperature: float, progress: Progress | None
) -> dict[str, Any]:
    """Recalls and ranks of one direction."""
    found = nearest(way.gallery, way.queries, how.candidates)
    here = way.gallery_ids[found.places] == way.query_ids[:, None]
    bar = None if progress is None else progress.add_task("judging", total=len(here))
    after = []
    for start in range(0, len(here), QUERIES):
        some = slice(start, start + QUERIES)
        asked = Candidates(found.places[some], found.cosines[some])
        order = how.order(asked, partial(_shifted, way.judge, start), temperature)
        right = way.gallery_ids[order.places] == way.query_ids[some, None]
        after.append(ranks_after(order, right, before[some].numpy()))
        if progress is not None and bar is not None:
            progress.advance(bar, len(right))
    return {
        "candidates": found.places.shape[1],
        "candidates_recall": float(here.any(axis=1).mean()),
        "stage_one": summary(before),
        "stage_two": summary(torch.from_numpy(np.concatenate(after))),
    }


def _shifted(
    judge: Judge, first: int, queries: NDArray[np.int64], places: NDArray[np.int64]
) -> Float32[np.ndarray, " n"]:
    """A judge of all queries, asked by some that begin at `first`."""
    return judge(queries + first, places)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrieveCommand:
    """How well the items of an index and their captions find each other."""

    index: Annotated[Path, tyro.conf.Positional]
    """Folder of the index."""
    split: str = ""
    """Split whose items and captions take part; empty takes all."""
    candidates: int = 128
    """Candidates that stage two judges."""
    score: Score = "itm+sim"
    """What they are ordered by at last: matching and cosine, or matching."""
    now: Annotated[Now, tyro.conf.arg(name="")] = field(default_factory=Now)
    out: Path | None = None
    """A JSON file for the report."""


def main(argv: Sequence[str], opener: Opener = BANKS) -> int:
    """`framebank retrieve INDEX [--split test] [--candidates 128]`."""
    command = tyro.cli(RetrieveCommand, prog="framebank retrieve", args=argv)
    searcher = open_search(command.index, command.now, opener)
    how = TwoStage(candidates=command.candidates, score=command.score)
    with Progress(console=Console(stderr=True)) as progress:
        report = retrieve(searcher, how, split=command.split, progress=progress)
    if command.out is not None:
        command.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(command.out, report)
    Console().print(page(report))
    return 0


def page(report: dict[str, Any]) -> Table:
    """The report as a table: a row a direction and stage."""
    table = Table(title=f"{report['score']}, K = {report['candidates']}")
    for name in ("", "", "after", "R@1", "R@5", "R@10", "median"):
        table.add_column(name, no_wrap=True)
    for kind, found in report["kinds"].items():
        for way, words in WAYS.items():
            for stage, said in (("stage_one", "cosine"), ("stage_two", "judging")):
                scores = found[way][stage]
                recalls = [f"{scores[f'recall_at_{k}']:.3f}" for k in RECALLS]
                table.add_row(kind, words, said, *recalls, f"{scores['median_rank']:g}")
        table.add_section()
    return table
