"""Images and videos extracted into one bank: rows of one frame beside rows of the spec's."""

import os
import random
import signal
import time
from io import StringIO
from itertools import islice

import av
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from pipeline.decode_worker import DecodeLimits
from pipeline.estimate import EstimateCommand, estimate
from pipeline.plan import Plan
from pipeline.recheck import Recheck, backbone_of
from pipeline.status import status_of
from pipeline.task import clip_of
from pipeline.verify import VerifyCommand, verify
from storage import Bank, BankWriter, MissingRow, array_name, pooled_name
from tests.encoded_banks import draw_videos, encode_bank
from tests.small_clips import write_config
from tests.small_extractions import config_for, draw_clip, extract, quiet, run_here, start_extraction
from video import decode_views

STILL = array_name(3, "out", 1)


def draw_image(path, seed, size=(64, 64)):
    """A picture of coarse noise, another for each seed; its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    Image.fromarray(pixels).resize(size).save(path)
    return pixels


def write_lossless(path, pixels):
    """A video of one frame, FFV1 in RGB, that decodes to these very pixels."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=1)
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], "bgr0"
        for frame in (av.VideoFrame.from_ndarray(pixels, format="rgb24"), None):
            container.mux(stream.encode(frame))


def draw_mixed(folder):
    """Three videos, four images (one twice) and two files that are neither; the folder."""
    folder.mkdir()
    for number in range(3):
        draw_clip(folder / f"video {number}.mp4", number)
    for number, name in enumerate(["a.png", "b.jpg", "m.webp"]):
        draw_image(folder / name, 10 + number)
    (folder / "z.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "bad.png").write_bytes(random.Random(0).randbytes(400))
    (folder / "bad.mp4").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return draw_mixed(tmp_path_factory.mktemp("mixed") / "files")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_config(tmp_path_factory.mktemp("model") / "small.json"))


@pytest.fixture
def bank(without_ray, source, model, tmp_path):
    return extract(config_for(source, model, tmp_path / "bank"), quiet())


def lines_of(bank):
    return {line["key"]: line for line in bank.table.to_pylist()}


def test_each_row_has_the_frames_of_its_kind(bank):
    lines = lines_of(bank)
    kinds = {name: line["frames"] for name, line in lines.items()}
    assert kinds == {name: 4 if name.endswith(".mp4") else 1 for name in kinds}
    assert bank.lengths == (1, 4)
    assert lines["z.png"]["row"] == lines["a.png"]["row"]
    assert {name for name, line in lines.items() if line["outcome"] == "failed"} == {"bad.png", "bad.mp4"}
    for name in ("a.png", "b.jpg", "m.webp"):
        line = lines[name]
        assert (line["indices"], line["num_frames"], line["decoder"]) == ([0], 1, "image")
        assert bank.read(STILL, [line["row"]]).shape == (1, 1, 17, 64)
        assert bank.read(pooled_name(1), [line["row"]]).shape == (1, 1, 32)
        with pytest.raises(MissingRow, match=f"has 1 frame, read {STILL}"):
            bank.read(array_name(3, "out"), [line["row"]])
    assert len(bank.rows(frames=4)) == 3
    assert not [name for name in bank.layouts if "frames1" in name and "map" in name]


def test_a_mixed_extraction_is_the_same_on_ray(ray_cluster, bank, source, model, tmp_path, monkeypatch):
    monkeypatch.undo()
    other = extract(config_for(source, model, tmp_path / "other", encoders=2), quiet())
    assert other.digest == bank.digest


def test_it_is_verified_sampled_counted_and_estimated(bank, source, model, tmp_path):
    said = Console(file=StringIO(), width=200)
    assert verify(VerifyCommand(bank=bank.path, sample=9), said) == 0
    assert "6 of 6 rows encoded again" in said.file.getvalue()
    assert STILL in said.file.getvalue()
    found = status_of(bank, attempts=3)
    assert (found["expected"], found["clips"]) == (9, {"written": 7, "failed": 2})
    config = config_for(source, model, tmp_path / "new")
    found = estimate(EstimateCommand(config=config, sample=10), quiet())
    assert (found.measured.listed, found.measured.written) == (9, 7)
    sizes = [
        sum(layout.row_bytes + 4 for layout in bank.layouts.values() if layout.frames == frames) + 1024
        for frames in (4, 1)
    ]
    assert found.asked.account is not None
    assert found.asked.account.bytes_per_clip == pytest.approx((4 * sizes[0] + 5 * sizes[1]) / 9, rel=0.01)


def test_again_there_is_nothing_to_do_and_failed_images_are_tried_again(bank, source, model, tmp_path):
    said = Console(file=StringIO(), width=200)
    again = extract(config_for(source, model, tmp_path / "bank"), said)
    assert "9 clips listed, 0 new\n2 clips to do" in said.file.getvalue()
    assert again.digest == bank.digest
    assert {count for record in again.records.values() for count in record.attempts.values()} == {2}


def test_redo_and_a_mended_image_leave_other_rows_as_they_are(without_ray, source, model, tmp_path):
    files = draw_mixed(tmp_path / "files")
    config = config_for(files, model, tmp_path / "bank", shard_rows=4)
    before = extract(config, quiet())
    rows, pixels = before.rows(frames=1), draw_image(files / "bad.png", 77)
    stored = {name: before.read(name, rows) for name in (STILL, pooled_name(1))}
    keys = tmp_path / "redo.txt"
    keys.write_text("b.jpg\n")
    after = extract(config_for(files, model, tmp_path / "bank", shard_rows=4, redo=str(keys)), quiet())
    for name, values in stored.items():
        np.testing.assert_array_equal(after.read(name, rows), values)
    line = lines_of(after)["bad.png"]
    assert (line["outcome"], line["frames"]) == ("written", 1)
    assert pixels.shape == (line["height"], line["width"], 3)


def test_images_are_added_to_a_bank_of_videos(without_ray, source, model, tmp_path):
    videos, images = tmp_path / "videos", tmp_path / "images"
    for folder, names in ((videos, ["video 0.mp4", "video 1.mp4"]), (images, ["a.png", "z.png", "b.jpg"])):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes((source / name).read_bytes())
    before = extract(config_for(videos, model, tmp_path / "bank"), quiet())
    digests = {key: record.digest for key, record in before.records.items()}
    stored = {name: before.read(name, [0, 1]) for name in before.layouts}
    after = extract(config_for(images, model, tmp_path / "bank"), quiet())
    assert after.fingerprint == before.fingerprint
    assert {key: after.records[key].digest for key in digests} == digests
    for name, values in stored.items():
        np.testing.assert_array_equal(after.read(name, [0, 1]), values)
    assert after.rows(frames=1).tolist() == [2, 3]
    assert lines_of(after)["z.png"]["row"] == 2


def test_the_bytes_of_an_image_are_those_of_a_video_of_one_frame(without_ray, model, tmp_path):
    pixels = draw_image(tmp_path / "still.png", 5)
    write_lossless(tmp_path / "video.mkv", pixels)
    banks = []
    for name, frames in (("still.png", ""), ("video.mkv", "1")):
        source = tmp_path / f"{name}.csv"
        source.write_text(f"path,sampled_frames\n{name},{frames}\n")
        banks.append(extract(config_for(source, model, tmp_path / f"bank of {name}"), quiet()))
    image, video = banks
    assert [line["decoder"] for bank in banks for line in bank.table.to_pylist()] != ["image", "image"]
    assert image.lengths == video.lengths == (1, 4)
    for name in (array_name(2, "out", 1), STILL, pooled_name(1)):
        assert image.read(name, [0]).tobytes() == video.read(name, [0]).tobytes()


def test_a_table_says_how_many_frames_are_sampled(without_ray, source, model, tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("path,sampled_frames,place\nvideo 0.mp4,2,x\nvideo 1.mp4,,y\na.png,3,z\n")
    bank = extract(config_for(table, model, tmp_path / "bank", root=str(source)), quiet())
    lines = lines_of(bank)
    assert {name: line["frames"] for name, line in lines.items()} == {
        "video 0.mp4": 2,
        "video 1.mp4": 4,
        "a.png": 3,
    }
    assert [len(line["indices"]) for line in lines.values()] == [2, 4, 3]
    assert lines["a.png"]["indices"] == [0, 0, 0]
    assert dict(lines["a.png"]["attributes"]) == {"place": "z"}
    assert bank.read(array_name(3, "map_prev", 2), bank.rows(frames=2)).shape == (1, 1, 16, 16)


def test_images_that_were_listed_with_the_frames_of_videos_stay_so(without_ray, source, model, tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("path,sampled_frames\nvideo 0.mp4,4\na.png,4\nb.jpg,4\n")
    before = extract(config_for(table, model, tmp_path / "bank", root=str(source)), quiet())
    assert before.lengths == (4,)  # as all banks were
    table.write_text("path,place\nvideo 0.mp4,x\na.png,x\nb.jpg,x\n")
    after = extract(config_for(table, model, tmp_path / "bank", root=str(source)), quiet())
    assert after.digest == before.digest
    whole = extract(config_for(source, model, tmp_path / "bank"), quiet())
    lines = lines_of(whole)
    assert [lines[name]["frames"] for name in ("a.png", "m.webp", "z.png")] == [4, 1, 1]
    assert lines["z.png"]["row"] != lines["a.png"]["row"]


def test_a_limit_of_frames_is_for_videos(without_ray, source, model, tmp_path):
    config = config_for(source, model, tmp_path / "bank", limits=DecodeLimits(min_frames=13))
    outcomes = {name: line["outcome"] for name, line in lines_of(extract(config, quiet())).items()}
    assert (outcomes["a.png"], outcomes["video 0.mp4"]) == ("written", "filtered")


@pytest.mark.parametrize("changes", [{"attention": "derived"}, {"attention": "qk"}, {"dtype": "int8"}])
def test_every_way_to_keep_rows_keeps_images(without_ray, source, model, tmp_path, changes):
    bank = extract(config_for(source, model, tmp_path / "bank", **changes), quiet())
    rows = bank.rows(frames=1)
    checks = list(Recheck(bank, backbone_of(bank)).rows(bank.rows().tolist()))
    assert [check.wrong + check.unchecked for check in checks] == [""] * 6
    assert bank.features(3, "out", rows, frames=1).shape == (3, 1, 17, 64)


def test_a_bank_grows_for_all_its_lengths(without_ray, source, model, tmp_path):
    extract(config_for(source, model, tmp_path / "bank", last_blocks=1, attention="none"), quiet())
    bank = extract(config_for(source, model, tmp_path / "bank", last_blocks=2, grow=True), quiet())
    assert len(bank.written(arrays=[array_name(2, "out", 1)])) == 4
    assert len(bank.written(arrays=[array_name(3, "map_next")])) == 3
    assert bank.layouts[array_name(2, "out", 1)].part == 1


def test_views_of_an_image_are_rows_of_one_frame(tmp_path):
    draw_videos(tmp_path / "videos", 1)
    draw_image(tmp_path / "videos/still.png", 3, size=(96, 64))
    bank = Bank(encode_bank(tmp_path).bank)
    assert bank.rows(frames=1).tolist() == [4, 5]
    recheck = Recheck(bank, backbone_of(bank))
    assert not [check for check in recheck.rows([0, 1, 4, 5]) if check.wrong or check.unchecked]
    line = bank.listing.filter([key == "still.png" for key in bank.listing["key"].to_pylist()]).to_pylist()[0]
    assert decode_views(clip_of(line), recheck.plan.with_frames(1)).frames.shape == (2, 1, 64, 64, 3)


def test_the_plan_counts_clips_by_their_frames(source, model, tmp_path, without_ray):
    bank = extract(config_for(source, model, tmp_path / "bank"), quiet())
    with BankWriter(bank.path, bank.spec) as writer:
        bank.place.remove(["shards/00000.json", "shards/00002.json"])
        plan = Plan(writer, attempts=3)
        assert plan.clips(0) == {4: 2, 1: 3}
        assert next((task.shard, task.frames) for task in plan.tasks(0)) == (0, 4)


def test_an_interrupted_extraction_goes_on_to_the_same_bank(bank, source, model, tmp_path, monkeypatch):
    def three_shards(config, writer, part, tasks, progress):
        run_here(config, writer, part, islice(tasks, 3), progress)
        raise KeyboardInterrupt

    config = config_for(source, model, tmp_path / "other")
    monkeypatch.setattr("pipeline.extract.run_tasks", three_shards)
    with pytest.raises(KeyboardInterrupt):
        extract(config, quiet())
    assert len(Bank(config.bank).rows(frames=1)) == 2
    monkeypatch.setattr("pipeline.extract.run_tasks", run_here)
    assert extract(config, quiet()).digest == bank.digest


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 0.5, 1.0])
def test_a_killed_mixed_extraction_goes_on_to_the_same_bank(source, model, tmp_path, bank, after):
    process = start_extraction(source, model, tmp_path / "killed")
    try:
        while not list((tmp_path / "killed/shards").glob("*.json")) and process.poll() is None:
            time.sleep(0.05)
        time.sleep(after)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert extract(config_for(source, model, tmp_path / "killed"), quiet()).digest == bank.digest
