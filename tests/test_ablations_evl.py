"""EVL's ablations: what differs between the decoders, and a whole one on a small bank."""

import json
from dataclasses import asdict, replace
from io import StringIO

import pytest
from rich.console import Console

from ablations.evl import EvlConfig, heads_of, panels_of, run_evl, train_config
from ablations.variants import QUESTIONS, VARIANTS
from storage import Bank
from tests.small_banks import small_spec
from tests.small_runs import write_learnable_bank
from training.metrics import read_metrics


def quiet() -> Console:
    return Console(file=StringIO(), width=160)


def decoder(variant):
    return train_config(EvlConfig(), variant, "motion", 0).decoder


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    spec = small_spec(blocks=(0, 1, 2, 3))
    return write_learnable_bank(tmp_path_factory.mktemp("ablate") / "bank", spec=spec)


def test_each_question_changes_what_it_asks_for_and_nothing_else():
    def differing(question):
        first, *others = [asdict(decoder(variant)) for variant in question.variants]
        return {name for other in others for name in other if other[name] != first[name]}

    temporal = {"temporal_conv", "temporal_position", "cross_frame"}
    assert {question.name: differing(question) for question in QUESTIONS} == {
        "tokens": {"tokens"},
        "blocks": {"multi_layer"},
        "depth": {"layers"},
        "temporal": temporal,
    }
    assert {variant for question in QUESTIONS for variant in question.variants} == set(VARIANTS)
    for name, module in (("convolution", "temporal_conv"), ("cross-frame", "cross_frame")):
        assert {flag for flag in temporal if getattr(decoder(name), flag)} == {module}


def test_heads_share_the_order_and_everything_but_what_they_are():
    heads = heads_of(EvlConfig())
    assert len(heads) == len(VARIANTS) * 2 * 3 == len({head.name for head in heads})
    plain = {replace(config, label="", seed=0, decoder=decoder("1 layer")) for config in heads.values()}
    assert len(plain) == 1
    assert (plain.pop().order_seed, {config.eval_split for config in heads.values()}) == (0, {""})
    short = heads_of(EvlConfig(short=True))
    assert ({config.steps for config in heads.values()}, {c.steps for c in short.values()}) == ({200}, {40})
    own = heads_of(EvlConfig(bank="bank", recipe="k400-b16-8f"))
    assert {config.steps for config in own.values()} == {50_000}
    assert {head.seed for head in short} == {0, 1}


def test_what_is_learned_and_where_it_is_tested():
    names = [panel.name for panel in panels_of(EvlConfig())]
    assert names == ["appearance on test", "motion on test", "motion on test_pairs"]
    own = EvlConfig(bank="bank", labels=("label", "parity"), split="val")
    assert [panel.name for panel in panels_of(own)] == ["label on val", "parity on val"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"steps": -1}, "steps must be at least 0"),
        ({"recipe": "none"}, "recipe must be one of k400"),
        ({"split": "val"}, "test splits of their own, found 'val'"),
        ({"eval_bank": "other"}, "test splits of their own, found 'other'"),
        ({"labels": ("colour",)}, "labelled appearance and motion, asked for colour"),
    ],
)
def test_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        panels_of(EvlConfig(**wrong))


def test_a_whole_ablation_and_again(bank, tmp_path):
    config = EvlConfig(folder=tmp_path, bank=str(bank), labels=("parity",), steps=3, seeds=1)
    figures = run_evl(replace(config, threads=1), quiet())
    folder = tmp_path / "evl"
    assert json.loads((folder / "evl.json").read_text()) == json.loads(json.dumps(figures))
    assert figures["heads"] == len(list((folder / "runs").iterdir())) == len(VARIANTS)
    cell = figures["questions"][0]["rows"]["4 layers"]["parity on test"]
    report = json.loads((folder / "runs" / "4-layers-parity-0" / "evaluation-test.json").read_text())
    assert cell["top1"]["0"] == report["top1"]
    assert (folder / "accuracies.png").stat().st_size > 20_000
    assert all(question.asks in (folder / "report.md").read_text() for question in QUESTIONS)
    lines = {path: path.read_text() for path in (folder / "runs").glob("*/metrics.jsonl")}
    again = run_evl(replace(config, threads=1), quiet())
    assert again["questions"] == figures["questions"]
    assert {path: path.read_text() for path in lines} == lines
    assert [line["step"] for line in read_metrics(next(iter(lines)))] == [1, 2, 3]


def test_what_a_bank_cannot_serve_is_told_before_anything_is_trained(bank, tmp_path):
    path = write_learnable_bank(tmp_path / "bank")
    assert len(Bank.open(path).spec.blocks) == 2
    with pytest.raises(ValueError, match="a decoder of 4 layers reads 4 blocks"):
        run_evl(EvlConfig(folder=tmp_path / "out", bank=str(path), threads=1), quiet())
    other = EvlConfig(folder=tmp_path / "out", bank=str(bank), eval_bank=str(path), threads=1)
    with pytest.raises(ValueError, match="is no bank this run can be evaluated on"):
        run_evl(other, quiet())
    with pytest.raises(ValueError, match="expected written clips in split 'final'"):
        run_evl(replace(other, eval_bank="", split="final"), quiet())
    assert not (tmp_path / "out").exists()
