"""What a pre-training learns from: images or clips, each with captions, a class, or both.

UniVLC takes triples (visual, text, id). A caption's id is its clip's, so all captions of a clip are
positives of it, and clips of equal content are one. A class name, in a prompt, has the id of its class,
which all images and clips of the class share. Both kinds of ids are in one range, that of classes far above
that of clips.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoders.omnivl.schedule import Kind

CLASS_IDS = 1 << 40
"""The id of class 0; the other classes follow."""
NO_CLASS = -1

Line = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """n images, or n clips, that have a text."""

    kind: Kind
    rows: NDArray[np.int64]
    """(n, V) where their views are: rows of a bank, or places in a list."""
    ids: NDArray[np.int64]
    """(n,) equal for equal content."""
    captions: tuple[tuple[str, ...], ...]
    """Texts about each; empty where it has a class only."""
    classes: NDArray[np.int64]
    """(n,) place in the list of classes; -1 for none."""
    names: tuple[str, ...]
    """The classes, in words; shared by images and clips."""
    textless: int = 0
    """How many more there are, without caption or class; nothing can be learned from them."""

    def __len__(self) -> int:
        return len(self.rows)

    def describe(self) -> dict[str, Any]:
        """As part of what a run is."""
        return {
            "samples": len(self),
            "captions": sum(map(len, self.captions)),
            "classes": len(self.names),
            "textless": self.textless,
        }


def class_names(lines: Iterable[Line], label: str) -> tuple[str, ...]:
    """The classes of a set of labels, in words, in alphabetical order; none where no line has one."""
    return tuple(sorted({name for line in lines if (name := class_of(line, label))}))


def class_of(line: Line, label: str) -> str:
    """The class of a clip in words; empty where it has none, or no set of labels is asked for."""
    if label != "label":
        return dict(line["attributes"]).get(label, "") if label else ""
    if line["label"] < 0:
        return ""
    return in_words(line["class_name"] or str(line["label"]))


def in_words(name: str) -> str:
    """`riding_a_bike` as it is said."""
    return name.replace("_", " ")


def samples_of(
    lines: Sequence[Line], rows: NDArray[np.int64], *, kind: Kind, label: str, names: tuple[str, ...]
) -> Samples:
    """The samples of some clips, in their order, those without any text left out.

    Args:
        lines: a mapping per clip with `label`, `class_name`, `captions` and `attributes`, as a bank's table
        has. rows: (n, V) their rows. label: the set of labels. names: all classes, as `class_names` gives
        them.

    Raises:
        ValueError: none has a text.
    """
    place = {name: number for number, name in enumerate(names)}
    classes = np.array([place.get(class_of(line, label), NO_CLASS) for line in lines], np.int64)
    captions = [tuple(text for text in map(str.strip, line["captions"]) if text) for line in lines]
    kept = np.array([bool(texts) for texts in captions], bool) | (classes != NO_CLASS)
    if not kept.any():
        raise ValueError(
            f"expected {kind}s with captions or classes to learn from, found none among {len(lines)}; "
            "extract them from a list that has captions, or name another --label"
        )
    chosen = np.flatnonzero(kept)
    return Samples(
        kind=kind,
        rows=rows[chosen],
        ids=rows[chosen, 0],
        captions=tuple(captions[number] for number in chosen),
        classes=classes[chosen],
        names=names,
        textless=int((~kept).sum()),
    )
