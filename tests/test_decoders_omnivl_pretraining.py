"""Pre-training from a bank: what a step changes, going on, sharing a batch."""

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from decoders.omnivl.language.heads import OmniVLHeads
from decoders.omnivl.pretraining.bank_tier import BankTier
from decoders.omnivl.pretraining.session import document, new_trainer, pretrain, samples_by_kind
from storage import Bank
from tests.small_mixed_bank import CLIPS, IMAGES, small_config, write_mixed_bank
from training.checkpoint import CheckpointError, load_checkpoint
from training.interrupt import StopRequest, TrainingStopped
from training.metrics import read_metrics
from training.optim import OptimConfig
from training.run import RunDirectory, open_run
from training.session import Part
from training.team import ALONE, Team

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    path = tmp_path_factory.mktemp("mixed") / "bank"
    write_mixed_bank(path)
    return path


def tier_of(bank, config):
    return BankTier(Bank(bank), config.adapter, config.heads, CPU, split=config.split, label=config.label)


def run_to_the_end(bank, config, run, stop=None, watch=None):
    tier = tier_of(bank, config)
    samples = samples_by_kind(tier, config)
    with open_run(run, document(config, tier, samples), {}) as directory:
        part = Part(device=CPU, stop=stop or StopRequest(), watch=watch)
        return pretrain(config, tier, samples, directory, part)


def member(bank, config, run, team, meet):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=team.rank, world_size=team.size)
    try:
        tier = tier_of(bank, config)
        part = Part(device=CPU, stop=StopRequest(), team=team)
        return pretrain(config, tier, samples_by_kind(tier, config), RunDirectory.read(run), part)
    finally:
        dist.destroy_process_group()


def run_as_team(bank, config, run, size):
    tier = tier_of(bank, config)
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.test_decoders_omnivl_pretraining"])
    with (
        open_run(run, document(config, tier, samples_by_kind(tier, config)), {}),
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(size, mp_context=server) as pool,
    ):
        teams = [Team(rank=rank, size=size) for rank in range(size)]
        tasks = [pool.submit(member, bank, config, run, team, Path(folder) / "meet") for team in teams]
        return [task.result(timeout=240) for task in tasks]


def lines(run):
    return read_metrics(run / "metrics.jsonl")


def newest(run):
    return load_checkpoint(RunDirectory.read(run).checkpoint)


def test_a_bank_has_images_and_clips_apart(bank):
    tier = tier_of(bank, small_config())
    assert len(tier.samples("image")) == IMAGES
    assert len(tier.samples("video")) == CLIPS
    assert tier.names == ("class 0", "class 1")
    assert not set(tier.samples("image").ids) & set(tier.samples("video").ids)


def test_a_kind_that_the_bank_lacks_is_refused(bank):
    config = small_config()
    wanting = replace(config, adapter=replace(config.adapter, frames=5))
    with pytest.raises(ValueError, match=r"videos of 5 frames in split 'train'.*found none"):
        samples_by_kind(tier_of(bank, wanting), wanting)
    with pytest.raises(ValueError, match="expected 3 blocks for the adapter, found 2"):
        tier_of(bank, replace(config, adapter=replace(config.adapter, blocks=3)))


@pytest.mark.parametrize("schedule", ["decoupled", "joint", "image_only", "video_only", "image_then_video"])
def test_every_schedule_learns_what_it_takes(bank, tmp_path, schedule):
    result = run_to_the_end(bank, small_config(schedule), tmp_path / "run")
    assert result.steps == 7
    found = lines(tmp_path / "run")
    assert [line["step"] for line in found] == list(range(1, 8))
    for line in found:
        parts = line["contrast"] + line["matching"] + line["generation"]
        assert line["contrast"] >= 0  # above the least that there can be
        assert line["loss"] >= parts - 1e-4
        assert 0.001 <= line["temperature"] <= 0.5


def test_the_first_stage_leaves_temporal_parameters_as_they_were(bank, tmp_path):
    config = small_config("image_only")
    run_to_the_end(bank, config, tmp_path / "run")
    begun = new_trainer(config, tier_of(bank, config), Part(device=CPU, stop=StopRequest()))
    before, after = begun.visual.state_dict(), newest(tmp_path / "run")["visual"]
    temporal = {name for name in before if "temporal" in name}
    assert temporal
    assert all(torch.equal(before[name], after[name]) for name in temporal)
    spatial = {name for name in before if "spatial.attn.in_proj_weight" in name}
    assert spatial
    assert not any(torch.equal(before[name], after[name]) for name in spatial)


def test_an_interrupted_run_goes_on_to_the_same_bits(bank, tmp_path):
    config = small_config()
    run_to_the_end(bank, config, tmp_path / "whole")
    stop = StopRequest()

    def ask(done, _):
        stop.requested = done == 4

    with pytest.raises(TrainingStopped, match="after step 5 of 7"):
        run_to_the_end(bank, config, tmp_path / "halves", stop=stop, watch=ask)
    result = run_to_the_end(bank, config, tmp_path / "halves")
    assert (result.resumed_at, result.steps) == (5, 7)
    assert lines(tmp_path / "halves") == lines(tmp_path / "whole")
    whole, halves = newest(tmp_path / "whole"), newest(tmp_path / "halves")
    for part in ("visual", "heads", "slow", "queue"):
        assert all(torch.equal(value, halves[part][name]) for name, value in whole[part].items())


@pytest.mark.parametrize(("processes", "split"), [(1, 2), (2, 1)])
def test_pieces_and_processes_give_the_losses_and_weights_of_one(bank, tmp_path, processes, split):
    # Adam makes a step of the rate's size out of any gradient, also out of one that is mostly rounding
    small = OptimConfig(lr=1e-4, weight_decay=0.1, decay_vectors=False)
    config = small_config()
    config = replace(config, schedule=replace(config.schedule, optim=small, joint_optim=small))
    run_to_the_end(bank, config, tmp_path / "one")
    shared = replace(config, batch_split=split)
    if processes == 1:
        run_to_the_end(bank, shared, tmp_path / "shared")
    else:
        run_as_team(bank, shared, tmp_path / "shared", processes)
    for one, other in zip(lines(tmp_path / "one"), lines(tmp_path / "shared"), strict=True):
        assert other == pytest.approx(one, rel=1e-5, abs=1e-5)
    alone, together = newest(tmp_path / "one"), newest(tmp_path / "shared")
    for part in ("visual", "heads", "slow", "queue"):
        for name, value in alone[part].items():
            torch.testing.assert_close(together[part][name], value, rtol=1e-5, atol=1e-5)


def test_half_precision_learns_nearly_the_same(bank, tmp_path):
    run_to_the_end(bank, small_config(), tmp_path / "fp32")
    run_to_the_end(bank, small_config(precision="bf16"), tmp_path / "bf16")
    first, second = (lines(tmp_path / name) for name in ("fp32", "bf16"))
    assert first != second
    for one, other in zip(first, second, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=0.02)
    assert all(value.dtype != torch.bfloat16 for value in newest(tmp_path / "bf16")["heads"].values())


def test_checkpoints_of_another_model_are_refused(bank, tmp_path):
    config = small_config()
    run_to_the_end(bank, config, tmp_path / "run")
    other = replace(config, heads=replace(config.heads, width=32))
    trainer = new_trainer(other, tier_of(bank, other), Part(device=CPU, stop=StopRequest(), team=ALONE))
    with pytest.raises(CheckpointError, match="found one of another model"):
        trainer.restore(RunDirectory.read(tmp_path / "run").checkpoint)


def test_heads_load_strictly_wherever_they_were_trained(bank, tmp_path):
    config = small_config()
    run_to_the_end(bank, config, tmp_path / "run")
    heads = OmniVLHeads(config.heads)
    assert heads.load_state_dict(newest(tmp_path / "run")["heads"], strict=True)
