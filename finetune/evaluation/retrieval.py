"""`framebank retrieval`: how well a CLIP finds videos by captions and captions by videos, untrained for it.

A caption is its unit text embedding, as it is, without a prompt; a video is the mean of its unit frame
embeddings (`finetune.evaluation.video_vectors`; with several views, of all). What is searched:

    MSR-VTT 1k-A                --sources MSRVTT_JSFUSION_test.csv --root VIDEOS
    the same, all 20 captions   --sources MSRVTT_JSFUSION_test.csv --captions MSRVTT_data.json --root VIDEOS
    MSR-VTT's own test set      --sources MSRVTT_data.json --split test --root VIDEOS
    lists of ids                --sources MSRVTT_train.9k.csv --captions MSRVTT_data.json --root VIDEOS
    DiDeMo, as paragraphs       --sources test_data.json --paragraphs --root VIDEOS
    COCO's and Flickr30K's 5k, 1k   --sources dataset_coco.json --split test --root IMAGES
    a bank                      --bank BANK, by its own captions or by those of any of these lists

Scores are cosines by default: the mean is made a unit vector again, as in `meanP`, the form of CLIP4Clip
(arXiv 2104.08860) that has no parameters. `--scores mean` leaves it as it is, which gives the mean of the
frames' cosines, by which a zero-shot classification ranks its classes. The mean is the shorter the more its
frames differ, so a video of many scenes then stands further behind for every caption, whatever it shows; that
is why cosines are the default. From video to text both give the same order.

Recall at 1, 5 and 10, median and mean rank both ways; `decoders.ranks` says how ranks and ties are counted.
Videos that are missing, or were not decoded, take no part and nor do their captions: they are counted, and
named in the report. Numbers compare with published ones where none is.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from backbones.text import text_embeddings
from backbones.text_cache import TextCache
from backbones.weights import LoadedClip, load_clip
from decoders.precision import pick_device
from decoders.ranks import RECALLS, ranks, summary
from finetune.evaluation.captioned_sets import (
    CaptionedSet,
    as_paragraphs,
    captioned_clips,
    captioned_set,
    with_captions,
)
from finetune.evaluation.config import RetrievalConfig
from finetune.evaluation.encoding import backbone_of, bank_clips, stated, text_cache, title_of, vectors_of
from finetune.evaluation.video_vectors import Vectors
from storage import Bank
from training.run import write_json
from video import Clip
from video.inputs import places_below

TEXTS = 256
"""Captions that are encoded at once."""
WAYS = {"text_to_video": "text to video", "video_to_text": "video to text"}


def retrieval(config: RetrievalConfig, console: Console | None = None) -> dict[str, Any]:
    """Evaluate and write OUT/retrieval.json; the report.

    Raises:
        InputError, BackboneError, BankError, ValueError: what the parts refuse; a bank of another backbone,
        sets without a caption or a video.
    """
    console = console or Console(stderr=True)
    bank = Bank(config.bank) if config.bank else None
    sets = sets_of(config, bank)
    clip = load_clip(backbone_of(config, bank))
    clip.model.to(pick_device(config.device))
    chosen = {one.key: one for each in sets for one in each.clips}
    vectors, failed = vectors_of(config, clip, bank if bank is not None else list(chosen.values()), console)
    there = [each.where(vectors.keys()) for each in sets]
    texts = encoded_texts(clip, there, text_cache(config, clip), console)
    report = {
        "model": stated(clip),
        "scores": config.scores,
        "failed": {key: why for key, why in failed.items() if key in chosen},
        "sets": [score(each, vectors, texts, config.scores, console) for each in there],
    }
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "retrieval.json", report)
    return report


def sets_of(config: RetrievalConfig, bank: Bank | None) -> list[CaptionedSet]:
    """The sets that are asked for: of the sources each, or of the bank."""
    banked = bank_clips(bank) if bank is not None else None
    texts = captioned_clips(config.captions, there=False) if config.captions else []
    sets = []
    for source in config.sources or (config.bank,):
        clips, places = banked or [], None
        if config.sources:
            clips = captioned_clips(source, root=config.root, there=bank is None)
        if config.captions:
            clips = with_captions(clips, texts, source=source, captions=config.captions)
        if config.paragraphs:
            clips = as_paragraphs(clips)
        if config.sources:
            places = banked if bank is not None else places_of(clips, config.root, source)
        sets.append(
            captioned_set(clips, source=source, split=config.split, limit=config.limit, places=places)
        )
    return sets


def places_of(clips: Sequence[Clip], root: str, source: str) -> list[Clip] | None:
    """The videos among which those of a list of ids are; None where the list says itself."""
    if all(clip.path for clip in clips):
        return None
    return places_below(root, source)


def encoded_texts(
    clip: LoadedClip, sets: Sequence[CaptionedSet], cache: TextCache, console: Console
) -> dict[str, Tensor]:
    """The unit embedding of every caption, each encoded once, unless the cache has it."""
    texts = list(dict.fromkeys(text for each in sets for one in each.clips for text in one.captions))

    def encode(some: Sequence[str]) -> Tensor:
        batches = text_embeddings(clip, some, batch=TEXTS)
        total = -(-len(some) // TEXTS)
        bar = track(batches, "encoding captions", total=total, console=console)
        return torch.cat([batch.cpu() for batch in bar])

    return dict(zip(texts, cache.encoded(texts, encode), strict=True))


def score(
    each: CaptionedSet, vectors: Vectors, texts: Mapping[str, Tensor], scores: str, console: Console
) -> dict[str, Any]:
    """Ranks of one set, both ways, and what of it is missing."""
    videos = torch.from_numpy(np.stack([vectors[one.key] for one in each.clips]))
    owners = [place for place, one in enumerate(each.clips) for _ in one.captions]
    captions = [text for one in each.clips for text in one.captions]
    by_text, by_video = ranks(
        F.normalize(videos, dim=-1) if scores == "cosine" else videos,
        torch.stack([texts[text] for text in captions]),
        torch.tensor(owners),
        watch=partial(track, description="comparing", console=console),
    )
    return {
        "name": each.name,
        "videos": len(each.clips),
        "captions": len(captions),
        "missing": len(each.absent),
        "missing_captions": sum(len(one.captions) for one in each.absent),
        "uncaptioned": each.uncaptioned,
        "absent": [one.key for one in each.absent],
        "text_to_video": summary(by_text),
        "video_to_text": summary(by_video),
    }


def main(argv: Sequence[str]) -> int:
    """`framebank retrieval --sources LIST --name NAME --weights FILE --out FOLDER`."""
    config = tyro.cli(RetrievalConfig, prog="framebank retrieval", args=argv)
    report = retrieval(config)
    console = Console()
    console.print(page(report))
    for each in report["sets"]:
        if each["missing"]:
            console.print(
                f"{each['name']}: {each['missing']} of {each['videos'] + each['missing']} videos are missing "
                f"(such as {each['absent'][0]}) and took no part; {config.out}/retrieval.json names them"
            )
    return 0


def page(report: dict[str, Any]) -> Table:
    """The report as a table, a row a direction."""
    table = Table("set", title=title_of(report["model"]))
    for name in ("", "R@1", "R@5", "R@10", "median", "mean"):
        table.add_column(name, no_wrap=True)
    for each in report["sets"]:
        counts = ", ".join(f"{each[name]:,} {name}" for name in ("videos", "captions", "missing"))
        for (way, words), said in zip(WAYS.items(), (each["name"], counts), strict=True):
            found = each[way]
            recalls = [f"{found[f'recall_at_{k}']:.3f}" for k in RECALLS]
            table.add_row(said, words, *recalls, f"{found['median_rank']:g}", f"{found['mean_rank']:.1f}")
        table.add_section()
    return table
