"""`framebank answer`: questions about images and clips, answered and judged.

A question goes through the alignment decoder with a look at the visual tokens; its states are what the
generation decoder writes the answer from (BLIP's form of VQA, arXiv 2201.12086). Two readouts: the answer
that a beam search finds, of ten tokens at most, or the likeliest of a closed list, of which the likeliest
first tokens are judged in full. A model that was pre-trained on captions has never been asked anything: it
needs some steps on questions first (`framebank answer train`, `decoders.omnivl.questions.answer_command`).
"""

from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from decoders.omnivl.items import Item
from decoders.omnivl.language.beams import BeamConfig, generate
from decoders.omnivl.language.memory import Memory
from decoders.omnivl.language.ranking import ranked_answers
from decoders.omnivl.language.vocabulary import detokenise
from decoders.omnivl.model import OmniVLModel, Source
from decoders.omnivl.questions.answer_scores import accuracies
from decoders.omnivl.questions.asked import Question, QuestionSet
from decoders.omnivl.schedule import KINDS
from decoders.omnivl.visual import VisualOut

ASKED = 128
"""Questions that go through together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Readout:
    """How an answer is read out."""

    beams: BeamConfig
    """How it is generated where there is no list."""
    listed: tuple[str, ...] = ()
    """A closed list of answers; empty: answers are generated."""
    top: int = 128
    """Of the list, how many are judged in full; BLIP's number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Questions with the items that they are about."""

    questions: tuple[Question, ...]
    items: tuple[Item, ...]
    """One each."""
    absent: tuple[str, ...] = ()
    """Clips of the file that are not there, or cannot be seen."""
    unasked: int = 0
    """Questions about these."""


def asked_of(source: Source, questions: QuestionSet) -> Asked:
    """The questions whose images and clips are there. Raises ValueError where none is."""
    known = {key: item for kind in KINDS for item in source.items(kind) for key in item.keys}
    found = questions.among(known)
    return Asked(
        questions=found.questions,
        items=tuple(known[one.key] for one in found.questions),
        absent=found.absent,
        unasked=found.unasked,
    )


def answered_of(asked: Asked, said: Mapping[int, str]) -> tuple[Asked, list[str]]:
    """The questions that have an answer, by number, and these: what could not be seen was not asked about."""
    kept = sorted(said)
    lost = [one.key for number, one in enumerate(asked.questions) if number not in said]
    there = replace(
        asked,
        questions=tuple(asked.questions[number] for number in kept),
        items=tuple(asked.items[number] for number in kept),
        absent=(*asked.absent, *dict.fromkeys(lost)),
        unasked=asked.unasked + len(lost),
    )
    return there, [said[number] for number in kept]


def answers(
    model: OmniVLModel, source: Source, asked: Asked, readout: Readout, *, batch: int = 32
) -> Generator[tuple[int, str], None, None]:
    """The number of each question about what can be seen, with its answer; those about one item are answered
    together.
    """
    listed = model.tokenise(readout.listed).to(model.device) if readout.listed else None
    for kind in KINDS:
        numbers: dict[int, list[int]] = defaultdict(list)
        for number, item in enumerate(asked.items):
            if item.kind == kind:
                numbers[item.row].append(number)
        items = list({item.row: item for item in asked.items if item.kind == kind}.values())
        with closing(source.seen(items, batch)) as found:
            for some, visual in found:
                pairs = [(place, number) for place, item in enumerate(some) for number in numbers[item.row]]
                for start in range(0, len(pairs), ASKED):
                    rows, chosen = zip(*pairs[start : start + ASKED], strict=True)
                    texts = [asked.questions[number].question for number in chosen]
                    said = answered(model, visual.rows(torch.tensor(rows)), texts, readout, listed)
                    yield from zip(chosen, said, strict=True)


@torch.inference_mode()
def answered(
    model: OmniVLModel,
    visual: VisualOut,
    questions: Sequence[str],
    readout: Readout,
    listed: Int64[Tensor, "K L"] | None,
) -> list[str]:
    """An answer to each question about each image or clip, row by row."""
    memory: Memory = model.heads.ask(visual, model.tokenise(questions).to(model.device))
    decoder = model.heads.generate
    if listed is None:
        return detokenise(model.tokenise, generate(decoder, memory, readout.beams).tokens.cpu())
    best = ranked_answers(decoder, memory, listed, top=readout.top).texts[:, 0].tolist()
    return [readout.listed[place] for place in best]


def accuracy_of(asked: Asked, said: Sequence[str], *, people: bool) -> dict[str, float]:
    """Accuracy of all questions whose answers are known, and of each kind; nothing where none is."""
    known = [number for number, one in enumerate(asked.questions) if one.answers]
    if not known:
        return {}
    questions = [asked.questions[number] for number in known]
    return dict(accuracies(questions, [said[number] for number in known], people=people))


def read_answers(path: Path) -> tuple[str, ...]:
    """A closed list from a file, an answer a line. Raises ValueError where there is none."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: expected a text file with an answer a line, found: {error}; correct the path"
        ) from error
    found = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not found:
        raise ValueError(f"{path}: expected an answer a line, found none")
    return found
