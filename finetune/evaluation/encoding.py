"""The CLIP that is evaluated, and its vectors of videos or of a bank's clips.

What every evaluation without training shares: a bank names its own backbone, so it needs no `--name`, and is
refused with any other, since its embeddings would be compared with texts of another space; videos go through
the tower, each vector into a journal, so an interrupted evaluation goes on where it was.
"""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from rich.console import Console
from rich.progress import track

from backbones.config import BackboneConfig
from backbones.text_cache import TextCache, text_digest
from backbones.weights import LoadedClip
from decoders.precision import pick_device
from finetune.evaluation.config import EncodingConfig
from finetune.evaluation.video_vectors import Journal, Vectors, bank_vectors, encoded
from storage import Bank
from video import Clip, ViewPlan


def backbone_of(config: EncodingConfig, bank: Bank | None) -> BackboneConfig:
    """The model that is asked for, or the one that made the bank. Raises ValueError where nobody says."""
    made = bank.manifest.made if bank is not None and not config.name else {}
    name = config.name or made.get("backbone", "")
    if not name:
        raise ValueError("expected a model, found none; name it with --name and, where needed, --weights")
    window, boundary = config.window, config.boundary
    if bank is not None and window is None:
        window, boundary = bank.spec.backbone.view
    quick_gelu = bank.spec.backbone.quick_gelu if bank is not None else None
    weights = config.weights or made.get("weights", "")
    options: dict[str, Any] = {"window": window, "boundary": boundary, "quick_gelu": quick_gelu}
    return BackboneConfig(name=name, weights=weights, precision=config.precision, **options)


def bank_clips(bank: Bank) -> list[Clip]:
    """The clips that a bank lists, without their files."""
    columns = ["key", "label", "class_name", "split", "captions"]
    lines = bank.listing.select(columns).to_pylist()
    return [Clip(path="", **(line | {"captions": tuple(line["captions"] or ())})) for line in lines]


def vectors_of(
    config: EncodingConfig, clip: LoadedClip, source: Bank | Sequence[Clip], console: Console
) -> tuple[Vectors, dict[str, str]]:
    """Vectors of a bank's clips, or of those given, and why some have none.

    Raises ValueError for a bank of another backbone, or frames of another size than the tower's.
    """
    if isinstance(source, Bank):
        refuse_another(source, clip)
        total = source.listing.num_rows
        return dict(track(bank_vectors(source), "reading the bank", total=total, console=console)), {}
    refuse_size(clip, config.views)
    tower = clip.tower().to(pick_device(config.device))
    journal = Journal(config.out / "vectors.jsonl", identity_of(clip, config.views))
    left = [one for one in source if one.key not in journal.known]
    found = encoded(tower, left, config.views, processes=config.decode_processes)
    with closing(journal), closing(found):
        for key, vector in track(found, "encoding videos", total=len(left), console=console):
            journal.add(key, vector)
    return journal.vectors, journal.failed


def text_cache(config: EncodingConfig, clip: LoadedClip) -> TextCache:
    """What the CLIP's text tower made of texts before."""
    return TextCache(config.text_cache or config.out / "texts", text_digest(clip))


def refuse_size(clip: LoadedClip, plan: ViewPlan, *, option: str = "views") -> None:
    """Raise ValueError where views, those of an option, are of another size than the tower's frames."""
    if plan.hw != clip.size:
        raise ValueError(
            f"{clip.name} sees frames of {clip.size} pixels, --{option}.size asks for {plan.hw}; set it to "
            f"{clip.size[0]}"
        )


def identity_of(clip: LoadedClip, plan: ViewPlan) -> dict[str, Any]:
    """What decides the vectors of videos."""
    return {
        "digest": clip.digest,
        "precision": clip.precision,
        "quick_gelu": clip.quick_gelu,
        "temporal_view": str(clip.view),
        "plan": plan.to_json(),
        "mean": clip.mean,
        "std": clip.std,
    }


def refuse_another(bank: Bank, clip: LoadedClip) -> None:
    """Raise ValueError where a bank's embeddings are not the model's."""
    tower, seen = bank.spec.backbone, bank.spec.backbone.temporal
    view = None if seen is None else f"window {seen.window}, boundary {seen.boundary}"
    if (clip.digest, clip.view and str(clip.view)) != (tower.weights, view):
        raise ValueError(
            f"the embeddings in {bank.path} are those of {tower.name} {tower.weights[:12]} "
            f"({view or 'plain CLIP'}), asked for is {clip.name} {clip.digest[:12]} "
            f"({clip.view or 'plain CLIP'}); evaluate a bank with the backbone that made it"
        )


def stated(clip: LoadedClip) -> dict[str, str]:
    """The model, as reports state it."""
    return {"name": clip.name, "digest": clip.digest, "temporal_view": str(clip.view or "none")}


def title_of(model: dict[str, str]) -> str:
    """The same in a line, above a table."""
    return f"{model['name']} {model['digest'][:12]}, temporal view: {model['temporal_view']}"
