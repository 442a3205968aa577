"""What is taught in the ablation of Open-VCLIP, and what is asked of a model: clips, stills and names.

Each seed draws three of the six shapes and three of the six colours. The nine kinds of objects that these
make are taught by name ("red star"). Asked are

    trained classes    the nine kinds, on other clips
    new classes        the other 27 kinds, among these
    new shapes         which of the six shapes it is, of clips that show one that was not taught
    new wordings       the nine kinds by other names, three each
    stills             all 36 kinds, whole and in one picture, as CLIP learned them

Only the first is trained. To see through the sheets is what videos teach, whatever the shape; names of other
shapes, other wordings and stills are what CLIP knows and fine-tuning may forget.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ablations.openvclip_world import KINDS, Kind, Scene
from demo.drawing import write_list
from demo.painter import HUES, SHAPES

NAME = "{colour} {shape}"
"""How a kind is called in training."""
WORDINGS = ("{shape} in {colour}", "{shape} that is {colour}", "{colour} object, a {shape}")
"""How else it may be called; the tiny CLIP's captions always put the colour before the shape."""
TAUGHT = 3
"""Shapes that are taught, and colours."""

TRAINED, NEW, NEW_SHAPES, REWORDED, STILLS = (
    "trained classes", "new classes", "new shapes", "new wordings", "stills",
)  # fmt: skip
PANELS = (TRAINED, NEW, NEW_SHAPES, REWORDED, STILLS)
"""Everything that is asked, in the order of the table."""
ZERO_SHOT = PANELS[1:]
"""What was not trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Clips or stills to classify among some names."""

    panel: str
    """One of PANELS; the accuracies of several questions of a panel are averaged."""
    scenes: tuple[int, ...]
    """Their places among all that are tested."""
    targets: tuple[int, ...]
    """For each its class, as a place in `names`."""
    names: tuple[str, ...]

    def accuracy(self, guesses: Sequence[int]) -> float:
        """Share of the scenes that were guessed right, given a place in `names` for each."""
        return float((np.array(guesses) == np.array(self.targets)).mean())


def taught_kinds(seed: int) -> list[Kind]:
    """The kinds that are taught under a seed."""
    rng = np.random.default_rng([2302, seed])
    shapes, colours = (rng.permutation(len(names))[:TAUGHT].tolist() for names in (SHAPES, HUES))
    return [kind for kind in KINDS if kind[0] in shapes and kind[1] in colours]


def name_of(kind: Kind, form: str = NAME) -> str:
    """ "red star"."""
    return form.format(shape=list(SHAPES)[kind[0]], colour=list(HUES)[kind[1]])


def questions_of(scenes: Sequence[Scene], taught: Sequence[Kind]) -> list[Question]:
    """All questions under what is taught, about test clips and stills."""
    others = [kind for kind in KINDS if kind not in taught]
    return [
        _kinds(TRAINED, scenes, taught),
        _kinds(NEW, scenes, others),
        _new_shapes(scenes, {shape for shape, _ in taught}),
        *(_kinds(REWORDED, scenes, taught, form=form) for form in WORDINGS),
        _kinds(STILLS, scenes, KINDS, split="still"),
    ]


def _kinds(
    panel: str, scenes: Sequence[Scene], kinds: Sequence[Kind], *, form: str = NAME, split: str = "test"
) -> Question:
    """The scenes of some kinds, to be classified among these."""
    chosen = [place for place, scene in enumerate(scenes) if scene.split == split and scene.kind in kinds]
    return Question(
        panel=panel,
        scenes=tuple(chosen),
        targets=tuple(kinds.index(scenes[place].kind) for place in chosen),
        names=tuple(name_of(kind, form) for kind in kinds),
    )


def _new_shapes(scenes: Sequence[Scene], taught: set[int]) -> Question:
    """The clips of other shapes, by shape among all six."""
    chosen = [
        place for place, scene in enumerate(scenes) if scene.split == "test" and scene.kind[0] not in taught
    ]
    return Question(
        panel=NEW_SHAPES,
        scenes=tuple(chosen),
        targets=tuple(scenes[place].kind[0] for place in chosen),
        names=tuple(SHAPES),
    )


def write_lesson(path: Path, scenes: Iterable[Scene], taught: Sequence[Kind]) -> Path:
    """A list of the training clips of what is taught, beside the list of all videos."""
    lines = [
        (scene.path, name_of(scene.kind))
        for scene in scenes
        if scene.split == "train" and scene.kind in taught
    ]
    return write_list(path, ("path", "label"), lines)
