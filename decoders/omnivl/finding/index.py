"""An index on disk: what a search needs of each image and clip, and nothing of the bank.

    INDEX/
      index.json       format, sizes, run and digest of its weights, bank (or files) and its digest
      embeddings.npy   (N, E) float32, unit vectors: images by ascending row, then clips
      tokens.npy       (N, M, D) float16, what the alignment decoder looks at; zeros where there are fewer
      lengths.npy      (N,) int32, how many tokens each has
      items.jsonl      a line each: kind, row, keys, split, captions, labels

The arrays are plain files, mapped into memory: a search reads all embeddings and the tokens of its
candidates. Embeddings stay in fp32: they are 3 % of an index of 33 tokens of width 512, and a product needs
no conversion.

index.json is written last, and removed first: an index is whole or absent. One whose making was interrupted
is begun anew; it is a derived thing, minutes of work on a bank that is there. An index is refused, too, where
it is stale: the run has other weights by now, or the bank (or a file) other content.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Float32, Int32
from numpy.typing import NDArray

from decoders.omnivl.items import Item
from decoders.omnivl.schedule import Kind
from decoders.omnivl.shown import Shown

FORMAT = 1
INDEX, ITEMS = "index.json", "items.jsonl"
ARRAYS = {"embeddings": "float32", "tokens": "float16", "lengths": "int32"}
FILES = (INDEX, ITEMS, *(f"{name}.npy" for name in ARRAYS))


class IndexRefused(ValueError):
    """An index that is none, is incomplete or damaged, or is stale."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexFacts:
    """What index.json says."""

    format: int = FORMAT
    images: int
    """Items of each kind; images come first."""
    videos: int
    embed: int
    """E."""
    width: int
    """D."""
    tokens: int
    """M, most tokens of an item."""
    averaged: bool
    """Whether tokens were averaged to be as few; where not, they are the model's own, rounded to fp16."""
    split: str
    """The bank's split that it holds; empty: all."""
    run: str
    """Run directory of the model."""
    checkpoint: str
    weights: str
    """Digest of the model."""
    bank: str
    """Where the bank lay; empty where files were shown."""
    sources: tuple[str, ...] = ()
    """The files' lists."""
    root: str = ""
    """Folder that these are relative to."""
    fingerprint: str
    rows: str
    """Digest of the bank's listing and records, or of the files'."""

    @property
    def items(self) -> int:
        """N."""
        return self.images + self.videos

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the arrays."""
        n = self.items
        return {"embeddings": (n, self.embed), "tokens": (n, self.tokens, self.width), "lengths": (n,)}

    @property
    def shown(self) -> Shown:
        """What was indexed."""
        return Shown(bank=self.bank, sources=self.sources, root=self.root)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


class Index:
    """An index, opened.

    Attributes:
        path, facts: where and what it is.
        embeddings (N, E), tokens (N, M, D), lengths (N,): mapped into memory, read when touched.

    Raises:
        IndexRefused: no index, one whose making was interrupted, one of another format, files of other sizes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts = read_facts(path)
        self.embeddings: Float32[np.ndarray, "N E"] = self._mapped("embeddings")
        self.tokens: Float16[np.ndarray, "N M D"] = self._mapped("tokens")
        self.lengths: Int32[np.ndarray, " N"] = np.asarray(self._mapped("lengths"))

    def __len__(self) -> int:
        return self.facts.items

    def places(self, kind: Kind | None = None) -> slice:
        """Where the items of a kind are; None: of any."""
        images = self.facts.images
        return {None: slice(0, len(self)), "image": slice(0, images), "video": slice(images, len(self))}[kind]

    def item(self, place: int) -> Item:
        """What is at a place."""
        return Item.from_json(json.loads(self._lines[place]))

    def items(self, places: slice) -> Iterator[Item]:
        """What is at some places."""
        return (Item.from_json(json.loads(line)) for line in self._lines[places])

    @cached_property
    def _lines(self) -> list[str]:
        lines = (self.path / ITEMS).read_text(encoding="utf-8").splitlines()
        if len(lines) != len(self):
            raise IndexRefused(
                f"expected {len(self)} lines in {self.path / ITEMS}, found {len(lines)}; make the index again"
            )
        return lines

    def _mapped(self, name: str) -> NDArray[Any]:
        file, shape = self.path / f"{name}.npy", self.facts.shapes()[name]
        try:
            found = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise IndexRefused(
                f"expected {shape} values in {file}, found a file that cannot be read ({error}); make the "
                "index again"
            ) from error
        if found.shape != shape or found.dtype != ARRAYS[name]:
            raise IndexRefused(
                f"expected {ARRAYS[name]} {shape} in {file}, found {found.dtype} {found.shape}; make the "
                "index again"
            )
        return found


def read_facts(path: Path) -> IndexFacts:
    """What index.json says. Raises IndexRefused."""
    file = path / INDEX
    if not file.is_file():
        why = "one whose making was interrupted" if any((path / name).exists() for name in FILES) else "none"
        raise IndexRefused(
            f"expected an index (with an {INDEX}) at {path}, found {why}; make it with: "
            f"framebank index RUN --bank BANK --out {path}"
        )
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise IndexRefused(
                f"expected an index of format {FORMAT} at {path}, found format {values['format']}; make it "
                "again"
            )
        return IndexFacts(**(values | {"sources": tuple(values["sources"])}))
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise IndexRefused(
            f"expected the facts of an index in {file}, found {error}; make it again"
        ) from error


def refuse_stale(facts: IndexFacts, now: Mapping[str, str], path: Path) -> None:
    """Raise IndexRefused where the model, or what was indexed, is not what it was then.

    Args:
        now: digests by the names of `IndexFacts`: `weights` of the model, `rows` of what was indexed, or one
            of both.
    """
    for name, digest in now.items():
        was = getattr(facts, name)
        if was != digest:
            whose = facts.run if name == "weights" else facts.shown.place
            raise IndexRefused(
                f"{path} is stale: expected {name} of {whose} with digest {digest[:12]}, found an index of "
                f"{was[:12]}; make it again with: framebank index {facts.run} {facts.shown.options} --out "
                f"{path}"
            )
