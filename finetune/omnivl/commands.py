"""What is done with a pre-trained model, of a bank or of files: `decoders.omnivl`'s commands with both.

    framebank index RUN --sources images.csv videos.csv --out INDEX
    framebank caption RUN --sources clips.csv --split "" --out said.jsonl

A model that was trained end to end has its tower; one that learned from a bank is told that of its bank with
`--name` and `--weights`, and refuses another.
"""

from collections.abc import Sequence

from decoders.omnivl.captions import captioning
from decoders.omnivl.finding import indexing, retrieving, search
from decoders.omnivl.model import OmniVLModel, Source
from decoders.omnivl.opening import Opener, source_of_bank
from decoders.omnivl.questions import answer_command
from decoders.omnivl.shown import Shown
from finetune.omnivl.eyes import visual_of
from finetune.omnivl.live_source import FileSource


def source_of(model: OmniVLModel, shown: Shown, split: str) -> Source:
    """The images and clips of a bank, or of files."""
    return source_of_bank(model, shown, split) if shown.bank else FileSource(model, shown, split)


BANKS_AND_FILES = Opener(see=visual_of, source=source_of)
"""Runs of either tier, shown a bank or files."""


def index(argv: Sequence[str]) -> int:
    """`framebank index`."""
    return indexing.main(argv, BANKS_AND_FILES)


def find(argv: Sequence[str]) -> int:
    """`framebank search`."""
    return search.main(argv, BANKS_AND_FILES)


def retrieve(argv: Sequence[str]) -> int:
    """`framebank retrieve`."""
    return retrieving.main(argv, BANKS_AND_FILES)


def caption(argv: Sequence[str]) -> int:
    """`framebank caption`."""
    return captioning.main(argv, BANKS_AND_FILES)


def answer(argv: Sequence[str]) -> int:
    """`framebank answer`."""
    return answer_command.main(argv, BANKS_AND_FILES)
