"""The estimate: measured on the user's own videos and disk, of which nothing is kept."""

import json
import os
from dataclasses import replace

import pytest
import torch

import framebank
from pipeline import estimate as command_file
from pipeline.costs import Workers
from pipeline.disk_rate import BLOCK
from pipeline.errors import ExtractionError
from pipeline.estimate import EstimateCommand, estimate, where
from pipeline.estimate_page import cells
from pipeline.listing import list_source
from pipeline.request import build_spec, load_tower
from pipeline.room import bank_bytes
from pipeline.sample import draw, own_process, workers
from storage import array_layouts
from tests.small_clips import write_config
from tests.small_extractions import config_for, draw_classes, quiet

MODES = [
    (attention, dtype) for attention in ("maps", "qk", "derived", "none") for dtype in ("float16", "int8")
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_config(tmp_path_factory.mktemp("model") / "small.json"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Six videos, and two files that are none."""
    folder = draw_classes(tmp_path_factory.mktemp("videos"), 6)
    for number in range(2):
        (folder / "class 0" / f"bad {number}.mp4").write_bytes(b"")
    return folder


@pytest.fixture(autouse=True)
def small_probe(monkeypatch):
    monkeypatch.setattr(command_file, "PROBE_BYTES", 2 * BLOCK)


@pytest.fixture(scope="module")
def found(source, model, tmp_path_factory):
    """An estimate of everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_file, "PROBE_BYTES", 2 * BLOCK)
        config = config_for(source, model, tmp_path_factory.mktemp("bank") / "bank")
        return estimate(EstimateCommand(config=config), quiet())


def test_the_sample_is_decoded_and_encoded(found):
    measured = found.measured
    assert (measured.listed, measured.sampled, measured.written, measured.share) == (8, 8, 6, 0.75)
    assert found.reasons == {"empty file (0 bytes)": 2}
    for name in ("decode", "tower", "keep", "write_rate", "read_rate"):
        assert getattr(measured, name) > 0, name


def test_bytes_are_those_of_the_bank_less_what_fails(found, source, model, tmp_path):
    config = config_for(source, model, tmp_path / "bank")
    loaded = load_tower(config)
    assert [(way.attention, way.dtype) for way in found.ways] == MODES
    for way in found.ways:
        spec = build_spec(replace(config, attention=way.attention, dtype=way.dtype), loaded)
        each = bank_bytes(array_layouts(spec), 1)
        assert way.account.bytes_per_clip == each
        assert way.account.bytes == 6 * each
        assert way.account.feed == 59 * each
    assert (found.asked.attention, found.asked.dtype) == ("maps", "float16")


def test_nothing_is_kept(source, model, tmp_path):
    threads = torch.get_num_threads()
    command = EstimateCommand(config=config_for(source, model, tmp_path / "bank"), sample=2)
    estimate(command, quiet())
    assert os.listdir(tmp_path) == []
    assert not own_process()
    assert torch.get_num_threads() == threads


def test_what_cannot_be_kept_is_said_and_not_hidden(source, model, tmp_path):
    config = config_for(source, model, tmp_path / "bank", last_blocks=4)
    found = estimate(EstimateCommand(config=config, sample=1), quiet())
    refused = [way for way in found.ways if way.account is None]
    assert {way.attention for way in refused} == {"derived"}
    assert "block 0 has none before it" in refused[0].refused
    assert "not possible" in {cell for way in found.ways for cell in cells(way)}


def test_the_draw_follows_its_seed(source, model, tmp_path):
    lines = list_source(config_for(source, model, tmp_path))
    keys = [[line["key"] for line in draw(lines, 3, seed)] for seed in range(8)]
    assert keys[0] == [line["key"] for line in draw(lines, 3, 0)]
    assert len({tuple(drawn) for drawn in keys}) > 1
    assert all(drawn == sorted(drawn) and len(set(drawn)) == 3 for drawn in keys)
    assert draw(lines, 100, 0) == lines.to_pylist()


def test_no_frames_at_all(source, model, tmp_path):
    for path in (source / "class 1").iterdir():
        (tmp_path / "videos" / "a").mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / "a" / path.name).write_bytes(b"")
    config = config_for(tmp_path / "videos", model, tmp_path / "bank")
    with pytest.raises(
        ExtractionError, match=r"found none, e.g. .*: empty file \(0 bytes\). Look at the source"
    ):
        estimate(EstimateCommand(config=config), quiet())


@pytest.mark.parametrize(
    ("gpus", "asked", "share", "expected"),
    [(0, 0, 1.0, 6), (0, 2, 1.0, 2), (0, 99, 1.0, 6), (4, 0, 1.0, 4), (4, 0, 0.5, 4), (4, 1, 1.0, 1)],
)
def test_encoders_that_truly_work_side_by_side(monkeypatch, model, gpus, asked, share, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    config = config_for("videos", model, "bank", encoders=asked, gpus_per_encoder=share)
    assert workers(config) == Workers(decoders=6, encoders=expected, gpus=gpus)


def test_a_bank_or_a_shelf(model):
    assert where(config_for("videos", model, "bank")) == "bank"
    assert where(config_for("videos", model, "", shelf="shelf")) == "shelf"
    for bank, shelf in (("", ""), ("bank", "shelf")):
        with pytest.raises(ValueError, match="name either the bank"):
            where(config_for("videos", model, bank, shelf=shelf))


def command(source, model, bank, *more):
    named = ["--source", str(source), "--bank", str(bank), "--backbone.name", model]
    return ["estimate", "shapes", *named, "--backbone.weights", "random:0", "--sample", "2", *map(str, more)]


def test_the_command(source, model, tmp_path, capsys):
    assert framebank.dispatch(command(source, model, tmp_path / "bank")) == 0
    assert "pays from" in capsys.readouterr().out
    assert framebank.dispatch(command(source, model, tmp_path / "bank", "--json", "--seed", 1)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["measured"]["sampled"] == 2
    assert len(found["ways"]) == len(MODES)


def test_a_place_that_cannot_be_written_is_said_first(source, model, capsys):
    assert framebank.dispatch(command(source, model, "/proc/nowhere/bank")) == framebank.FAILED
    said = " ".join(capsys.readouterr().err.split())
    assert "expected to write a trial file where the bank will lie, found" in said
    assert "framebank doctor --bank /proc/nowhere/bank" in said
    assert "decoding" not in said


def test_wrong_requests(source, model, tmp_path, capsys):
    for more, said in (
        (("--sample", 0), "--sample is at least 1, not 0"),
        (("--train-clips-per-second", 0), "--train-clips-per-second is above 0, not 0"),
    ):
        with pytest.raises(SystemExit) as end:
            framebank.dispatch(command(source, model, tmp_path / "bank", *more))
        assert end.value.code == framebank.MISUSED
        assert said in capsys.readouterr().err
