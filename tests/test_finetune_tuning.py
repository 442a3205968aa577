"""Fine-tuning end to end: losses by hand, stopped and gone on with, average and result, mistakes."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from backbones.config import BackboneConfig
from backbones.errors import BackboneError
from backbones.text import ACTION_TEMPLATES, class_matrix
from backbones.weights import load_clip
from finetune.decoding import Decoders
from finetune.failures import Failures, failed_clips
from finetune.interpolate import RegulariserConfig, draw_share
from finetune.place import Place
from finetune.tuning.batches import ClipStream
from finetune.tuning.command import finetune, main, resume
from finetune.tuning.config import TuneConfig
from finetune.tuning.data import Sources
from finetune.tuning.recipes import RECIPES
from finetune.tuning.session import materials_of
from finetune.video_clip import trainable
from tests.small_clips import small_model, write_folder
from tests.small_extractions import draw_classes
from training.checkpoint import CheckpointError, list_checkpoints
from training.interrupt import TrainingStopped
from training.losses import Diverged
from training.metrics import read_metrics
from training.optim import OptimConfig
from training.run import RunError
from training.team import Team
from video import InputError, Sampling, ViewPlan

CLIPS = 8
PLACE = Place(device="cpu", decode_processes=2)


def draw_lab(folder):
    """Videos of two classes, and a CLIP."""
    (folder / "videos").mkdir()
    draw_classes(folder / "videos", CLIPS)
    write_folder(folder / "model", small_model(3))
    return folder


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return draw_lab(tmp_path_factory.mktemp("tuning"))


@pytest.fixture(scope="module")
def sources(lab):
    return Sources(source=str(lab / "videos"))


def config_of(lab, **changes):
    sampling = Sampling(frames=3, stride=3)
    values = {
        "name": str(lab / "model"),
        "weights": "",
        "views": ViewPlan(kind="train", sampling=sampling, size=64, short_side=(64, 72), flip=True),
        "test_views": ViewPlan(sampling=sampling, size=64),
        "optim": OptimConfig(lr=1e-3, weight_decay=0.01, decay_vectors=False, floor=0.01),
        "warmup_epochs": 0.5,
        "epochs": 3,
        "average_from": 2,
        "batch_size": 4,
        "log_every": 1,
        "save_every": 1,
    }
    return TuneConfig(**(values | changes))


@pytest.fixture(scope="module")
def whole(lab, sources, tmp_path_factory):
    """A run from end to end."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    found = finetune(config_of(lab), replace(sources, eval_source=sources.source), run=run, place=PLACE)
    return run, found


def losses(run):
    lines = [line for line in read_metrics(run / "metrics.jsonl") if "loss" in line]
    return [(line["loss"], line.get("loss_interpolated")) for line in lines]


def checkpoint(run, step):
    return torch.load(run / f"checkpoint-{step}.pth", weights_only=True)


def test_a_run_evaluates_each_epoch_and_leaves_its_average(lab, whole):
    run, found = whole
    assert (found.steps, found.resumed_at, len(losses(run))) == (6, 0, 6)
    assert all(one is not None and two is not None for one, two in losses(run))
    lines = [line for line in read_metrics(run / "metrics.jsonl") if "eval_top1" in line]
    assert [(line["step"], line["epoch"]) for line in lines] == [(2, 1.0), (4, 2.0), (6, 3.0)]
    assert found.scores["eval_top1"] == lines[-1]["eval_top1"]
    assert found.scores["eval_top5"] == 1.0
    last, written = checkpoint(run, 6), load_file(found.weights)
    assert last["average"]["count"] == 2
    for name, values in last["average"]["mean"].items():
        assert torch.equal(written[name], values)
    began = load_clip(BackboneConfig(name=str(lab / "model"))).model.state_dict()
    assert written.keys() == began.keys()
    assert all(torch.equal(written[n], v) for n, v in began.items() if n.startswith(("transformer", "token")))
    assert not torch.equal(written["visual.proj"], began["visual.proj"])
    again = load_clip(BackboneConfig(name=str(lab / "model"), weights=str(found.weights)))
    assert str(again.view) == "window 1, boundary zeros"


def test_first_losses_are_those_of_the_formula(lab, sources, whole):
    config, materials = config_of(lab), materials_of(config_of(lab), sources)
    clip = load_clip(config.backbone)
    model = trainable(clip)
    classes = class_matrix(clip, materials.train.labels.classes, ACTION_TEMPLATES)
    with Decoders(1) as decoders:
        [batch] = stream_of(config, materials).batches(range(1), decoders, failures_of(materials, lab))
    with torch.no_grad():
        loss = F.cross_entropy(model(model.normalised(batch.frames), classes), batch.targets)
    # at the first step present weights are CLIP's own, so any share of them gives the same
    assert losses(whole[0])[0] == pytest.approx((float(loss), float(loss)), abs=1e-5)
    shares = [draw_share(RegulariserConfig(), seed=0, step=step) for step in range(500)]
    assert 0 <= min(shares) < 0.02
    assert 0.58 < max(shares) <= 0.6


def stream_of(config, materials, **changes):
    train = materials.train
    values = {"clips": train.clips, "targets": train.labels.targets, "plan": config.views}
    return ClipStream(**(values | {"seed": config.seed, "size": config.batch_size} | changes))


def failures_of(materials, folder):
    return Failures(folder / "failed.jsonl", materials.train.clips)


def test_parts_of_two_processes_make_the_batches_of_one(lab, sources):
    config = config_of(lab)
    materials = materials_of(config, sources)
    noted = failures_of(materials, lab)

    def batches(team, size=4):
        stream = stream_of(config, materials, team=team, size=size)
        return list(stream.batches(range(4), decoders, noted))

    with Decoders(2) as decoders:
        alone = batches(Team())
        parts = [batches(Team(rank=rank, size=2)) for rank in (0, 1)]
    for one, left, right in zip(alone, *parts, strict=True):
        assert torch.equal(one.frames, torch.cat([left.frames, right.frames]))
        assert torch.equal(one.targets, torch.cat([left.targets, right.targets]))
    # a clip has another view in the next epoch
    assert not any(
        torch.equal(a, b) for a in alone[0].frames for b in torch.cat([x.frames for x in alone[2:]])
    )


def test_a_killed_run_goes_on_to_the_same_bits(lab, sources, whole, tmp_path):
    run, _ = whole

    def stop(done, values):
        if done == 3 and "loss" in values:
            raise KeyboardInterrupt  # as if the process had died there, before this step was saved

    with pytest.raises(KeyboardInterrupt):
        finetune(
            config_of(lab),
            replace(sources, eval_source=sources.source),
            run=tmp_path / "run",
            watch=stop,
            place=PLACE,
        )
    assert list_checkpoints(tmp_path / "run")[-1] == 2
    found = resume(tmp_path / "run")
    assert (found.resumed_at, found.steps) == (2, 6)
    assert losses(tmp_path / "run") == losses(run)
    ours, theirs = checkpoint(tmp_path / "run", 6), checkpoint(run, 6)
    for name in ("model", "average"):
        mine, other = (x[name].get("mean", x[name]) for x in (ours, theirs))
        assert all(torch.equal(mine[key], other[key]) for key in other)
    assert found.weights.read_bytes() == (run / "weights.safetensors").read_bytes()
    assert finetune(config_of(lab), replace(sources, eval_source=sources.source), run=run).resumed_at == 6


def test_pieces_recomputing_and_plain_training(lab, sources, whole, tmp_path):
    pieces = config_of(lab, epochs=1, average_from=1, batch_split=2, recompute=True)
    finetune(pieces, sources, run=tmp_path / "pieces", place=PLACE)
    short = config_of(lab, epochs=1, average_from=1)
    finetune(short, sources, run=tmp_path / "short", place=PLACE)
    for mine, other in zip(losses(tmp_path / "pieces"), losses(tmp_path / "short"), strict=True):
        assert mine == pytest.approx(other, abs=1e-5)
    plain = config_of(lab, epochs=1, average_from=0, window=0, regulariser=RegulariserConfig(weight=0.0))
    found = finetune(plain, sources, run=tmp_path / "plain", place=PLACE)
    assert [two for _, two in losses(tmp_path / "plain")] == [None, None]
    last, written = checkpoint(tmp_path / "plain", 2), load_file(found.weights)
    assert all(torch.equal(written[name], values) for name, values in last["model"].items())
    sidecar = json.loads(found.weights.with_name("weights.safetensors.json").read_text())
    assert sidecar["made"]["averaged"] == 0


def test_stopped_by_a_signal_it_says_how_to_go_on(lab, sources, tmp_path):
    def stop(done, values):
        if done == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingStopped, match=r"framebank finetune resume --run .*run"):
        finetune(config_of(lab), sources, run=tmp_path / "run", watch=stop, place=PLACE)
    assert list_checkpoints(tmp_path / "run")


def test_damaged_videos_are_replaced_and_named(lab, sources, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    draw_classes(folder, 4)
    broken = sorted(folder.rglob("*.mp4"))[0]
    broken.write_bytes(broken.read_bytes()[:200])
    run = tmp_path / "run"
    finetune(config_of(lab, epochs=1, average_from=1), Sources(source=str(folder)), run=run, place=PLACE)
    assert [key.split("/")[-1] for key in failed_clips(run / "failed.jsonl")] == [broken.name]
    for video in folder.rglob("*.mp4"):
        video.write_bytes(b"nothing")
    with pytest.raises(InputError, match="11 in a row"):
        finetune(config_of(lab), Sources(source=str(folder)), run=tmp_path / "none", place=PLACE)


def test_mistakes_end_in_a_line(lab, sources, tmp_path):
    with pytest.raises(ValueError, match=r"batch_size that 3 processes can share"):
        finetune(config_of(lab), sources, run=tmp_path / "run", place=Place(workers=3))
    with pytest.raises(InputError, match="labelled clips in split 'nowhere'"):
        finetune(config_of(lab, split="nowhere"), sources, run=tmp_path / "run", place=PLACE)
    views = ViewPlan(kind="train", size=32)
    with pytest.raises(ValueError, match=r"sees frames of \(64, 64\)"):
        finetune(config_of(lab, views=views), sources, run=tmp_path / "run", place=PLACE)
    with pytest.raises(BackboneError, match="nowhere"):
        finetune(config_of(lab, weights="nowhere"), sources, run=tmp_path / "run", place=PLACE)
    names = tmp_path / "names.txt"
    names.write_text("class 0\nclass 7\n")
    with pytest.raises(InputError, match="label among the 2 classes"):
        finetune(config_of(lab), replace(sources, classes=str(names)), run=tmp_path / "run", place=PLACE)
    assert not (tmp_path / "run").exists()
    run = tmp_path / "other"
    finetune(config_of(lab, epochs=1, average_from=1), sources, run=run, place=PLACE)
    with pytest.raises(RunError, match=r"config\.seed: the run has 0, asked for 5"):
        finetune(config_of(lab, epochs=1, average_from=1, seed=5), sources, run=run, place=PLACE)
    wild = config_of(lab, optim=OptimConfig(lr=1e30), warmup_epochs=0.0)
    for again in ("the loss is", r"diverged\.json keeps that"):
        with pytest.raises(Diverged, match=again):
            finetune(wild, sources, run=tmp_path / "wild", place=PLACE)


def test_a_checkpoint_that_is_not_the_runs_own_is_refused(lab, sources, whole, tmp_path):
    run = tmp_path / "run"
    config = config_of(lab, epochs=1, average_from=1)
    finetune(config, sources, run=run, place=PLACE)
    newest = run / "checkpoint-2.pth"
    sound = newest.read_bytes()
    newest.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(CheckpointError, match="plain tensors"):
        resume(run, place=PLACE)
    state = torch.load(whole[0] / "checkpoint-6.pth", weights_only=True)
    state["model"]["visual.proj"] = torch.zeros(3, 3)
    torch.save(state, newest)
    with pytest.raises(CheckpointError, match=r"of another model .*visual\.proj"):
        resume(run, place=PLACE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"average_from": 4}, "one of 3 epochs"),
        ({"optim": OptimConfig(warmup_steps=3)}, "set warmup_epochs"),
        ({"views": ViewPlan()}, "views of kind train"),
        ({"window": -1}, "window must be at least 0"),
    ],
)
def test_settings_that_cannot_be(lab, changes, reason):
    with pytest.raises(ValueError, match=reason):
        config_of(lab, **changes)


def test_recipes_are_the_published_ones():
    base = RECIPES["openvclip-b16"]()
    assert base.steps_until(base.epochs, 240_000) == 82_500
    schedule = base.schedule(240_000)
    assert (schedule.lr, schedule.warmup_steps, schedule.floor) == (3.33e-6, 7500, 0.01)
    assert (base.regulariser.high, base.regulariser.weight, base.clip_norm) == (0.6, 0.5, 1.0)
    assert RECIPES["openvclip-l14"]().recompute
    for name, recipe in RECIPES.items():
        config = recipe()
        assert TuneConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
        assert bool(config.regulariser.weight) == name.startswith("openvclip")


def test_command(lab, tmp_path, capsys):
    plan = ["--views.size", "64", "--views.short-side", "64", "72", "--test-views.size", "64"]
    frames = [
        f"--{side}.sampling.{field}" for side in ("views", "test-views") for field in ("frames", "stride")
    ]
    plan += [word for name in frames for word in (name, "3")]
    small = ["--name", str(lab / "model"), "--weights", "", "--precision", "fp32", "--epochs", "2"]
    where = ["--source", str(lab / "videos"), "--run", str(tmp_path / "run"), "--batch-size", "8"]
    assert main(["plain-b16", *where, *small, *plan]) == 0
    assert "2 steps" in capsys.readouterr().out
    assert main(["resume", "--run", str(tmp_path / "run")]) == 0
    assert "finished already" in capsys.readouterr().out
