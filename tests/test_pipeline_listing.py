"""Data sets' own captions as the source of an extraction."""

import numpy as np
import pytest
from PIL import Image

from pipeline import extract as command
from pipeline.listing import list_source
from storage import WRITTEN, Bank
from tests.small_captions import write_annotation, write_coco, write_karpathy
from tests.small_clips import write_config
from tests.small_extractions import config_for, draw_clip, extract, quiet, run_here
from video import InputError

TEXTS = {
    "000000000009.jpg": ("A plate.", "Food on it."),
    "000000000025.jpg": ("A giraffe.",),
    "000000000030.jpg": (),
    "000000000031.jpg": ("Never copied.",),
}


def draw_pictures(folder, *names):
    folder.mkdir(parents=True)
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


def test_a_bank_of_cocos_images_with_their_captions(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "run_tasks", run_here)
    draw_pictures(tmp_path / "images" / "train2017", *list(TEXTS)[:3])
    source = write_coco(tmp_path / "captions_train2017.json", TEXTS)
    model = str(write_config(tmp_path / "small.json"))
    config = config_for(source, model, tmp_path / "bank", root=str(tmp_path / "images"))
    bank = extract(config, quiet())
    table = Bank(bank.path).table.to_pylist()
    assert {row["key"]: tuple(row["captions"]) for row in table} == TEXTS
    assert {row["split"] for row in table} == {"train"}
    assert [row["outcome"] == WRITTEN for row in table] == [True, True, True, False]
    assert "No such file" in table[3]["reason"]
    assert len(bank.rows(split="train")) == 3
    draw_pictures(tmp_path / "later", "000000000031.jpg")
    (tmp_path / "later/000000000031.jpg").rename(tmp_path / "images/train2017/000000000031.jpg")
    again = extract(config, quiet())
    assert [row["outcome"] for row in again.table.to_pylist()] == [WRITTEN] * 4


def test_karpathys_images_are_found_in_their_folders(tmp_path):
    draw_pictures(tmp_path / "val2014", *TEXTS)
    draw_pictures(tmp_path / "train2014", *TEXTS)
    splits = dict.fromkeys(TEXTS, "restval")
    source = write_karpathy(tmp_path / "dataset_coco.json", TEXTS, splits, "val2014")
    listed = list_source(config_for(source, "none", "none", split="train")).to_pylist()
    assert [line["path"] for line in listed] == [str(tmp_path / "val2014" / name) for name in TEXTS]
    assert {line["split"] for line in listed} == {"restval"}


def test_videos_of_msr_vtt_are_found_by_id(tmp_path):
    (tmp_path / "videos" / "TestVideo").mkdir(parents=True)
    draw_clip(tmp_path / "videos" / "TestVideo" / "video7010.mp4", 0)
    source = write_annotation(tmp_path / "a.json", {"video7010": ("one", "two")}, {"video7010": "test"})
    [line] = list_source(config_for(source, "none", "none", root=str(tmp_path / "videos"))).to_pylist()
    assert (line["key"], line["captions"], line["split"]) == ("video7010", ["one", "two"], "test")
    assert line["path"] == str(tmp_path / "videos/TestVideo/video7010.mp4")
    assert line["bytes"] > 0


def test_a_wrong_root_is_said_in_a_line(tmp_path):
    draw_pictures(tmp_path / "others", "1.png")
    (tmp_path / "empty").mkdir()
    source = write_coco(tmp_path / "captions_val2017.json", TEXTS)
    for root, said in [
        (
            "others",
            "captions_val2017.json below .*others; found none of 4 by name .such as '000000000009.jpg'",
        ),
        ("empty", "captions_val2017.json names videos by id; say with --root where they are: expected"),
        ("none", "say with --root where they are: expected a folder, .* found nothing"),
    ]:
        with pytest.raises(InputError, match=said) as caught:
            list_source(config_for(source, "none", "none", root=str(tmp_path / root)))
        assert "\n" not in str(caught.value)
