"""The command line of a sweep: a recipe, what varies, how it is searched."""

import re
from dataclasses import replace

import pytest

from decoders.sweeps.choices import Choices, Range
from decoders.sweeps.command import main, parse
from decoders.sweeps.config import SearchPlan
from decoders.sweeps.recipes import SWEEPS
from decoders.sweeps.trials import settings
from tests.small_runs import write_learnable_bank
from tests.small_sweeps import sweep_config

WHERE = ["--bank", "b", "--folder", "f"]


def test_a_recipe_with_overrides():
    options = ["--label", "motion", "--optim.warmup-steps", "5", "--search", "random", "--trials", "4"]
    options += ["--seeds", "3", "--halving", "0", "--heads", "4", "--ray", "--ray-cpus", "2"]
    found = parse(["shapes", *WHERE, "--vary", "optim.lr=log:1e-4:1e-2", "decoder.layers=1,2", *options])
    usual = SWEEPS["shapes"]()
    assert found.config == replace(
        usual,
        base=replace(usual.base, label="motion", optim=replace(usual.base.optim, warmup_steps=5)),
        vary={"optim.lr": Range("log", 1e-4, 1e-2), "decoder.layers": Choices((1, 2))},
        plan=SearchPlan(search="random", trials=4, seeds=3),
    )
    assert (found.places.heads, found.ray.ray, found.ray.ray_cpus) == (4, True, 2)


@pytest.mark.parametrize("name", SWEEPS)
def test_recipes_are_what_they_say(name):
    config = SWEEPS[name]()
    assert parse([name, *WHERE]).config == config
    found = settings(config)
    assert len({setting.text for setting in found}) == len(found) > 1
    document = SWEEPS[name].__doc__
    assert f"framebank sweep {name} " in document
    assert all(word in document for word in ("Command:", "Hardware:", "Expected:"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vary", "lr=1,2"], r"near it: optim\.lr"),
        (["--vary", "optim.lr=log:1e-4:1e-2"], "number of points for a grid"),
        (["--halving", "1"], "halving must be 0"),
        (["--heads", "0"], "heads must be at least 1"),
    ],
)
def test_mistakes(options, message, capsys):
    with pytest.raises((ValueError, SystemExit)) as caught:
        parse(["shapes", *WHERE, *options])
    said = capsys.readouterr()
    text = f"{caught.value}{said.out}{said.err}".replace("│", "")
    assert re.search(message, " ".join(text.split()))


def test_a_config_of_no_recipe_is_refused():
    with pytest.raises(ValueError, match="expected a training recipe"):
        replace(sweep_config(), recipe="nothing")


def test_main_sweeps_and_says_what_won(tmp_path, capsys):
    bank = write_learnable_bank(tmp_path / "bank", train=20, test=8)
    small = ["--steps", "4", "--batch-size", "4", "--eval-split", "test", "--decoder.heads", "2"]
    argv = ["shapes", "--bank", str(bank), "--folder", str(tmp_path / "f"), *small]
    argv += ["--vary", "optim.lr=1e-3,1e-2", "--halving", "0", "--device", "cpu"]
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert "round 1/1: 2 trainings on 1 reads of the bank" in text
    assert "winner for label: setting 00" in text
    assert "framebank train shapes --bank" in text
    assert main(argv) == 0
    assert "winner for label" in capsys.readouterr().out
