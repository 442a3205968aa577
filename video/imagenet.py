"""ImageNet's class names and the labels of its validation images, from the files that come with it.

    train/n01440764/n01440764_10026.JPEG      the folder is the class, a WordNet id
    val/ILSVRC2012_val_00000001.JPEG          flat; the class stands in LOC_val_solution.csv
    LOC_synset_mapping.txt                    n01440764 tench, Tinca tinca

These files lie beside the images or in a folder above (`ILSVRC/Data/CLS-LOC/train` has four). A class's
number is its line in the mapping, also where only some classes are there, and its name the first of its
synonyms. Other names in the same form, such as CoOp's classnames.txt, which tells the two cranes apart, go
first. Without a mapping WordNet ids are names like others. ILSVRC2012_validation_ground_truth.txt numbers
classes in the order of a Matlab file, and is not read.
"""

import csv
import os
import re
from collections.abc import Iterable, Mapping

from video.errors import InputError

SYNSET = re.compile(r"n\d{8}$")
VALIDATION = re.compile(r"(ILSVRC2012_val_\d{8})\.JPEG$", re.IGNORECASE)
NAMES = ("classnames.txt", "LOC_synset_mapping.txt", "synset_words.txt")
SOLUTION = "LOC_val_solution.csv"
LEVELS = 5


def synset_labels(folder: str, classes: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Numbers and names of WordNet ids; none where the classes are others, or nothing names them.

    Raises InputError for a line of another form, or a class that the file does not name.
    """
    found = list(classes)
    path = _above(folder, NAMES) if found and all(map(SYNSET.match, found)) else ""
    if not path:
        return {}
    labels = {synset: (number, name) for number, (synset, name) in enumerate(_names(path).items())}
    unknown = [name for name in found if name not in labels]
    if unknown:
        raise InputError(
            f"expected a name for each class of {folder} in {path}; found none for {unknown[0]} and "
            f"{len(unknown) - 1} more; give the file that belongs to these images, or move it away"
        )
    return labels


def validation_classes(folder: str, names: Iterable[str]) -> dict[str, str]:
    """WordNet ids of validation images by their paths; none where there are none, or no solution of them.

    Raises InputError for a line of another form, or an image that is not in the solution.
    """
    images = {name: match[1] for name in names if (match := VALIDATION.match(os.path.basename(name)))}
    path = _above(folder, (SOLUTION,)) if images else ""
    if not path:
        return {}
    solution = _solution(path)
    unknown = [name for name, image in images.items() if image not in solution]
    if unknown:
        raise InputError(
            f"expected a class for each validation image in {path}; found none for {unknown[0]} and "
            f"{len(unknown) - 1} more; restore the file"
        )
    return {name: solution[image] for name, image in images.items()}


def _above(folder: str, names: Iterable[str]) -> str:
    """The first of some files in a folder or one of those above; empty where there is none."""
    place = os.path.abspath(folder)
    for _ in range(LEVELS):
        for name in names:
            if os.path.isfile(os.path.join(place, name)):
                return os.path.join(place, name)
        place = os.path.dirname(place)
    return ""


def _names(path: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for line, text in enumerate(file, 1):
            synset, _, words = text.strip().partition(" ")
            if not synset:
                continue
            if not SYNSET.match(synset) or not words.strip() or synset in found:
                raise InputError(
                    f"{path}, line {line}: expected a WordNet id, new, and a name; found {text.strip()!r}; "
                    "correct the line"
                )
            found[synset] = words.split(",")[0].strip()
    return found


def _solution(path: str) -> dict[str, str]:
    """The class of each image: the first word of its prediction, whose others are boxes."""
    found: dict[str, str] = {}
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        for line, cells in enumerate(csv.reader(file), 1):
            synset = cells[1].split(" ", 1)[0] if len(cells) == 2 else ""
            if SYNSET.match(synset):
                found[cells[0]] = synset
            elif cells and line > 1:
                raise InputError(
                    f"{path}, line {line}: expected an image and its class, as in "
                    f"'ILSVRC2012_val_00000001,n01751748 111 108 431 323'; found {','.join(cells)!r}; "
                    "correct the line"
                )
    return found
