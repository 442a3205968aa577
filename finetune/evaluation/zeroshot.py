"""`framebank zeroshot`: how well a CLIP names videos that it was not trained to name.

Classes become a matrix by Open-VCLIP's 28 templates (arXiv 2302.00624), videos a vector each
(`finetune.evaluation.video_vectors`), from the videos or from a bank whose backbone is the model. What is to
be classified:

    UCF101, HMDB51, whole     --sources LIST                                   one set
    their three test splits   --sources TEST1 TEST2 TEST3                      mean and deviation
    Kinetics-600 zero-shot    --sources SPLIT1 SPLIT2 SPLIT3 --classes A B C   mean and deviation
    half of the classes       --sources LIST --protocol half                   ten draws, mean and deviation
    Kinetics-400 closed set   --sources LIST                                   one set
    base to novel             --sources BASE NOVEL --protocol base-novel       and the harmonic mean

The deviation is that of the sets at hand (divided by n). Top-1 and top-5 are of the sum over views, as
published.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from backbones.text import class_matrix
from backbones.weights import load_clip
from decoders.precision import pick_device
from finetune.evaluation.class_names import TEMPLATES
from finetune.evaluation.config import ZeroShotConfig
from finetune.evaluation.encoding import backbone_of, bank_clips, stated, text_cache, title_of, vectors_of
from finetune.evaluation.labelled_sets import LabelledSet, half_draws, labelled_set
from finetune.evaluation.video_vectors import Vectors
from storage import Bank
from training.metrics import ClassificationScores
from training.run import write_json
from video import Clip, InputError, list_clips


def zeroshot(config: ZeroShotConfig, console: Console | None = None) -> dict[str, Any]:
    """Evaluate and write OUT/zeroshot.json; the report.

    Raises:
        InputError, BackboneError, BankError, ValueError: what the parts refuse; a bank of another backbone,
        sets without a clip.
    """
    console = console or Console(stderr=True)
    bank = Bank(config.bank) if config.bank else None
    listed = [list_clips(source, root=config.root, there=bank is None) for source in config.sources]
    sets = sets_of(config, listed, bank)
    videos = bank if bank is not None else clips_of(sets, listed)
    clip = load_clip(backbone_of(config, bank))
    clip.model.to(pick_device(config.device))
    vectors, failed = vectors_of(config, clip, videos, console)
    names = list(dict.fromkeys(name for one in sets for name in one.classes))
    with console.status(f"encoding the names of {len(names)} classes"):
        matrix = class_matrix(clip, names, TEMPLATES[config.templates], cache=text_cache(config, clip)).cpu()
    texts = dict(zip(names, clip.logit_scale * matrix, strict=True))
    reports = [score(one, vectors, texts) for one in sets]
    report = {
        "model": stated(clip),
        "protocol": config.protocol,
        "templates": config.templates,
        "failed": failed,
        "sets": reports,
        **summary(reports, config.protocol),
    }
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "zeroshot.json", report)
    return report


def sets_of(config: ZeroShotConfig, listed: Sequence[list[Clip]], bank: Bank | None) -> list[LabelledSet]:
    """The sets of a protocol."""
    files = config.classes * (max(1, len(listed)) if len(config.classes) == 1 else 1)
    files = files or ("",) * max(1, len(listed))
    sources = list(zip(config.sources, listed, strict=True))
    if bank is not None and not listed:
        sources = [(bank.path, bank_clips(bank))]
    sets = [
        labelled_set(clips, source=source, split=config.split, classes=file).thinned(config.limit)
        for (source, clips), file in zip(sources, files, strict=True)
    ]
    return half_draws(sets[0]) if config.protocol == "half" else sets


def clips_of(sets: Sequence[LabelledSet], listed: Sequence[list[Clip]]) -> list[Clip]:
    """The clips of all sets, each once. Raises InputError where two videos are called alike."""
    wanted, chosen = {key for one in sets for key in one.keys}, dict[str, Clip]()
    for clip in (clip for part in listed for clip in part if clip.key in wanted):
        other = chosen.setdefault(clip.key, clip)
        if (other.path, other.offset) != (clip.path, clip.offset):
            raise InputError(
                f"expected one video called {clip.key!r}, found {other.path} and {clip.path}; evaluate these "
                "sets one by one, each with an --out of its own"
            )
    return list(chosen.values())


def score(one: LabelledSet, vectors: Vectors, texts: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Accuracies of one set.

    Args:
        texts: the scaled embedding of every class, by its name.

    Raises:
        ValueError: no clip of the set has a vector.
    """
    there = one.where(vectors.__contains__)
    if not there.keys:
        raise ValueError(
            f"{one.name}: expected clips that were encoded, found none of {len(one.keys)} (such as "
            f"{one.keys[0] if one.keys else 'none at all'}); a bank's clips are matched by their keys"
        )
    classes = torch.stack([texts[name] for name in one.classes])
    found = torch.from_numpy(np.stack([vectors[key] for key in there.keys]))
    scores = ClassificationScores(one.classes)
    scores.update(found @ classes.T, torch.from_numpy(there.targets))
    result = scores.compute()
    return {
        "name": one.name,
        "clips": len(there.keys),
        "missing": len(one.keys) - len(there.keys),
        "classes": len(one.classes),
        **{name: result[name] for name in ("top1", "top5", "mean_class", "per_class")},
    }


def summary(reports: Sequence[dict[str, Any]], protocol: str) -> dict[str, Any]:
    """Over the sets: mean and deviation of top-1 and top-5; of base and novel the harmonic mean."""
    found = {name: [report[name] for report in reports] for name in ("top1", "top5")}
    if protocol == "base-novel":
        base, novel = found["top1"]
        harmonic = statistics.harmonic_mean([base, novel]) if base and novel else 0.0
        return {"base": base, "novel": novel, "harmonic_mean": harmonic}
    return {
        name: {"mean": statistics.fmean(values), "deviation": statistics.pstdev(values)}
        for name, values in found.items()
    }


def main(argv: Sequence[str]) -> int:
    """`framebank zeroshot --sources LIST... --name NAME --weights FILE --out FOLDER`."""
    config = tyro.cli(ZeroShotConfig, prog="framebank zeroshot", args=argv)
    report = zeroshot(config)
    Console().print(page(report))
    return 0


def page(report: dict[str, Any]) -> Table:
    """The report as a table."""
    table = Table("set", "classes", "clips", "missing", "top-1", "top-5", title=title_of(report["model"]))
    for one in report["sets"]:
        counts = [str(one[name]) for name in ("classes", "clips", "missing")]
        table.add_row(one["name"], *counts, f"{one['top1']:.3f}", f"{one['top5']:.3f}")
    table.add_section()
    if report["protocol"] == "base-novel":
        table.add_row("harmonic mean", "", "", "", f"{report['harmonic_mean']:.3f}", "")
    elif len(report["sets"]) > 1:
        spread = [
            f"{report[name]['mean']:.3f} ± {report[name]['deviation']:.3f}" for name in ("top1", "top5")
        ]
        table.add_row("mean ± deviation", "", "", "", *spread)
    return table
