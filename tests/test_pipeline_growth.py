"""A bank grows: more blocks, another attention, clips done anew, twins stored once, banks on a shelf."""

import shutil
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from decoders.dataset import FeatureReader
from decoders.wanted import everything
from pipeline.extract import extract
from storage import Bank, MissingRow, SpecMismatch, array_name, row_bytes
from tests.small_clips import write_config
from tests.small_extractions import config_for, draw_clip, quiet

CLIPS = 5


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_config(tmp_path_factory.mktemp("model") / "small.json"))


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(CLIPS):
        draw_clip(folder / f"{number}.mp4", number)
    return folder


def files_of(bank: Bank) -> dict[str, bytes]:
    names = [name for record in bank.records.values() for name in record.files]
    return {name: bank.place.read(name) for name in names}


def reader_of(bank: Bank, blocks: tuple[int, ...]) -> FeatureReader:
    return FeatureReader(bank, everything(*blocks), device=torch.device("cpu"), dtype=torch.float32)


@pytest.mark.parametrize(
    "more",
    [{"last_blocks": 3}, {"attention": "qk"}, {"last_blocks": 3, "attention": "derived"}],
    ids=["a block", "q and k", "derived"],
)
def test_what_is_added_equals_a_bank_made_so_and_nothing_is_rewritten(
    without_ray, source, model, tmp_path, more
):
    before = files_of(extract(config_for(source, model, tmp_path / "bank"), quiet()))
    with pytest.raises(SpecMismatch, match="--grow adds it"):
        extract(config_for(source, model, tmp_path / "bank", **more), quiet())
    bank = extract(config_for(source, model, tmp_path / "bank", grow=True, **more), quiet())
    after = files_of(bank)
    assert before.items() < after.items()
    whole = extract(config_for(source, model, tmp_path / "whole", **more), quiet())
    for name in whole.layouts:
        np.testing.assert_array_equal(bank.read(name, bank.rows()), whole.read(name, whole.rows()), name)
    assert bank.fingerprint == whole.fingerprint
    again = extract(config_for(source, model, tmp_path / "bank", grow=True, **more), quiet())
    assert (again.digest, len(again.spec.kept)) == (bank.digest, 2)


def test_the_first_form_of_attention_is_what_decoders_go_on_reading(ray_cluster, source, model, tmp_path):
    maps = extract(config_for(source, model, tmp_path / "bank"), quiet())
    expected = reader_of(maps, (3,)).read(maps.rows())[0]
    grown = extract(config_for(source, model, tmp_path / "bank", grow=True, attention="qk"), quiet())
    found = reader_of(grown, (3,)).read(grown.rows())[0]
    torch.testing.assert_close(found.map_prev, expected.map_prev, rtol=0, atol=0)


def test_new_clips_reach_an_added_part_when_it_is_asked_for(without_ray, source, model, tmp_path):
    two = {"attention": "qk", "grow": True}
    extract(config_for(source, model, tmp_path / "bank", limit=2), quiet())
    extract(config_for(source, model, tmp_path / "bank", limit=2, **two), quiet())
    bank = extract(config_for(source, model, tmp_path / "bank"), quiet())
    name = array_name(3, "q")
    assert len(bank.rows()) == CLIPS
    assert len(bank.written(arrays=[name])) == 2
    with pytest.raises(MissingRow, match=r"no committed row 4 of features/block03/q"):
        bank.read(name, [4])
    bank = extract(config_for(source, model, tmp_path / "bank", **two), quiet())
    assert len(bank.written(arrays=[name])) == CLIPS


def test_an_array_keeps_its_type(without_ray, source, model, tmp_path):
    extract(config_for(source, model, tmp_path / "bank"), quiet())
    with pytest.raises(SpecMismatch, match="keeps features/block02/out as float16 for good"):
        extract(config_for(source, model, tmp_path / "bank", dtype="int8", grow=True), quiet())


def test_a_video_that_changed_meanwhile_is_not_mixed_with_its_old_rows(without_ray, source, model, tmp_path):
    extract(config_for(source, model, tmp_path / "bank"), quiet())
    draw_clip(source / "3.mp4", 99)
    config = config_for(source, model, tmp_path / "bank", attention="qk", grow=True, attempts=1)
    bank = extract(config, quiet())
    row = bank.table["row"][bank.table["key"].to_pylist().index("3.mp4")].as_py()
    with pytest.raises(MissingRow, match=r"its content has digest"):
        bank.read(array_name(3, "q"), [row])
    assert len(bank.written(arrays=[array_name(3, "q")])) == CLIPS - 1


def test_listed_clips_are_done_anew_and_all_others_keep_their_bytes(without_ray, source, model, tmp_path):
    before = extract(config_for(source, model, tmp_path / "bank"), quiet())
    values = {name: before.read(name, before.rows()) for name in before.layouts}
    draw_clip(source / "3.mp4", 99)
    (tmp_path / "redo.txt").write_text("3.mp4\n")
    redo = {"redo": str(tmp_path / "redo.txt")}
    after = extract(config_for(source, model, tmp_path / "bank", **redo), quiet())
    row = after.table["row"][after.table["key"].to_pylist().index("3.mp4")].as_py()
    for name, old in values.items():
        same = (after.read(name, after.rows()) == old).reshape(CLIPS, -1).all(axis=1)
        assert same.tolist() == [place != row for place in range(CLIPS)], name
    (tmp_path / "redo.txt").write_text("nobody.mp4\n")
    with pytest.raises(ValueError, match=r"are not in the bank, e\.g\. nobody\.mp4"):
        extract(config_for(source, model, tmp_path / "bank", **redo), quiet())


def test_one_content_under_two_names_is_stored_once_and_listed_twice(without_ray, source, model, tmp_path):
    shutil.copy(source / "1.mp4", source / "1 again.mp4")
    first = extract(config_for(source, model, tmp_path / "bank"), quiet())
    rows = dict(zip(first.table["key"].to_pylist(), first.table["row"].to_pylist(), strict=True))
    assert rows["1.mp4"] == rows["1 again.mp4"]
    assert (len(rows), len(first.rows())) == (CLIPS + 1, CLIPS)
    shutil.copy(source / "2.mp4", source / "a later copy.mp4")
    said = Console(file=StringIO(), width=200)
    later = extract(config_for(source, model, tmp_path / "bank"), said)
    assert "1 new, 1 with the content of another" in said.file.getvalue()
    assert (later.table.num_rows, len(later.rows())) == (CLIPS + 2, CLIPS)
    assert later.records == first.records


@pytest.mark.parametrize("attention", ["maps", "derived"])
def test_integers_are_half_the_size_and_close(without_ray, source, model, tmp_path, attention):
    plain = extract(config_for(source, model, tmp_path / "plain", attention=attention), quiet())
    small = extract(config_for(source, model, tmp_path / "small", attention=attention, dtype="int8"), quiet())
    sizes = [sum(record.bytes for record in bank.records.values()) for bank in (small, plain)]
    expected = row_bytes(small.spec) / row_bytes(plain.spec)
    assert sizes[0] / sizes[1] == pytest.approx(expected, rel=0.1)
    assert expected < 0.7  # of a tower 64 channels wide; the wider, the nearer to a half
    rows = plain.rows()
    for tap in ("out", *(("map_prev", "map_next") if attention == "maps" else ("q", "k"))):
        exact, close = (bank.features(3, tap, rows) for bank in (plain, small))
        assert np.linalg.norm(close - exact) < 0.02 * np.linalg.norm(exact), tap


def test_a_shelf_has_one_bank_of_a_spec(without_ray, source, model, tmp_path):
    shelf = {"shelf": str(tmp_path / "shelf")}
    first = extract(config_for(source, model, "", limit=2, **shelf), quiet())
    said = Console(file=StringIO(), width=300)
    second = extract(config_for(source, model, "", **shelf), said)
    assert second.path == first.path
    assert f"{first.path} has this spec already; it is completed" in said.file.getvalue()
    assert (len(first.rows()), len(second.rows())) == (2, CLIPS)
    other = extract(config_for(source, model, "", dtype="int8", **shelf), quiet())
    assert Path(other.path).parent == Path(first.path).parent
    assert other.path != first.path


def test_bank_and_shelf_are_not_both_named(source, model, tmp_path):
    with pytest.raises(ValueError, match="either the bank"):
        extract(config_for(source, model, tmp_path / "bank", shelf=str(tmp_path)), quiet())
