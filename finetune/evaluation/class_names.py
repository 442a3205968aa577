"""Class names as CLIP's text tower should read them, and the files that list them.

Data sets write their classes as file names: `ApplyEyeMakeup` (UCF101), `brush_hair` (HMDB51), `"air
drumming"` (Kinetics). A prompt wants words. One rule serves all: quotes go, underscores are spaces, and a
capital after a small letter begins a word, except in YoYo, which Open-VCLIP (arXiv 2302.00624) reads as Yoyo.

Lists of classes come as `{"0": "name"}` or `{"name": 0}` (Open-VCLIP's index2cls and cls2index), as `1 Name`
(UCF101's classInd.txt, from 1), as `id,name` with a header (Kinetics), or as one name a line.
"""

import csv
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from backbones.text import ACTION_TEMPLATES, PHOTO_TEMPLATES
from finetune.evaluation.config import Templates
from video import InputError

TEMPLATES: Mapping[Templates, tuple[str, ...]] = {"action": ACTION_TEMPLATES, "photo": PHOTO_TEMPLATES}
"""The prompts that names are put into, by what a config calls them."""
AS_ONE_WORD = {"YoYo": "Yoyo", "HandStandPushups": "Handstand Pushups"}
CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
NUMBERED = re.compile(r"(\d+)[\s,]+(\S.*)$")


def words_of(name: str) -> str:
    """A class's name in words."""
    plain = name.strip().strip("\"'").strip()
    spaced = AS_ONE_WORD.get(plain) or CAPITAL.sub(" ", plain.replace("_", " "))
    return " ".join(spaced.split())


def read_classes(path: Path) -> tuple[str, ...]:
    """The names that a file lists, in the order of their labels, as they are written there.

    Raises:
        InputError: no such file, a form that is none of these, a label that is missing or named twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a list of classes, found: {error}; correct the path") from error
    numbered = _of_json(text, path) if text.lstrip().startswith(("{", "[")) else _of_lines(text)
    names = _in_order(numbered, path)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: expected every class once, found {twice!r} twice; remove one of the two")
    if len(names) < 2:
        raise InputError(f"{path}: expected at least two classes, found {len(names)}; name one a line")
    return names


def _of_json(text: str, path: Path) -> dict[int, str]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, found a damaged file ({error}); restore it") from error
    pairs: Iterable[tuple[object, object]] = enumerate(values)
    if isinstance(values, Mapping):
        pairs = values.items()
    found: dict[int, str] = {}
    for key, value in pairs:
        label, name = (value, key) if type(value) is int else (key, value)
        if not str(label).isdecimal() or not isinstance(name, str):
            raise InputError(
                f'{path}: expected {{"0": "name"}} or {{"name": 0}}, found {key!r}: {value!r}; correct it'
            )
        if int(str(label)) in found:
            raise InputError(f"{path}: expected every label once, found {label} twice; remove one of the two")
        found[int(str(label))] = name
    return found


def _of_lines(text: str) -> dict[int, str]:
    """Lines, each with a label before the name or none with one; labels may begin at 1."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and re.match(r"(id|label|index|class)\s*,\s*(name|class)", lines[0].lower()):
        lines = lines[1:]
    matches = [NUMBERED.match(line) for line in lines]
    if not all(matches):
        return dict(enumerate(lines))
    numbered = {int(match[1]): next(csv.reader([match[2]]))[0] for match in matches if match}
    first = 1 if numbered and 0 not in numbered else 0
    return {label - first: name for label, name in numbered.items()}


def _in_order(numbered: Mapping[int, str], path: Path) -> tuple[str, ...]:
    missing = [label for label in range(len(numbered)) if label not in numbered]
    if missing:
        raise InputError(
            f"{path}: expected names for the labels 0 to {len(numbered) - 1}, found none for {missing[0]}; "
            "correct the numbering"
        )
    return tuple(numbered[label] for label in range(len(numbered)))
