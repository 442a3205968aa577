"""Means, spreads and differences by hand; what the tables and the report say."""

import json
from io import StringIO

import pytest
from rich.console import Console

from ablations.table import Panel, Question, Result, compared, in_points, show_tables, summarise, write_report

PANELS = [Panel(label="motion", split="test"), Panel(label="motion", split="far")]
ASKED = Question(name="depth", asks="How many layers?", variants=("one", "two"), published="more: about +1")
TOP1 = {"one": [0.50, 0.54, 0.52], "two": [0.56, 0.56, 0.62]}
OTHER = {"decoders": {"one": "a layer", "two": "two layers"}, "heads": 6, "seeds": 3, "steps": 5}


def figures_of(missing=(), diverged=None):
    results = [
        Result(variant=variant, seed=seed, panel=panel, report=report(panel, top1))
        for variant, values in TOP1.items()
        for seed, top1 in enumerate(values)
        for panel in PANELS
        if (variant, seed) not in missing
    ]
    rest = {"config": {"bank": "banks/some"}, "seconds": {"train": 2.5}, "diverged": diverged or {}}
    return summarise([ASKED], PANELS, results) | OTHER | rest


def report(panel, top1):
    return {"label": panel.label, "split": panel.split, "clips": 50, "chance": 0.1, "top1": top1}


def test_differences_are_taken_seed_by_seed():
    found = compared(dict(enumerate(TOP1["two"])), dict(enumerate(TOP1["one"])))
    assert found["mean"] == pytest.approx(0.58)
    assert found["std"] == pytest.approx(0.0012**0.5)
    assert found["difference"] == pytest.approx(0.06)
    assert found["difference_std"] == pytest.approx(0.0016**0.5)
    assert found["top1"] == {"0": 0.56, "1": 0.56, "2": 0.62}


def test_only_seeds_that_both_have_are_compared():
    found = compared({1: 0.6, 2: 0.7}, {0: 0.1, 1: 0.5})
    assert (found["difference"], found["difference_std"]) == (pytest.approx(0.1), None)
    nothing = compared({}, {0: 0.5})
    assert (nothing["mean"], nothing["std"], nothing["difference"]) == (None, None, None)


def test_points():
    assert in_points(0.9123, 0.0042) == "91.2 ± 0.4"
    assert in_points(0.012, None, signed=True) == "+1.2"
    assert in_points(None, None) == "-"


def test_figures_are_plain_values_of_every_question_and_panel():
    figures = figures_of()
    assert json.loads(json.dumps(figures)) == figures
    assert figures["panels"]["motion on far"] == {
        "label": "motion",
        "split": "far",
        "clips": 50,
        "chance": 0.1,
    }
    [question] = figures["questions"]
    assert question["reference"] == "one"
    assert question["rows"]["one"]["motion on test"]["difference"] == 0


def test_tables_and_report_say_what_was_found(tmp_path):
    console = Console(file=StringIO(), width=120)
    show_tables(console, figures_of())
    shown = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    text = write_report(tmp_path, figures_of()).read_text(encoding="utf-8")
    for part in ("How many layers?", "more: about +1", "58.0 ± 3.5", "+6.0 ± 4.0", "52.0 ± 2.0"):
        assert part in shown
        assert part in text
    for part in ("two: two layers", "6 decoders", "`banks/some`", "5 steps each, 3 seeds", "train 2.5 s"):
        assert part in text
    assert "diverged" not in text


def test_a_decoder_that_diverged_is_named_and_counts_nowhere(tmp_path):
    figures = figures_of(missing={("two", 2)}, diverged={"two-motion-2": "the loss is nan at step 3"})
    text = write_report(tmp_path, figures).read_text(encoding="utf-8")
    assert "56.0 ± 0.0 | +4.0 ± 2.8" in text
    assert "* two-motion-2: the loss is nan at step 3" in text
