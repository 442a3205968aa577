"""The page: everything is on it, it fits the terminal, and it can be had as JSON."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

import framebank
from storage import Bank, BankWriter, Kept
from storage.inspect import array_table, page
from storage.summary import summarise
from tests.small_banks import small_spec, write_bank, write_shard


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("inspect") / "bank"
    spec = small_spec(dtype="int8", video={"plan": {"kind": "eval", "size": [224, 224]}})
    spec = replace(spec, backbone=replace(spec.backbone, name="ViT-B-16"))
    write_bank(path, 5, spec, failed=(1,))
    with BankWriter(path, replace(spec, kept=(Kept(blocks=(1,), attention="qk"),)), grow=True) as writer:
        write_shard(path, 0, writer=writer, failed=(1,), part=1)
    return path


def printed(path, width: int) -> str:
    console = Console(file=StringIO(), width=width)
    for piece in page(summarise(Bank(path))):
        console.print(piece)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_everything_is_on_the_page(path, width):
    said = printed(path, width)
    assert max(map(len, said.splitlines())) <= width
    for text in (
        "ViT-B-16 fp32, 3 frames, blocks 2-3 maps int8; 1 qk",
        "5 in 2 classes",
        "4 written, 1 failed (64 a shard)",
        "video.plan.size",
        "[224, 224]",
        "truncated (clips/0001.mp4)",
        "gathered shard by shard",
    ):
        assert text in " ".join(said.split()), text
    arrays = {line.split()[0]: line.split()[1:3] for line in said.splitlines() if line.startswith("block")}
    assert arrays["block02/out"] == ["int8*", "3×7×24"]
    assert arrays["block01/q"] == ["float16", "3×7×2×8"]
    assert not any("scale" in name for name in arrays)


def test_arrays_of_scales_count_with_what_they_scale(path):
    arrays = summarise(Bank(path))["arrays"]
    both = arrays["features/block02/map_prev"]["bytes"] + arrays["features/block02/map_prev_scale"]["bytes"]
    assert f"{both / 1000:.1f} kB" in next(
        line for line in printed(path, 100).splitlines() if line.startswith("block02/map_prev")
    )


@pytest.mark.parametrize("width", [80, 120])
def test_the_arrays_of_a_large_model_fit(width):
    statistics = {"mean": -0.0123456, "deviation": 12.3456, "low": -123.456, "high": 234.567}
    array = {"dtype": "uint8", "row_shape": [31, 256, 256], "bytes": 123_456_789_000}
    array |= {"statistics": statistics}
    names = ("features/block23/map_prev", "features/block23/map_prev_scale")
    console = Console(file=StringIO(), width=width)
    console.print(array_table({name: array for name in names}))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[2].split() == [
        "block23/map_prev",
        "uint8*",
        "31×256×256",
        "246.9",
        "GB",
        "-0.0123",
        "12.3",
        "-123",
        "235",
    ]


def test_the_command(path, capsys):
    assert framebank.dispatch(["inspect", str(path)]) == 0
    assert "4 written" in capsys.readouterr().out
    assert framebank.dispatch(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == Bank(path).digest


def test_who_is_writing_is_said(path, capsys):
    with BankWriter(path, Bank(path).spec) as writer:
        assert framebank.dispatch(["inspect", str(path)]) == 0
        assert f"run {writer.run} is writing it" in capsys.readouterr().out


def test_exit_codes(tmp_path, capsys):
    assert framebank.dispatch(["inspect", str(tmp_path)]) == framebank.MISUSED
    write_bank(tmp_path / "bank", 2)
    (tmp_path / "bank/shards/00000.json").write_text("[]")
    assert framebank.dispatch(["inspect", str(tmp_path / "bank")]) == framebank.FAILED
    assert "is not a commit record" in capsys.readouterr().err
