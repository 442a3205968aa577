"""`framebank tradeoff`: what fine-tuning gains on its own classes, against what it costs on all others.

A fine-tuned CLIP mixed with the CLIP that it began from, share by share, is a curve: accuracy on the classes
that it was trained on to the right, on new ones upwards. Open-VCLIP (arXiv 2302.00624) shows that its curves
lie above those of plain fine-tuning, those with the temporal view above those without, and that one share is
about right for all sets.

    framebank tradeoff runs/openvclip runs/plain --closed k400/val.csv --open ucf101.csv hmdb51.csv --out OUT
    framebank tradeoff swa_2_22.pth --name ViT-B-16 --clip ViT-B-16.pt --closed val.csv --open ucf101.csv ...

A share costs as much as one `framebank zeroshot` of all sets, without its decoding.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch
import tyro
from rich.console import Console

from backbones.text import class_matrix
from decoders.precision import pick_device
from finetune.evaluation.class_names import TEMPLATES
from finetune.evaluation.encoding import refuse_size
from finetune.evaluation.labelled_sets import LabelledSet, labelled_set
from finetune.evaluation.zeroshot import score
from finetune.tradeoff.config import SetConfig, TradeoffConfig
from finetune.tradeoff.mixtures import Curve, curves_of
from finetune.tradeoff.report import CAUTION, curve_report, headline, page, point_report, write_report
from finetune.tradeoff.sweep import Point, encode_all, placed, points_of
from finetune.tradeoff.tuned import exam_views_of, tuned_of
from training.lock import RunLock
from video import Clip, list_clips

Texts = Mapping[str, torch.Tensor]
"""A class's name to its embedding."""


def tradeoff(config: TradeoffConfig, console: Console | None = None) -> dict[str, Any]:
    """Evaluate all mixtures and write OUT/tradeoff.json, .md, .png and .svg; what tradeoff.json says.

    Raises:
        RunError, ValueError: runs that are not finished or not those of a fine-tuning, weights of another
            network or CLIP, sets without a clip, views of another size.
        InputError, BackboneError: what the parts refuse.
        RunBusy: another process writes to OUT.
    """
    console = console or Console(stderr=True)
    tuned = tuned_of(config)
    sets, clips = _listed(config)
    with console.status("reading weights"):
        curves = curves_of(tuned, config.precision, pick_device(config.device))
    for curve in curves:
        refuse_size(curve.clip, config.views)
    with console.status("encoding the names of classes"):
        texts = _texts_of(curves, sets)
    config.out.mkdir(parents=True, exist_ok=True)
    with RunLock(config.out):
        points = points_of(curves, config.shares, config.views, config.out)
        encode_all(points, clips, config.views, config.decode_processes, console)
        report = _report(config, sets, points, texts)
        write_report(config.out, report)
    return report


def _listed(config: TradeoffConfig) -> tuple[list[LabelledSet], list[Clip]]:
    """All sets, the closed one first, and the clips that are in one or several of them."""
    sets, clips = [], {}
    for one in config.sets:
        found = [placed(clip) for clip in list_clips(one.source, root=one.root)]
        labelled = _labelled(one, found).thinned(config.limit)
        wanted = set(labelled.keys)
        sets.append(labelled)
        clips |= {clip.key: clip for clip in found if clip.key in wanted}
    return sets, list(clips.values())


def _labelled(one: SetConfig, clips: Sequence[Clip]) -> LabelledSet:
    return labelled_set(clips, source=one.source, split=one.split, classes=one.classes)


def _texts_of(curves: Sequence[Curve], sets: Sequence[LabelledSet]) -> dict[str, Texts]:
    """The classes of all sets for every curve, by its label; those of one CLIP and the same prompts share
    them.
    """
    names = list(dict.fromkeys(name for one in sets for name in one.classes))
    made: dict[tuple[int, str], Texts] = {}
    found = {}
    for curve in curves:
        kind = id(curve.clip.model), curve.tuned.templates
        if kind not in made:
            matrix = class_matrix(curve.clip, names, TEMPLATES[curve.tuned.templates]).cpu()
            made[kind] = dict(zip(names, matrix, strict=True))
        found[curve.tuned.label] = made[kind]
    return found


def _report(
    config: TradeoffConfig, sets: Sequence[LabelledSet], points: Sequence[Point], texts: Mapping[str, Texts]
) -> dict[str, Any]:
    """Accuracies from the journals, one of which is in memory at a time."""
    failed: dict[str, str] = {}
    curves = []
    for start in range(0, len(points), len(config.shares)):
        of_curve, found = points[start : start + len(config.shares)], []
        curve = of_curve[0].curve
        for point in of_curve:
            with closing(point.open()) as journal:
                scores = [score(one, journal.vectors, texts[curve.tuned.label]) for one in sets]
                failed |= journal.failed
            found.append(point_report(point.share, [_without_classes(one) for one in scores]))
        curves.append(curve_report(curve, found))
    wanted = {key for one in sets for key in one.keys}
    return {
        "closed": sets[0].name,
        "open": [one.name for one in sets[1:]],
        "views": config.views.to_json(),
        "precision": config.precision,
        "failed": {key: reason for key, reason in failed.items() if key in wanted},
        "curves": curves,
    }


def _without_classes(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scores.items() if name != "per_class"}


def main(argv: Sequence[str]) -> int:
    """`framebank tradeoff RUN... --closed LIST --open LIST... --out FOLDER`."""
    config = parse(argv)
    report = tradeoff(config)
    console = Console()
    console.print(page(report))
    for curve in report["curves"]:
        console.print(headline(curve), highlight=False, soft_wrap=True)
    console.print(CAUTION, highlight=False)
    console.print(f"wrote {config.out}/tradeoff.md, .json, .png and .svg", highlight=False, soft_wrap=True)
    return 0


def parse(argv: Sequence[str]) -> TradeoffConfig:
    """The request. Where nothing is said of views, they are those that the first run was tested on."""
    config = tyro.cli(TradeoffConfig, prog="framebank tradeoff", args=argv)
    views = next((found for run in config.runs if (found := exam_views_of(run)) is not None), config.views)
    return tyro.cli(
        TradeoffConfig, prog="framebank tradeoff", args=argv, default=replace(config, views=views)
    )
