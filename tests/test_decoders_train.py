"""Training: reproducible, resumable to the bit, and refusing what doesn't fit."""

import os
import signal
from dataclasses import replace

import pytest
import torch

from decoders.config import AugmentConfig, TrainConfig
from decoders.evaluate import evaluate
from decoders.recipes import RECIPES
from decoders.train import ResumeCommand, TrainCommand, main, parse, resume, train
from storage import Bank
from tests.small_banks import small_spec
from tests.small_runs import CONFIG, DECODER, write_learnable_bank
from training.checkpoint import CheckpointError, load_checkpoint
from training.interrupt import TrainingStopped
from training.losses import Diverged
from training.metrics import read_metrics
from training.run import RunError


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return write_learnable_bank(tmp_path_factory.mktemp("train") / "bank")


def weights(run):
    return load_checkpoint(run / f"checkpoint-{CONFIG.steps}.pth")["model"]


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def whole(bank, tmp_path_factory):
    """An uninterrupted run."""
    return train(CONFIG, bank=bank, run=tmp_path_factory.mktemp("whole") / "run").run


class Interrupt:
    """Sends itself a signal once some steps are logged."""

    def __init__(self, at, number=signal.SIGINT):
        self.at, self.number = at, number

    def __call__(self, done, values):
        if done == self.at and "loss" in values:
            os.kill(os.getpid(), self.number)


def test_it_learns_and_says_so(bank, tmp_path):
    result = train(replace(CONFIG, steps=60, eval_every=60, save_every=60), bank=bank, run=tmp_path / "run")
    losses = [line["loss"] for line in read_metrics(result.run / "metrics.jsonl") if "loss" in line]
    assert len(losses) == 60
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    assert result.scores["eval_top1"] == 1.0
    assert (result.resumed_at, result.steps) == (0, 60)


def test_same_seed_same_losses_other_seed_others(bank, whole, tmp_path):
    again = train(CONFIG, bank=bank, run=tmp_path / "a").run
    assert (again / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    assert same(weights(again), weights(whole))
    other = train(replace(CONFIG, seed=1), bank=bank, run=tmp_path / "b").run
    assert read_metrics(other / "metrics.jsonl")[0] != read_metrics(whole / "metrics.jsonl")[0]


def test_randomness_outside_neither_matters_nor_changes(bank, whole, tmp_path):
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    again = train(CONFIG, bank=bank, run=tmp_path / "a").run
    assert torch.equal(torch.rand(3), expected)
    assert same(weights(again), weights(whole))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_mid_epoch_and_gone_on_equals_uninterrupted(bank, whole, tmp_path, number):
    run = tmp_path / "run"
    with pytest.raises(TrainingStopped, match=rf"framebank train resume --run {run}"):
        train(CONFIG, bank=bank, run=run, watch=Interrupt(3, number))
    assert (run / "checkpoint-4.pth").exists()
    result = resume(run)
    assert result.resumed_at == 4
    assert (run / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    assert same(weights(run), weights(whole))


def test_killed_after_a_checkpoint_equals_uninterrupted(bank, whole, tmp_path):
    def die(done, values):
        if done == 6:
            raise MemoryError("killed")

    run = tmp_path / "run"
    with pytest.raises(MemoryError):
        train(CONFIG, bank=bank, run=run, watch=die)
    assert read_metrics(run / "metrics.jsonl")[-1]["step"] >= 5
    assert train(CONFIG, bank=bank, run=run).resumed_at == 4
    assert (run / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    assert same(weights(run), weights(whole))


def test_a_finished_run_is_a_cheap_success(bank, whole):
    result = train(CONFIG, bank=bank, run=whole)
    assert result.resumed_at == result.steps == CONFIG.steps
    assert "eval_top1" in result.scores


@pytest.mark.parametrize("pieces", [2, 3])
def test_a_batch_in_pieces_is_the_same_batch(bank, whole, tmp_path, pieces):
    split = train(replace(CONFIG, batch_split=pieces), bank=bank, run=tmp_path / "split").run
    for left, right in zip(*(read_metrics(run / "metrics.jsonl") for run in (whole, split)), strict=True):
        assert left == pytest.approx(right, abs=1e-5)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(split)[name], tensor, atol=2e-4, rtol=0)


AUGMENTED = replace(CONFIG, augment=AugmentConfig(token_dropout=0.4, mixup=0.4))


def test_augmented_training_is_its_own_resumes_to_the_bit_and_is_the_same_in_pieces(bank, whole, tmp_path):
    run = train(AUGMENTED, bank=bank, run=tmp_path / "a").run
    with pytest.raises(TrainingStopped):
        train(AUGMENTED, bank=bank, run=tmp_path / "b", watch=Interrupt(3))
    resume(tmp_path / "b")
    assert same(weights(tmp_path / "b"), weights(run))
    split = train(replace(AUGMENTED, batch_split=3), bank=bank, run=tmp_path / "c").run
    found, pieces, plain = (read_metrics(r / "metrics.jsonl") for r in (run, split, whole))
    for left, right in zip(found, pieces, strict=True):
        assert left == pytest.approx(right, abs=1e-5)
    assert found[0] != plain[0]


def test_evaluation_never_augments(bank, whole, tmp_path):
    init = str(whole / f"checkpoint-{CONFIG.steps}.pth")
    run = train(replace(AUGMENTED, init=init, steps=0), bank=bank, run=tmp_path / "run").run
    scores = [evaluate(some, bank=bank, split="test", device="cpu") for some in (run, whole)]
    assert scores[0]["confusion"] == scores[1]["confusion"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_follows_fp32_and_resumes_to_the_bit(bank, whole, tmp_path, precision):
    config = replace(CONFIG, precision=precision)
    run = train(config, bank=bank, run=tmp_path / "a").run
    for found, expected in zip(*(read_metrics(r / "metrics.jsonl") for r in (run, whole)), strict=True):
        assert found.get("loss", 0) == pytest.approx(expected.get("loss", 0), abs=0.05)
    with pytest.raises(TrainingStopped):
        train(config, bank=bank, run=tmp_path / "b", watch=Interrupt(3))
    resume(tmp_path / "b")
    assert same(weights(tmp_path / "b"), weights(run))


def test_label_smoothing_and_warmup_change_the_run(bank, whole, tmp_path):
    smooth = train(replace(CONFIG, label_smoothing=0.5), bank=bank, run=tmp_path / "a").run
    warm = train(
        replace(CONFIG, optim=replace(CONFIG.optim, warmup_steps=4)), bank=bank, run=tmp_path / "b"
    ).run
    first = read_metrics(whole / "metrics.jsonl")
    assert read_metrics(smooth / "metrics.jsonl")[0]["loss"] != first[0]["loss"]
    assert read_metrics(warm / "metrics.jsonl")[0] == first[0] | {"lr": first[0]["lr"] / 4}


def test_attribute_labels_and_views(tmp_path):
    path = write_learnable_bank(tmp_path / "bank", spec=small_spec(views=2))
    result = train(
        replace(CONFIG, label="parity", steps=60, eval_every=60, save_every=60),
        bank=path,
        run=tmp_path / "run",
    )
    assert result.scores["eval_top1"] == 1.0


def test_starts_from_given_weights(bank, whole, tmp_path):
    init = str(whole / f"checkpoint-{CONFIG.steps}.pth")
    run = train(replace(CONFIG, init=init, steps=0), bank=bank, run=tmp_path / "run").run
    assert same(load_checkpoint(run / "checkpoint-0.pth")["model"], weights(whole))
    wrong = replace(CONFIG, init=init, decoder=replace(DECODER, mlp_ratio=4.0))
    with pytest.raises(CheckpointError, match=r"mlp\.fc1\.weight"):
        train(wrong, bank=bank, run=tmp_path / "wrong")


def test_a_run_refuses_another_config_or_bank(bank, whole, tmp_path):
    with pytest.raises(RunError, match=r"config\.optim\.lr: the run has 0\.003, asked for 0\.1"):
        train(replace(CONFIG, optim=replace(CONFIG.optim, lr=0.1)), bank=bank, run=whole)
    other = write_learnable_bank(tmp_path / "other", spec=small_spec(video={"seed": 1}))
    with pytest.raises(RunError, match=rf"task\.fingerprint: the run has '{Bank.open(bank).fingerprint}'"):
        train(CONFIG, bank=other, run=whole)
    fewer = write_learnable_bank(tmp_path / "fewer", train=19)
    with pytest.raises(RunError, match=r"data\.clips: the run has 20, asked for 19"):
        train(CONFIG, bank=fewer, run=whole)


def test_a_bank_that_cannot_serve_the_config(bank, tmp_path):
    with pytest.raises(ValueError, match="holds 2 \\(2, 3\\); take fewer layers"):
        train(replace(CONFIG, decoder=replace(DECODER, layers=3)), bank=bank, run=tmp_path / "a")
    blind = write_learnable_bank(tmp_path / "bank", spec=small_spec(attention="none"))
    with pytest.raises(ValueError, match="keeps attention=none of block 2"):
        train(CONFIG, bank=blind, run=tmp_path / "a")
    config = replace(CONFIG, decoder=DECODER.without_temporal())
    assert train(config, bank=blind, run=tmp_path / "b").steps == CONFIG.steps
    assert not (tmp_path / "a").exists()


def test_the_last_blocks_are_read(bank, tmp_path):
    config = replace(CONFIG, decoder=replace(DECODER, layers=1), steps=1)
    train(config, bank=bank, run=tmp_path / "run")
    assert '"blocks": [\n      3\n    ]' in (tmp_path / "run" / "config.json").read_text()


def test_a_loss_that_is_no_number_ends_the_run(bank, tmp_path):
    config = replace(CONFIG, optim=replace(CONFIG.optim, lr=1e30))
    with pytest.raises(Diverged, match="step"):
        train(config, bank=bank, run=tmp_path / "run")


def test_command_line_is_a_recipe_with_overrides():
    argv = [
        "shapes",
        "--bank",
        "b",
        "--run",
        "r",
        "--label",
        "motion",
        "--decoder.no-cross-frame",
        "--optim.lr",
        "0.5",
    ]
    command = parse(argv)
    assert isinstance(command, TrainCommand)
    shapes = RECIPES["shapes"]()
    expected = replace(
        shapes,
        label="motion",
        decoder=replace(shapes.decoder, cross_frame=False),
        optim=replace(shapes.optim, lr=0.5),
    )
    assert command.config == expected
    assert (str(command.bank), str(command.run)) == ("b", "r")
    assert isinstance(parse(["resume", "--run", "r"]), ResumeCommand)
    with pytest.raises(SystemExit):
        parse(["shapes", "--run", "r"])


def test_main_trains_and_goes_on(bank, tmp_path, capsys):
    run = tmp_path / "run"
    small = ["--steps", "2", "--batch-size", "4", "--eval-split", "test", "--decoder.heads", "2"]
    assert main(["shapes", "--bank", str(bank), "--run", str(run), *small]) == 0
    assert "2 steps, eval_top1" in capsys.readouterr().out
    assert main(["resume", "--run", str(run)]) == 0
    assert "was finished already" in capsys.readouterr().out


def test_configs_in_run_directories_read_back(whole):
    from training.run import RunDirectory

    assert TrainConfig.from_json(RunDirectory.read(whole).document["config"]) == CONFIG


def test_evaluation_while_training_may_read_another_bank(tmp_path):
    bank = write_learnable_bank(tmp_path / "train", train=20, test=0)
    spec = small_spec(views=2, video={"seed": 1})
    views = write_learnable_bank(tmp_path / "test", train=0, test=8, spec=spec)
    config = replace(CONFIG, steps=60, eval_every=60, save_every=60)
    result = train(config, bank=bank, eval_bank=views, run=tmp_path / "run")
    assert result.scores["eval_top1"] == 1.0
    assert resume(tmp_path / "run").resumed_at == 60
    other = write_learnable_bank(tmp_path / "other", train=0, test=8, spec=small_spec(frames=4))
    with pytest.raises(ValueError, match=r"frames: the bank has 4, asked for 3"):
        train(config, bank=bank, eval_bank=other, run=tmp_path / "new")
