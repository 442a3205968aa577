"""What a small OmniVL model knows of held-out images and clips, and what it answers."""

import csv
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from decoders.omnivl.bank_source import BankSource
from decoders.omnivl.captions.captioning import Caption, captions
from decoders.omnivl.finding.indexing import IndexCommand, write_index
from decoders.omnivl.finding.retrieving import retrieve
from decoders.omnivl.finding.search import Searcher
from decoders.omnivl.finding.two_stage import TwoStage
from decoders.omnivl.language.beams import BeamConfig
from decoders.omnivl.model import OmniVLModel, open_model
from decoders.omnivl.questions.answer_session import answerable, document, train_answers
from decoders.omnivl.questions.answer_training import AnswerConfig, AnswerTrainer
from decoders.omnivl.questions.answering import Readout, accuracy_of, answers, asked_of
from decoders.omnivl.questions.files import read_questions
from decoders.omnivl.schedule import KINDS
from decoders.omnivl.shown import Shown
from storage import Bank
from training.interrupt import StopRequest
from training.losses import Watch
from training.optim import OptimConfig
from training.run import open_run
from training.session import Part

CPU = torch.device("cpu")
CANDIDATES = 8
"""Of 48, that the alignment decoder judges."""
ASKED = {
    "shape": "what shape is it?",
    "colour": "what colour is it?",
    "image": "where is it?",
    "clip": "which way does it move?",
}
"""Attribute, or kind of a scene for its `where`, to what is asked."""


def examined(run: Path, bank: Bank, folder: Path) -> dict[str, Any]:
    """Recalls by either stage, exact captions, and clips that run backwards.

    Args:
        folder: where the index of the held-out items goes.
    """
    model = open_model(run, CPU)
    found: dict[str, Any] = {kind: found_by_text(model, bank, folder)[kind] for kind in KINDS}
    for kind in KINDS:
        said = captions_of(model, bank, "test", kind)
        found[kind]["captions"] = share([one.text in one.item.captions for one in said])
        found[kind]["examples"] = [[one.text, one.item.captions[0]] for one in said[:4]]
    backwards = captions_of(model, bank, "reversed", "video")
    found["video"]["reversed_captions"] = share([one.text in one.item.captions for one in backwards])
    flips = [one.text.endswith(f" {one.item.attributes['where']}") for one in backwards]
    found["video"]["flipped"] = share(flips)
    return found


def found_by_text(model: OmniVLModel, bank: Bank, folder: Path) -> dict[str, dict[str, Any]]:
    """Of each kind: text to visual, recall at 1 of both stages, and at as many as the second is given."""
    command = IndexCommand(
        run=model.run, shown=Shown(bank=bank.path), out=folder, split="test", full_tokens=True
    )
    source = BankSource(model, bank, split="test")
    searcher = Searcher(model, write_index(model, source, folder, command))
    scores = {"reranked": TwoStage(candidates=CANDIDATES)}
    scores["matched"] = TwoStage(candidates=CANDIDATES, score="itm")
    found: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    for name, how in scores.items():
        for kind, both in retrieve(searcher, how, split="test")["kinds"].items():
            way = both["text_to_visual"]
            found[kind]["dual"] = way["stage_one"]["recall_at_1"]
            found[kind]["among_8"] = way["candidates_recall"]
            found[kind][name] = way["stage_two"]["recall_at_1"]
    return found


def captions_of(model: OmniVLModel, bank: Bank, split: str, kind: Any) -> list[Caption]:
    """What is said of a split, greedily."""
    source = BankSource(model, bank, split=split)
    beams = BeamConfig(beams=1, longest=model.config.heads.context)
    return list(captions(model, source, source.items(kind), beams))


def share(right: Sequence[bool]) -> float:
    """How many of them, as a share."""
    return sum(right) / len(right)


def write_questions(folder: Path, listing: Path) -> dict[str, Path]:
    """Three questions about every image and clip, in a file for each split."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {split: folder / f"{split}.jsonl" for split in ("train", "test")}
    with listing.open(newline="", encoding="utf-8") as file:
        scenes = list(csv.DictReader(file))
    for split, path in paths.items():
        lines = [
            json.dumps({"key": scene["path"], "question": text, "answer": answer, "kind": kind})
            for scene in scenes
            if scene["split"] == split
            for kind, text, answer in asked_about(scene)
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return paths


def asked_about(scene: dict[str, str]) -> list[tuple[str, str, str]]:
    """What sort of question, its text and its answer."""
    by_sort = {"shape": scene["shape"], "colour": scene["colour"], scene["kind"]: scene["where"]}
    return [(f"{scene['kind']} {sort}", ASKED[sort], answer) for sort, answer in by_sort.items()]


def questioned(
    run: Path, bank: Bank, questions: dict[str, Path], *, steps: int, watch: Watch
) -> dict[str, Any]:
    """Accuracies on held-out questions, of all and of each sort, after some steps on others."""
    model = open_model(run, CPU)
    optim = OptimConfig(lr=5e-4, weight_decay=0.05, decay_vectors=False, warmup_steps=20)
    config = AnswerConfig(steps=steps, batch=32, optim=optim, save_every=200)
    source = BankSource(model, bank)
    asked = answerable(asked_of(source, read_questions(str(questions["train"]))))
    trainer = AnswerTrainer(model, config)
    answering = run.with_name(f"{run.name}-answers")
    with (
        open_run(answering, document(trainer, model.digest, asked), {}) as directory,
        StopRequest() as stop,
    ):
        train_answers(trainer, source, asked, directory, Part(device=CPU, stop=stop, watch=watch))
    model = open_model(answering, CPU)
    source = BankSource(model, bank)
    test = asked_of(source, read_questions(str(questions["test"])))
    readout = Readout(beams=BeamConfig(beams=1, longest=model.config.heads.context))
    said = [""] * len(test.questions)
    with closing(answers(model, source, test, readout)) as found:
        for number, text in found:
            said[number] = text
    return accuracy_of(test, said, people=False)
