"""`framebank answer train`: a training on questions, from a pre-trained run to a run of its own.

    framebank answer train RUN --bank BANK --questions train_qa.json --run NEW [--steps 5000]

The new run directory has a pre-training's form, so all that opens one opens the other. What a step sees is a
function of seed and step: the same command goes on after an interruption, to the same weights. Where several
people answered (VQAv2) each step draws one of their answers, so each counts as often as it was given.
"""

import hashlib
import json
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from jaxtyping import Int64
from rich.console import Console
from torch import Tensor

from decoders.dataset import Batch, Choice, read_ahead
from decoders.draws import Draws
from decoders.omnivl.bank_source import BankSource
from decoders.omnivl.model import open_model
from decoders.omnivl.questions.answer_training import AnswerConfig, AnswerTrainer, QuestionOrder
from decoders.omnivl.questions.answering import Asked, asked_of
from decoders.omnivl.questions.files import read_questions
from decoders.omnivl.schedule import Kind
from decoders.precision import pick_device
from storage import Bank
from training.checkpoint import save_checkpoint
from training.display import Display
from training.interrupt import INTERRUPTED, StopRequest, TrainingStopped
from training.losses import LossLines
from training.run import RunDirectory, open_run
from training.session import Part, flush, lines_of, refuse_diverged, restored
from training.team import ALONE


@dataclass(slots=True)
class AnswerTraining:
    """A training on questions under way."""

    trainer: AnswerTrainer
    source: BankSource
    asked: Asked
    directory: RunDirectory
    lines: LossLines
    done: int

    def run(self, stop: StopRequest) -> None:
        """All steps that are left.

        Raises:
            TrainingStopped: `stop` said so; everything is saved. Diverged: a loss is no number.
        """
        config = self.trainer.config
        order = QuestionOrder(self.asked, config)
        steps = range(self.done, config.steps)
        with ExitStack() as stack:
            streams = {
                kind: stack.enter_context(closing(self._batches(kind, order, steps)))
                for kind, count in order.counts.items()
                if count
            }
            for step in steps:
                batch = next(streams[order.kind_at(step)])
                losses = self.trainer.learn(
                    step, [block.out for block in batch.features], *self._texts(step, batch.targets.cpu())
                )
                self.done = step + 1
                self.lines.add(self.done, losses, self.trainer.rate(step))
                self._settle(stopping=stop.requested)

    def _batches(self, kind: Kind, order: QuestionOrder, steps: range) -> Generator[Batch, None, None]:
        """Features of a kind's steps, with the numbers of their questions."""
        return read_ahead(self.source.reader(kind), self._choices(kind, order, steps))

    def _choices(self, kind: Kind, order: QuestionOrder, steps: range) -> Iterator[Choice]:
        for step in steps:
            if order.kind_at(step) == kind:
                numbers = order.numbers(step)
                yield np.array([self.asked.items[number].row for number in numbers], np.int64), numbers

    def _texts(
        self, step: int, numbers: Int64[Tensor, " N"]
    ) -> tuple[Int64[Tensor, "N L"], Int64[Tensor, "N L"]]:
        """Questions, and of each an answer."""
        config, model = self.trainer.config, self.trainer.model
        draws = Draws(
            seed=config.seed,
            step=step,
            rows=slice(0, len(numbers)),
            total=len(numbers),
            device=torch.device("cpu"),
        )
        chosen = [self.asked.questions[number] for number in numbers.tolist()]
        luck = draws.uniform("answers").tolist()
        answers = [
            one.answers[int(share * len(one.answers))] for one, share in zip(chosen, luck, strict=True)
        ]
        texts = ([one.question for one in chosen], answers)
        questions, said = (model.tokenise(some).to(model.device) for some in texts)
        return questions, said

    def _settle(self, *, stopping: bool) -> None:
        """What is due after a step."""
        config, last = self.trainer.config, self.done == self.trainer.config.steps
        saving = stopping or last or self.done % config.save_every == 0
        if saving or self.done % config.log_every == 0:
            flush(self.lines, self.directory, ALONE)
        if saving:
            save_checkpoint(self.directory.path, self.trainer.state(self.done), keep=config.keep)
        if stopping and not last:
            raise TrainingStopped(
                f"stopped after step {self.done} of {config.steps}; the same command goes on"
            )


def train_answers(
    trainer: AnswerTrainer, source: BankSource, asked: Asked, directory: RunDirectory, part: Part
) -> int:
    """Take the steps that are left; how many there were before.

    Raises:
        TrainingStopped, Diverged: as `AnswerTraining.run`.
    """
    refuse_diverged(directory)
    done = restored(trainer.restore, directory, part.team)
    lines, complete = lines_of(directory, done, part), False
    training = AnswerTraining(
        trainer=trainer, source=source, asked=asked, directory=directory, lines=lines, done=done
    )
    try:
        training.run(part.stop)
        complete = True
    finally:
        lines.close(complete=complete)
    return done


def answerable(asked: Asked) -> Asked:
    """The questions whose answers are known. Raises ValueError where none is."""
    kept = [number for number, one in enumerate(asked.questions) if one.answers]
    if not kept:
        raise ValueError(
            f"expected questions with answers to learn from, found none among {len(asked.questions)}; give "
            "the file of the train split, VQAv2's with --annotations"
        )
    return replace(
        asked,
        questions=tuple(asked.questions[number] for number in kept),
        items=tuple(asked.items[number] for number in kept),
    )


def document(trainer: AnswerTrainer, begun_from: str, asked: Asked) -> dict[str, Any]:
    """What the run is, for its directory: that of a pre-training, and how it went on."""
    model = trainer.model
    pairs = [
        (item.row, one.question, one.answers) for item, one in zip(asked.items, asked.questions, strict=True)
    ]
    questions = {"count": len(pairs), "digest": hashlib.sha256(json.dumps(pairs).encode()).hexdigest()}
    answering = {"config": asdict(trainer.config), "begun_from": begun_from, "questions": questions}
    return {"config": model.config.to_json(), "tier": dict(model.tier), "answering": answering}


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerTrainCommand:
    """Train a pre-trained model on questions; the same command goes on."""

    pretrained: Annotated[Path, tyro.conf.Positional]
    """Run directory of the pre-training."""
    bank: str
    """Folder or URL of the bank."""
    questions: str
    """A file of questions with answers: VQAv2's, MSRVTT-QA's, MSVD-QA's, or lines of one's own."""
    run: Path
    """Run directory of this training; made if new, gone on with if the same."""
    annotations: str = ""
    """VQAv2's annotations, where they are not beside its questions."""
    device: str = "auto"
    """auto, cpu or cuda."""
    config: Annotated[AnswerConfig, tyro.conf.arg(name="")] = field(default_factory=AnswerConfig)


def main(argv: Sequence[str]) -> int:
    """`framebank answer train RUN --bank BANK --questions FILE --run NEW`."""
    command = tyro.cli(AnswerTrainCommand, prog="framebank answer train", args=argv)
    console, start = Console(), time.perf_counter()
    model = open_model(command.pretrained, pick_device(command.device))
    source = BankSource(model, Bank(command.bank))
    asked = answerable(asked_of(source, read_questions(command.questions, answers=command.annotations)))
    trainer = AnswerTrainer(model, command.config)
    try:
        with (
            open_run(
                command.run, document(trainer, model.digest, asked), {"bank": command.bank}
            ) as directory,
            Display(console, command.config.steps, "") as display,
            StopRequest() as stop,
        ):
            part = Part(device=model.device, stop=stop, watch=display.show)
            done = train_answers(trainer, source, asked, directory, part)
    except TrainingStopped as stopped:
        console.print(str(stopped), soft_wrap=True)
        return INTERRUPTED
    console.print(
        f"{command.config.steps} steps, {done} of them before, on {len(asked.questions):,} questions, "
        f"{time.perf_counter() - start:.1f} s; run directory: {command.run}",
        soft_wrap=True,
    )
    return 0
