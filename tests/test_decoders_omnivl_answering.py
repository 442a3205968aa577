"""Questions answered, by generation or from a list, and a training on questions."""

import json

import pytest
import torch

from decoders.omnivl.bank_source import BankSource
from decoders.omnivl.language.beams import BeamConfig
from decoders.omnivl.language.ranking import likelihoods
from decoders.omnivl.model import open_model
from decoders.omnivl.questions.answer_command import main
from decoders.omnivl.questions.answer_session import answerable, document, train_answers
from decoders.omnivl.questions.answer_training import AnswerConfig, AnswerTrainer, QuestionOrder
from decoders.omnivl.questions.answering import Readout, answers, asked_of, read_answers
from decoders.omnivl.questions.files import read_questions
from storage import Bank
from tests.small_omnivl import write_mixed_bank, write_run
from training.interrupt import StopRequest, TrainingStopped
from training.metrics import read_metrics
from training.optim import OptimConfig
from training.run import RunError, open_run
from training.session import Part

CPU = torch.device("cpu")
CONFIG = AnswerConfig(
    steps=12, batch=4, optim=OptimConfig(lr=3e-3, decay_vectors=False), log_every=1, save_every=5
)
LISTED = ("red", "blue", "a very long answer", "two")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answering")
    write_run(folder / "run", write_mixed_bank(folder / "bank"))
    lines = [
        {"key": f"{number:04d}", "question": text, "answer": answer}
        for number in range(11)
        for text, answer in (("what colour is it?", "red"), ("how many are there?", "two"))
        if number % 2 or text.startswith("what")
    ]
    (folder / "questions.json").write_text(json.dumps(lines))
    return folder


def opened(place):
    model = open_model(place / "run", CPU)
    source = BankSource(model, Bank(place / "bank"))
    return model, source, asked_of(source, read_questions(str(place / "questions.json")))


def trained(place, run, *, config=CONFIG, stop=None):
    model, source, asked = opened(place)
    trainer = AnswerTrainer(model, config)
    with open_run(run, document(trainer, model.digest, asked), {}) as directory:
        train_answers(trainer, source, asked, directory, Part(device=CPU, stop=stop or StopRequest()))
    return trainer


def test_batches_do_not_matter_and_order_is_that_of_the_questions(place):
    model, source, asked = opened(place)
    readout = Readout(beams=BeamConfig(beams=2, longest=4))
    together = sorted(answers(model, source, asked, readout))
    assert [number for number, _ in together] == list(range(len(asked.questions)))
    assert sorted(answers(model, source, asked, readout, batch=1)) == together


def test_a_list_gives_its_likeliest(place):
    model, source, asked = opened(place)
    found = dict(answers(model, source, asked, Readout(beams=BeamConfig(), listed=LISTED)))
    texts = model.tokenise(LISTED)
    for number in (0, 7):
        item = asked.items[number]
        [(_, visual)] = list(source.seen([item], 1))
        memory = model.heads.ask(visual, model.tokenise([asked.questions[number].question]))
        best = likelihoods(model.heads.generate, memory, texts).argmax()
        assert found[number] == LISTED[best]


def test_kinds_take_turns_by_their_questions(place):
    _, _, asked = opened(place)
    order = QuestionOrder(asked, CONFIG)
    assert order.counts == {"image": 7, "video": 9}
    kinds = [order.kind_at(step) for step in range(16)]
    assert kinds.count("video") == 9
    assert "video video video" not in " ".join(kinds)
    for step in range(8):
        assert {asked.items[number].kind for number in order.numbers(step)} == {kinds[step]}
    seen = [n for step in range(16) if kinds[step] == "image" for n in order.numbers(step).tolist()]
    assert [seen.count(number) for number in set(seen)] == [4] * 7


def test_what_has_no_part_in_answers_stays(place, tmp_path):
    before = open_model(place / "run", CPU)
    after = trained(place, tmp_path / "new").model
    same = {
        name: torch.equal(value, after.heads.state_dict()[name])
        for name, value in before.heads.state_dict().items()
    }
    assert all(
        same[name] for name in same if name.startswith(("text.blocks.layers", "text.project", "align.judge"))
    )
    assert not any(
        same[name] for name in same if name.startswith("generate.blocks.layers") and "weight" in name
    )
    moved = (
        not torch.equal(a, b)
        for a, b in zip(before.visual.parameters(), after.visual.parameters(), strict=True)
    )
    assert any(moved)


def test_interrupted_anywhere_it_ends_with_the_same_weights(place, tmp_path):
    class Soon(StopRequest):
        """Asks to stop at the third look."""

        looks = 0

        @property
        def requested(self):
            self.looks += 1
            return self.looks > 3

        @requested.setter
        def requested(self, value):
            pass

    straight = trained(place, tmp_path / "straight").state(12)
    with pytest.raises(TrainingStopped, match="after step 4 of 12"):
        trained(place, tmp_path / "broken", stop=Soon())
    resumed = trained(place, tmp_path / "broken").state(12)
    for part in ("visual", "heads"):
        for name, value in straight[part].items():
            assert torch.equal(value, resumed[part][name]), name
    lines = [read_metrics(tmp_path / run / "metrics.jsonl") for run in ("straight", "broken")]
    assert [line["loss"] for line in lines[0]] == [line["loss"] for line in lines[1]]
    assert open_model(tmp_path / "broken", CPU).digest == open_model(tmp_path / "straight", CPU).digest


def test_other_settings_are_another_run(place, tmp_path):
    trained(place, tmp_path / "run")
    with pytest.raises(RunError, match=r"answering\.config\.batch"):
        trained(place, tmp_path / "run", config=AnswerConfig(batch=8))


def test_questions_without_answers_teach_nothing(place, tmp_path):
    (tmp_path / "q.json").write_text(json.dumps([{"key": "0001", "question": "what is it?"}]))
    _, source, _ = opened(place)
    with pytest.raises(ValueError, match="questions with answers"):
        answerable(asked_of(source, read_questions(str(tmp_path / "q.json"))))


def test_from_training_to_accuracy_by_commands(place, tmp_path, capsys):
    lines = json.loads((place / "questions.json").read_text())
    colours = [line for line in lines if line["question"].startswith("what")]
    (tmp_path / "q.json").write_text(
        json.dumps([*colours, {"key": "0099", "question": "what?", "answer": "no"}])
    )
    words = ["--bank", str(place / "bank"), "--questions", str(tmp_path / "q.json"), "--device", "cpu"]
    new = tmp_path / "new"
    steps = ["--steps", "40", "--batch", "8", "--optim.lr", "2e-2", "--optim.warmup-steps", "0"]
    assert main(["train", str(place / "run"), *words, "--run", str(new), *steps]) == 0
    out = tmp_path / "said.jsonl"
    assert main([str(place / "run"), *words, "--out", str(out), "--longest", "4"]) == 0
    assert json.loads((tmp_path / "said.scores.json").read_text())["accuracy"]["all"] == 0.0
    assert main([str(new), *words, "--out", str(out), "--longest", "4"]) == 0
    scores = json.loads((tmp_path / "said.scores.json").read_text())
    assert scores == {"accuracy": {"all": 1.0, "what": 1.0}, "asked": 11, "unasked": 1, "absent": ["0099"]}
    assert json.loads(out.read_text().splitlines()[0])["answer"] == "red"
    (tmp_path / "answers.txt").write_text("\n".join(LISTED))
    assert main([str(new), *words, "--listed", str(tmp_path / "answers.txt")]) == 0
    one = ["--key", "0003", "--ask", "what colour is it?", "--device", "cpu", "--longest", "4"]
    assert main([str(new), "--bank", str(place / "bank"), *one]) == 0
    assert "red" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main([str(new), "--bank", str(place / "bank"), "--key", "0003"])


def test_lists_of_answers(tmp_path):
    (tmp_path / "answers.txt").write_text("yes\n\nno\nyes\n")
    assert read_answers(tmp_path / "answers.txt") == ("yes", "no")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="found none"):
        read_answers(tmp_path / "empty.txt")
    with pytest.raises(ValueError, match="correct the path"):
        read_answers(tmp_path / "nowhere.txt")
