"""What a search costs: one query among 100,000 images and clips, in two stages.

    python -m benchmarks.retrieval [--quick] [--folder FOLDER]

writes an index of random unit vectors (E = 256) and alignment tokens (33 of width 512, fp16; 3.5 GB) and asks
it one sentence at a time, by heads of OmniVL's default size with random weights, K = 128 (quick: 2,000 items
of 5 tokens of width 32, small heads). Every round takes the rivals in turn.

`search_ms`, `stage_one_ms`, `stage_two_ms`: wall time of a query and of its stages, files in the page cache
(`warm`) or dropped from it and the index opened anew (`cold`); the first search also reads the list of
items. `stage_one_mb`, `stage_two_mb`: bytes that a query reads of the index; `bank_mb`: what stage two would
read of a bank, one block of 8 frames of a B/16 for each candidate, and `bank_over_index` how many times as
much that is. `text_ms`: the query's own vector.

Stage one is exact; `nearest_over_product`: how many times as long it takes as the bare product of its vectors
with the query. `fp16_over_fp32`: vectors stored in fp16, half the bytes, over those in fp32.
`faiss_over_nearest`: faiss's exact flat index over stage one, where faiss is installed (null where not):
above 1 stage one is faster.
"""

import argparse
import importlib
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import nn

from benchmarks.disk import evict, files_of, work_folder
from benchmarks.result import print_figures, write_result
from benchmarks.rounds import ratio, rounded
from decoders.draws import seeded
from decoders.omnivl.config import HeadsConfig, PretrainConfig
from decoders.omnivl.finding.index import ARRAYS, INDEX, ITEMS, Index, IndexFacts
from decoders.omnivl.finding.search import Effort, Searcher
from decoders.omnivl.finding.two_stage import TwoStage, nearest
from decoders.omnivl.items import Item
from decoders.omnivl.language.heads import OmniVLHeads
from decoders.omnivl.language.vocabulary import text_tokenizer
from decoders.omnivl.model import OmniVLModel
from training.run import write_json

QUERY = "a red circle that moves left"
BANK_ROW = 8 * 197 * 768 * 2
"""Bytes of a block's tokens of a clip, 8 frames of a B/16 in fp16."""
PIECE = 1000
WEIGHTS = "random"


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """An index and who searches it."""

    items: int
    tokens: int
    heads: HeadsConfig
    candidates: int
    rounds: int


FULL = Size(items=100_000, tokens=33, heads=HeadsConfig(), candidates=128, rounds=5)
QUICK = Size(
    items=2000,
    tokens=5,
    heads=HeadsConfig(
        width=32, heads=4, embed=16, text_layers=1, align_layers=1, generate_layers=1, merges=1000
    ),
    candidates=32,
    rounds=2,
)


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description="What a search in two stages costs.")
    parser.add_argument("--quick", action="store_true", help="a small index and small heads")
    parser.add_argument(
        "--folder", type=Path, help="where the index is made; by default among temporary files"
    )
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    with work_folder(options.folder, 2 * index_bytes(size)) as folder:
        write_random_index(folder / "index", size)
        figures = measure(folder / "index", size)
    print_figures(f"one query among {size.items:,}, {torch.get_num_threads()} threads", figures)
    write_result("retrieval-quick" if options.quick else "retrieval", figures)


def index_bytes(size: Size) -> int:
    """Of an index's arrays."""
    return size.items * (4 * size.heads.embed + 2 * size.tokens * size.heads.width)


def write_random_index(path: Path, size: Size) -> None:
    """An index of nothing: vectors and tokens drawn at random, a line for each item."""
    draw, heads = np.random.default_rng(0), size.heads
    facts = IndexFacts(
        images=0,
        videos=size.items,
        embed=heads.embed,
        width=heads.width,
        tokens=size.tokens,
        averaged=False,
        split="",
        run="",
        checkpoint="",
        weights=WEIGHTS,
        bank="",
        fingerprint="",
        rows="",
    )
    path.mkdir()
    arrays = {
        name: open_memmap(path / f"{name}.npy", mode="w+", dtype=ARRAYS[name], shape=shape)
        for name, shape in facts.shapes().items()
    }
    for start in range(0, size.items, PIECE):
        piece = slice(start, start + PIECE)
        vectors = draw.standard_normal(arrays["embeddings"][piece].shape, np.float32)
        arrays["embeddings"][piece] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        arrays["tokens"][piece] = draw.standard_normal(arrays["tokens"][piece].shape, np.float32)
    arrays["lengths"][:] = size.tokens
    for values in arrays.values():
        values.flush()
    with (path / ITEMS).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(item.to_json()) + "\n" for item in items(size.items))
    write_json(path / INDEX, facts.to_json())


def items(count: int) -> Iterator[Item]:
    """Clips with a name and a caption."""
    for number in range(count):
        yield Item(
            kind="video",
            row=number,
            keys=(f"clips/{number:06d}.mp4",),
            split="test",
            captions=(f"clip number {number}",),
            attributes={},
        )


def random_model(size: Size) -> OmniVLModel:
    """Heads that were never trained; nothing is seen, so nothing sees."""
    with seeded(0):
        heads = OmniVLHeads(size.heads).eval().requires_grad_(False)
    return OmniVLModel(
        config=PretrainConfig(heads=size.heads),
        visual=nn.Identity(),
        heads=heads,
        tier={},
        checkpoint=Path(),
        digest=WEIGHTS,
        tokenise=text_tokenizer(size.heads.context, size.heads.words),
    )


def measure(path: Path, size: Size) -> dict[str, Any]:
    """All figures."""
    model = random_model(size)
    model.tokenise([QUERY])  # the vocabulary is loaded at the first call
    efforts: dict[str, list[Effort]] = {"cold": [], "warm": []}
    whole: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(size.rounds):
        evict(files_of(path))
        searcher = Searcher(model, Index(path))
        for how in efforts:
            searcher.effort, start = Effort(), time.perf_counter()
            searcher.search([QUERY], how=TwoStage(candidates=size.candidates))
            whole[how].append(time.perf_counter() - start)
            efforts[how].append(searcher.effort)
        del searcher  # pages that are mapped cannot be dropped
    one = efforts["warm"][0]
    figures: dict[str, Any] = {"items": size.items, "candidates": size.candidates}
    for how, found in efforts.items():
        figures[f"search_ms_{how}"] = milliseconds(whole[how])
        for stage, name in (("stage_one", "compared_seconds"), ("stage_two", "judged_seconds")):
            figures[f"{stage}_ms_{how}"] = milliseconds([getattr(effort, name) for effort in found])
    return figures | {
        "text_ms": milliseconds([effort.text_seconds for effort in efforts["warm"]]),
        "stage_one_mb": rounded(one.compared_bytes / 1e6),
        "stage_two_mb": rounded(one.judged_bytes / 1e6),
        "bank_mb": rounded(one.pairs * BANK_ROW / 1e6),
        "bank_over_index": rounded(one.pairs * BANK_ROW / one.judged_bytes),
        **compare(np.array(Index(path).embeddings), size),
    }


def compare(vectors: NDArray[np.float32], size: Size) -> dict[str, Any]:
    """Stage one against the bare product, vectors in fp16, and faiss; all in memory."""
    query, half = vectors[:1].copy(), vectors.astype(np.float16)
    rivals: dict[str, Callable[[], object]] = {
        "nearest": lambda: nearest(vectors, query, size.candidates),
        "product": lambda: vectors @ query[0],
        "half": lambda: nearest(half, query, size.candidates),
    }
    if importlib.util.find_spec("faiss") is not None:
        flat = importlib.import_module("faiss").IndexFlatIP(vectors.shape[1])
        flat.add(vectors)
        rivals["faiss"] = lambda: flat.search(query, size.candidates)
    for rival in rivals.values():
        rival()  # memory of the first time
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(size.rounds):
        for name, rival in rivals.items():
            start = time.perf_counter()
            rival()
            seconds[name].append(time.perf_counter() - start)
    ours = seconds["nearest"]
    return {
        "nearest_ms": milliseconds(ours),
        "nearest_over_product": ratio(ours, seconds["product"]),
        "fp16_over_fp32": ratio(seconds["half"], ours),
        "faiss_over_nearest": ratio(seconds["faiss"], ours) if "faiss" in seconds else None,
    }


def milliseconds(seconds: list[float]) -> float:
    """Of the median round."""
    return rounded(1000 * statistics.median(seconds))


if __name__ == "__main__":
    main()
