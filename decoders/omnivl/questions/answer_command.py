"""`framebank answer`: the command, for a file of questions, for one question, or to train on questions.

framebank answer RUN --bank BANK --questions test_qa.json [--listed answers.txt] [--out said.jsonl]
framebank answer RUN --sources clips.csv --questions test_qa.json
framebank answer RUN --bank BANK --key clips/0007.mp4 --ask "what colour is it?"
framebank answer train RUN --bank BANK --questions train_qa.json --run NEW
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from decoders.omnivl.captions.captioning import SHOWN, longest_of
from decoders.omnivl.language.beams import BeamConfig
from decoders.omnivl.opening import BANKS, Opener, tell_failed
from decoders.omnivl.questions import answer_session
from decoders.omnivl.questions.answering import (
    Asked,
    Readout,
    accuracy_of,
    answered_of,
    answers,
    asked_of,
    read_answers,
)
from decoders.omnivl.questions.asked import Question, QuestionSet
from decoders.omnivl.questions.files import read_questions
from decoders.omnivl.shown import Shown
from training.run import write_json

LONGEST = 10
"""Tokens of an answer by default, its end among them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerCommand:
    """Answers to questions about images and clips; `framebank answer train` learns to give them."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory of a training on questions."""
    shown: Annotated[Shown, tyro.conf.arg(name="")]
    questions: str = ""
    """A file of questions: VQAv2's, MSRVTT-QA's, MSVD-QA's, or lines of one's own."""
    annotations: str = ""
    """VQAv2's annotations, where they are not beside its questions."""
    key: str = ""
    """Key of the one image or clip that --ask is about."""
    ask: str = ""
    """One question, in place of a file."""
    listed: Path | None = None
    """A text file with an answer a line: the likeliest of them is taken; by default answers are generated."""
    top: int = 128
    """Answers of the list that are judged in full."""
    beams: int = 3
    """Beginnings that the search keeps; 1 is greedy."""
    longest: int = 0
    """Most tokens of a generated answer; 0: 10, or the model's context where that is less."""
    batch: int = 32
    """Items that are seen at once."""
    out: Path | None = None
    """A .jsonl file for a line each; accuracies go beside it, to NAME.scores.json."""
    device: str = "auto"
    """auto, cpu or cuda."""

    def __post_init__(self) -> None:
        if bool(self.questions) == bool(self.ask) or bool(self.ask) != bool(self.key):
            raise ValueError("expected --questions FILE, or --key KEY with --ask QUESTION; give one of both")

    def asked(self) -> QuestionSet:
        """What is asked."""
        if self.questions:
            return read_questions(self.questions, answers=self.annotations)
        one = Question(key=self.key, question=self.ask)
        return QuestionSet(name="--ask", questions=(one,), people=False)


def main(argv: Sequence[str], opener: Opener = BANKS) -> int:
    """`framebank answer RUN --bank BANK --questions FILE`, or `framebank answer train RUN ... --run NEW`."""
    if argv[:1] == ["train"]:
        return answer_session.main(argv[1:])
    command = tyro.cli(AnswerCommand, prog="framebank answer", args=argv)
    model = opener.model(command.run, command.device)
    source, questions = opener.source(model, command.shown, ""), command.asked()
    asked = asked_of(source, questions)
    longest = longest_of(command.longest, model, LONGEST)
    readout = Readout(
        beams=BeamConfig(beams=command.beams, longest=longest),
        listed=read_answers(command.listed) if command.listed else (),
        top=command.top,
    )
    found = answers(model, source, asked, readout, batch=command.batch)
    bar = track(found, "answering", total=len(asked.questions), console=Console(stderr=True))
    asked, said = answered_of(asked, dict(bar))
    tell_failed(source, Console(stderr=True))
    _report(command, asked, said, accuracy_of(asked, said, people=questions.people))
    return 0


def _report(command: AnswerCommand, asked: Asked, said: Sequence[str], accuracy: dict[str, float]) -> None:
    console = Console()
    if command.out is not None:
        _write(command.out, asked, said, accuracy)
    table = Table("key", "question", "answer", "right")
    shown = len(said) if command.out is None else SHOWN
    for question, text in list(zip(asked.questions, said, strict=True))[:shown]:
        table.add_row(question.key, question.question, text, ", ".join(dict.fromkeys(question.answers)))
    console.print(table)
    if asked.absent:
        console.print(
            f"{len(asked.absent)} clips are not there (such as {asked.absent[0]}): {asked.unasked} "
            "questions about them were not asked"
        )
    for kind, share in accuracy.items():
        console.print(f"{kind}: {share:.3f}")


def _write(out: Path, asked: Asked, said: Sequence[str], accuracy: dict[str, float]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = (_line(question, text) for question, text in zip(asked.questions, said, strict=True))
    out.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    scores = {"accuracy": accuracy, "asked": len(said), "unasked": asked.unasked, "absent": asked.absent}
    write_json(out.with_suffix(".scores.json"), scores)


def _line(question: Question, text: str) -> dict[str, Any]:
    return {
        "id": question.id,
        "key": question.key,
        "question": question.question,
        "answer": text,
        "answers": list(question.answers),
    }
