"""`framebank search`: images and clips by a sentence, from an index.

Stage one compares the sentence's vector with those of all items, stage two reads the alignment tokens of the
K best and asks the alignment decoder of each whether the sentence matches it. Its answer is the log-odds of
its two logits, of which only the difference is learned. It learns late, so by default (`itm+sim`) the cosine
goes on to count, divided by the temperature that the contrast was learned with: an early model then does no
worse than by cosines alone. The paper keeps 128 candidates.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from jaxtyping import Float32, Int64
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from backbones.text_cache import TextCache
from decoders.omnivl.finding.index import Index, IndexFacts, IndexRefused, refuse_stale
from decoders.omnivl.finding.two_stage import Score, TwoStage, nearest
from decoders.omnivl.items import Item
from decoders.omnivl.model import OmniVLModel
from decoders.omnivl.opening import BANKS, Opener
from decoders.omnivl.schedule import Kind
from decoders.omnivl.shown import Shown
from decoders.omnivl.visual import VisualOut
from storage import NotABank

PAIRS = 128
"""Pairs that go through the alignment decoder together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """Something that was found."""

    item: Item
    score: float
    cosine: float


@dataclass(slots=True)
class Effort:
    """What searches took, all of them together."""

    queries: int = 0
    pairs: int = 0
    """Pairs that were judged."""
    compared_bytes: int = 0
    """Bytes of embeddings that stage one read."""
    judged_bytes: int = 0
    """Bytes of alignment tokens that stage two read."""
    text_seconds: float = 0.0
    """Wall time of the text encoder."""
    compared_seconds: float = 0.0
    judged_seconds: float = 0.0


class Searcher:
    """A model and an index of its making.

    Args:
        texts: folder that keeps the vectors of texts; None: they are made anew.

    Attributes:
        effort: what its searches took so far.

    Raises:
        IndexRefused: the index is of other weights.
    """

    def __init__(self, model: OmniVLModel, index: Index, *, texts: Path | None = None) -> None:
        refuse_stale(index.facts, {"weights": model.digest}, index.path)
        self.model, self.index = model, index
        self.cache = None if texts is None else TextCache(texts, model.digest)
        self.effort = Effort()

    def search(
        self, queries: Sequence[str], *, top: int = 10, how: TwoStage | None = None, kind: Kind | None = None
    ) -> list[list[Hit]]:
        """The best items for each query, the best first; no more than there are candidates."""
        how, places = how or TwoStage(), self.index.places(kind)
        tokens, vectors = self.encoded(queries)
        start = time.perf_counter()
        found = nearest(self.index.embeddings[places], vectors, how.candidates)
        found = found._replace(places=found.places + places.start)
        self.effort.compared_seconds += time.perf_counter() - start
        self.effort.compared_bytes += self.index.embeddings[places].nbytes
        order = how.order(found, lambda asked, at: self.judged(tokens[asked], at), self.temperature)
        self.effort.queries += len(queries)
        best = zip(*(values[:, :top].tolist() for values in order), strict=True)
        return [
            [
                Hit(item=self.index.item(at), score=score, cosine=cosine)
                for at, cosine, score in zip(*one, strict=True)
            ]
            for one in best
        ]

    @property
    def temperature(self) -> float:
        """What the model divides cosines by."""
        return float(self.model.heads.temperature)

    def encoded(self, texts: Sequence[str]) -> tuple[Int64[torch.Tensor, "n L"], Float32[np.ndarray, "n E"]]:
        """Tokens and unit vectors of texts, of which equal ones are encoded once."""
        start = time.perf_counter()
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        each = list(places)
        found = self._vectors(each) if self.cache is None else self.cache.encoded(each, self._vectors)
        self.effort.text_seconds += time.perf_counter() - start
        return self.model.tokenise(texts), found[[places[text] for text in texts]].numpy()

    @torch.no_grad()
    def _vectors(self, texts: Sequence[str]) -> Float32[torch.Tensor, "n E"]:
        parts = self.model.tokenise(texts).split(PAIRS)
        return torch.cat([self.model.heads.encode_text(part.to(self.model.device)).cpu() for part in parts])

    def judged(
        self, texts: Int64[torch.Tensor, "n L"], places: NDArray[np.int64]
    ) -> Float32[np.ndarray, " n"]:
        """Log-odds that n texts match the items at n places."""
        start = time.perf_counter()
        pieces = [
            self._judged(texts[first : first + PAIRS], places[first : first + PAIRS])
            for first in range(0, len(places), PAIRS)
        ]
        self.effort.judged_seconds += time.perf_counter() - start
        self.effort.pairs += len(places)
        return np.concatenate(pieces)

    @torch.inference_mode()
    def _judged(
        self, texts: Int64[torch.Tensor, "n L"], places: NDArray[np.int64]
    ) -> Float32[np.ndarray, " n"]:
        device, index = self.model.device, self.index
        lengths = index.lengths[places]
        tokens = index.tokens[places, : lengths.max()]
        self.effort.judged_bytes += tokens.nbytes
        mask = np.arange(lengths.max()) < lengths[:, None]
        visual = VisualOut(
            embedding=torch.from_numpy(index.embeddings[places]).to(device),
            tokens=torch.from_numpy(tokens).to(device).float(),
            mask=None if mask.all() else torch.from_numpy(mask).to(device),
        )
        no, yes = self.model.heads.match(visual, texts.to(device)).float().unbind(dim=1)
        return (yes - no).cpu().numpy()


@dataclass(frozen=True, kw_only=True, slots=True)
class Now:
    """Where the parts of an index are by now, and on what it is searched."""

    run: Path | None = None
    """Where the run directory is by now."""
    bank: str | None = None
    """Where the bank is by now; empty: do not look whether what was indexed has changed."""
    sources: tuple[str, ...] = ()
    """Where the lists of an index of files are by now."""
    root: str = ""
    """Folder that these are relative to."""
    text_cache: Path | None = None
    """Folder that keeps the vectors of texts, by model; by default they are made anew."""
    device: str = "auto"
    """auto, cpu or cuda."""

    def shown(self, facts: IndexFacts) -> Shown:
        """What was indexed, where it is by now."""
        if self.bank or self.sources:
            return Shown(bank=self.bank or "", sources=self.sources, root=self.root)
        return facts.shown


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchCommand:
    """Find images and clips by a sentence."""

    index: Annotated[Path, tyro.conf.Positional]
    """Folder of the index."""
    query: Annotated[str, tyro.conf.Positional]
    """What is to be seen, in a sentence."""
    top: int = 10
    """Items to show."""
    candidates: int = 128
    """Items that stage two judges."""
    score: Score = "itm+sim"
    """What they are ordered by at last: matching and cosine, matching, or cosine alone (no stage two)."""
    kind: Literal["any", "image", "video"] = "any"
    """What to look for."""
    now: Annotated[Now, tyro.conf.arg(name="")] = field(default_factory=Now)
    json: bool = False
    """Print hits and effort as JSON."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"expected a hit at least, found --top {self.top}")


def open_search(path: Path, now: Now, opener: Opener = BANKS) -> Searcher:
    """An index with the model that it was made by.

    Raises:
        IndexRefused: no index, a stale one, or no bank to compare with. RunError: no run.
    """
    index = Index(path)
    model = opener.model(now.run or Path(index.facts.run), now.device)
    if now.bank != "":
        refuse_stale(index.facts, {"rows": _rows(model, index.facts, now, opener)}, path)
    return Searcher(model, index, texts=now.text_cache)


def _rows(model: OmniVLModel, facts: IndexFacts, now: Now, opener: Opener) -> str:
    """Digest of what was indexed, as it is by now."""
    shown = now.shown(facts)
    try:
        return opener.source(model, shown, facts.split).digest
    except NotABank as error:
        raise IndexRefused(
            f"expected the bank that the index was made of at {shown.place}, to see whether its rows have "
            "changed, found none; name where it is with --bank, or search without looking with --bank ''"
        ) from error


def main(argv: Sequence[str], opener: Opener = BANKS) -> int:
    """`framebank search INDEX "a red circle that moves left" [--top 10] [--kind image]`."""
    command = tyro.cli(SearchCommand, prog="framebank search", args=argv)
    searcher = open_search(command.index, command.now, opener)
    how = TwoStage(candidates=command.candidates, score=command.score)
    kind = None if command.kind == "any" else command.kind
    [hits] = searcher.search([command.query], top=command.top, how=how, kind=kind)
    console = Console()
    if command.json:
        found = [{**asdict(hit.item), "score": hit.score, "cosine": hit.cosine} for hit in hits]
        console.print_json(json.dumps({"hits": found, "effort": asdict(searcher.effort)}))
        return 0
    table = Table("", "score", "cosine", "what", "key", "caption")
    for number, hit in enumerate(hits, start=1):
        caption = hit.item.captions[0] if hit.item.captions else ""
        table.add_row(
            str(number), f"{hit.score:.2f}", f"{hit.cosine:.3f}", hit.item.kind, hit.item.keys[0], caption
        )
    console.print(table)
    console.print(said(searcher.effort))
    return 0


def said(effort: Effort) -> str:
    """An effort in words."""
    return (
        f"compared {effort.compared_bytes / 1e6:.1f} MB in {effort.compared_seconds:.3f} s, judged "
        f"{effort.pairs:,} pairs from {effort.judged_bytes / 1e6:.1f} MB in {effort.judged_seconds:.3f} s"
    )
