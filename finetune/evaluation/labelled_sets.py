"""What is to be classified: the clips of a list, their classes, and the draws of a protocol.

Data sets are distributed as lists (`video.lists` reads them): UCF101's and HMDB51's own split files,
`path,label` as Open-VCLIP has them (its labels are numbers, the names stand in `*index2cls.json` beside the
list), tables with a header. A protocol is one such set or several: three test splits, the three splits of 160
new classes of Kinetics-600, ten draws of half the classes, base and novel classes.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finetune.evaluation.class_names import read_classes, words_of
from video import Clip, InputError

DRAWS, DRAW_SEED = 10, 2023
"""Draws of half the classes, and the seed with which Open-VCLIP's are drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledSet:
    """Clips to classify among some classes."""

    name: str
    """What it is called in reports."""
    keys: tuple[str, ...]
    """The clips."""
    targets: NDArray[np.int64]
    """(n,) their classes."""
    classes: tuple[str, ...]
    """K names in words."""

    def among(self, chosen: Sequence[int], name: str) -> "LabelledSet":
        """The clips of some classes, to be classified among these alone."""
        place = {label: new for new, label in enumerate(chosen)}
        kept = [number for number, label in enumerate(self.targets.tolist()) if label in place]
        return LabelledSet(
            name=name,
            keys=tuple(self.keys[number] for number in kept),
            targets=np.array([place[int(self.targets[number])] for number in kept], dtype=np.int64),
            classes=tuple(self.classes[label] for label in chosen),
        )

    def where(self, kept: Callable[[str], bool]) -> "LabelledSet":
        """Those of its clips that a condition on their keys keeps."""
        return self._take([number for number, key in enumerate(self.keys) if kept(key)])

    def thinned(self, limit: int) -> "LabelledSet":
        """At most so many of its clips, spread over all; 0 keeps every one."""
        every = np.arange(len(self.keys))
        return self if not limit else self._take(every[:: -(-len(every) // limit)].tolist())

    def _take(self, chosen: list[int]) -> "LabelledSet":
        return LabelledSet(
            name=self.name,
            keys=tuple(self.keys[number] for number in chosen),
            targets=self.targets[chosen],
            classes=self.classes,
        )


def labelled_set(clips: Iterable[Clip], *, source: str, split: str = "", classes: str = "") -> LabelledSet:
    """The clips of a source that have a label.

    Args:
        clips: as listed. source: their list or folder, for the set's name and for errors.
        split: only clips of this split, or of several, joined by commas; empty takes all.
        classes: file of class names; empty takes those of the only `*index2cls.json` beside the list, or the
            list's own.

    Raises:
        InputError: no clips in the split, no labels, a label outside the classes, classes without names.
    """
    listed = list(clips)
    splits = split.split(",") if split else []
    chosen = [clip for clip in listed if clip.label >= 0 and (not splits or clip.split in splits)]
    if not chosen:
        known = ", ".join(repr(name) for name in sorted({clip.split for clip in listed})) or "none"
        raise InputError(
            f"{source}: expected labelled clips in split {split!r}, found none; its splits: {known}"
        )
    names, chosen = _classes_of(source, classes, listed), sorted(chosen, key=lambda clip: clip.key)
    labels = _labels_of(chosen, names, source, given=bool(classes))
    return LabelledSet(
        name=set_name(source),
        keys=tuple(clip.key for clip in chosen),
        targets=np.array(labels, dtype=np.int64),
        classes=tuple(words_of(name) for name in names),
    )


def half_draws(whole: LabelledSet) -> list[LabelledSet]:
    """Ten sets of half of the classes, the very ones that Open-VCLIP's own lists hold."""
    generator, draws = random.Random(DRAW_SEED), []
    for number in range(DRAWS):
        order = list(range(len(whole.classes)))
        generator.shuffle(order)
        draws.append(whole.among(sorted(order[: len(order) // 2]), f"{whole.name}, half {number}"))
    return draws


def set_name(source: str) -> str:
    """A list's name with that of its folder, since lists of splits are often all called `test.csv`."""
    path = Path(source)
    return "/".join(part for part in (path.parent.name, path.name) if part)


def _classes_of(source: str, classes: str, listed: Sequence[Clip]) -> tuple[str, ...]:
    beside = sorted(Path(source).parent.glob("*index2cls.json")) if Path(source).is_file() else []
    if classes or len(beside) == 1:
        return read_classes(Path(classes) if classes else beside[0])
    named = {clip.label: clip.class_name for clip in listed if clip.label >= 0}
    missing = [label for label in range(max(named) + 1) if not named.get(label)]
    if missing:
        raise InputError(
            f"{source}: expected names for its classes, found none for label {missing[0]}; name a file that "
            "lists them with --classes"
        )
    return tuple(named[label] for label in range(len(named)))


def _labels_of(clips: Sequence[Clip], names: Sequence[str], source: str, *, given: bool) -> list[int]:
    """Labels as places in `names`: by name where the list has names and the classes were given apart."""
    place = {words_of(name).lower(): label for label, name in enumerate(names)}
    labels = []
    for clip in clips:
        by_name = given and bool(clip.class_name)
        label = place.get(words_of(clip.class_name).lower(), -1) if by_name else clip.label
        if not 0 <= label < len(names):
            found = repr(clip.class_name) if by_name else clip.label
            raise InputError(
                f"{source}: expected a label among the {len(names)} classes, found {found} for {clip.key}; "
                "give the list of classes that belongs to it with --classes"
            )
        labels.append(label)
    return labels
