"""What a fine-tuning reads: clips with classes to learn from, and to be tested on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune.evaluation.labelled_sets import LabelledSet, labelled_set
from finetune.tuning.config import TuneConfig
from video import Clip, InputError, list_clips


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where a fine-tuning finds its clips; which they are, and not where, is part of what a run is."""

    source: str
    """List, folder of class folders, or tars, to train on."""
    eval_source: str = ""
    """The same to evaluate on; empty evaluates nothing while training, unless eval_split names a part of the
    source."""
    root: str = ""
    """Folder that the lists' paths are relative to; by default each list's own."""
    classes: str = ""
    """File of class names; by default the lists' own, or *index2cls.json beside them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """Clips with their classes."""

    clips: tuple[Clip, ...]
    labels: LabelledSet
    """Of the same clips, in the same order."""

    def describe(self) -> dict[str, Any]:
        """What decides losses: which clips, of which classes."""
        lines = [self.labels.keys, self.labels.targets.tolist()]
        return {
            "clips": len(self.clips),
            "digest": hashlib.sha256(json.dumps(lines).encode()).hexdigest(),
        }


def training_material(config: TuneConfig, sources: Sources) -> Material:
    """The clips to train on. Raises InputError where there are none, or a label is outside the classes."""
    return _material(sources.source, config.split, sources)


def test_material(config: TuneConfig, sources: Sources, classes: Sequence[str]) -> Material | None:
    """The clips to evaluate on, of the same classes; None where nobody asked.

    Raises InputError as `training_material`; other classes than those trained on.
    """
    if not sources.eval_source and not config.eval_split:
        return None
    found = _material(sources.eval_source or sources.source, config.eval_split, sources)
    if found.labels.classes != tuple(classes):
        source = sources.eval_source or sources.source
        raise InputError(
            f"expected the {len(classes)} classes trained on in {source}, found {len(found.labels.classes)}, "
            "or others, or in another order; name one list of classes with --classes"
        )
    return found


def _material(source: str, split: str, sources: Sources) -> Material:
    listed = list_clips(source, root=sources.root)
    labels = labelled_set(listed, source=source, split=split, classes=sources.classes)
    by_key = {clip.key: clip for clip in listed}
    return Material(clips=tuple(by_key[key] for key in labels.keys), labels=labels)
