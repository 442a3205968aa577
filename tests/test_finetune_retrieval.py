"""Retrieval: from videos and from a bank alike, by every form of list, with videos that are missing."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import demo
import framebank
from backbones.config import BackboneConfig
from backbones.text import unit_texts
from backbones.weights import load_clip
from demo.painter import HUES, SHAPES
from demo.stills import draw_stills
from finetune.evaluation.captioned_sets import CaptionedSet
from finetune.evaluation.config import RetrievalConfig
from finetune.evaluation.retrieval import main, retrieval, score
from tests.encoded_banks import encode_bank
from tests.small_captions import (
    write_1k_a,
    write_annotation,
    write_didemo,
    write_flickr,
    write_ids,
    write_karpathy,
)
from tests.small_clips import small_model, write_folder
from tests.small_extractions import draw_clip, quiet
from video import Clip, InputError, Sampling, ViewPlan, decode_views, list_clips

VIEWS = ViewPlan(sampling=Sampling(frames=3, stride=3), size=64, temporal_views=2)
NAMES = [f"video{number}" for number in (7010, 7020, 8011, 9770, 9999)]
TEXTS = {name: (f"a film of {name[5:]}", "a talk", f"{name[-2:]} red dots") for name in NAMES}
WAYS = ("text_to_video", "video_to_text")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Five videos, MSR-VTT's lists of them, a CLIP, and the bank that it made from a table with captions."""
    folder = tmp_path_factory.mktemp("retrieval")
    for number, name in enumerate(NAMES):
        place = folder / "videos" / ("TestVideo" if number > 2 else "TrainVal")
        place.mkdir(parents=True, exist_ok=True)
        draw_clip(place / f"{name}.mp4", number)
    model = write_folder(folder / "model", small_model(3))
    splits = {name: "test" if number > 2 else "train" for number, name in enumerate(NAMES)}
    write_annotation(folder / "MSRVTT_data.json", TEXTS, splits)
    write_1k_a(folder / "MSRVTT_JSFUSION_test.csv", {name: TEXTS[name][0] for name in NAMES})
    write_ids(folder / "MSRVTT_train.9k.csv", NAMES)
    files = {f"{name}.mp4": TEXTS[name] for name in NAMES}
    write_karpathy(folder / "dataset_flickr30k.json", files, {f"{name}.mp4": splits[name] for name in NAMES})
    write_flickr(folder / "results_20130124.token", files)
    paths = {path.stem: path.relative_to(folder) for path in folder.glob("videos/*/*.mp4")}
    rows = [f"{paths[name]},{text}" for name in NAMES for text in TEXTS[name]]
    (folder / "table.csv").write_text("\n".join(["path,caption", *rows]) + "\n")
    encode_bank(
        folder, source=str(folder / "table.csv"), backbone=BackboneConfig(name=str(model)), last_blocks=1
    )
    return folder


def config_of(lab, out, *sources, **changes):
    values = {
        "sources": tuple(str(lab / source) for source in sources),
        "root": str(lab / "videos"),
        "name": str(lab / "model"),
        "views": VIEWS,
        "out": out,
    }
    return RetrievalConfig(**(values | changes))


@pytest.fixture(scope="module")
def expected(lab):
    """Ranks by the book, of every caption and every video."""
    clip = load_clip(BackboneConfig(name=str(lab / "model")))
    tower, videos = clip.tower(), []
    for listed in sorted(list_clips(str(lab / "videos")), key=lambda one: one.key.split("/")[1]):
        views = [
            F.normalize(tower(tower.normalise(view), frames=3).pooled, dim=-1).mean(0)
            for view in torch.from_numpy(decode_views(listed, VIEWS).frames)
        ]
        videos.append(F.normalize(torch.stack(views).sum(0), dim=0))
    captions = [text for name in NAMES for text in TEXTS[name]]
    texts = {}
    for text in captions:
        texts[text] = F.normalize(clip.model.encode_text(clip.tokenizer([text])), dim=-1)[0]
    return np.array([[float(video @ texts[text]) for text in captions] for video in videos])


def by_the_book(scores, chosen, each):
    """R@1, R@5, median and mean rank both ways, of some videos with `each` captions of three."""
    kept = [3 * video + number for video in chosen for number in range(each)]
    table = scores[chosen][:, kept]
    owner = np.repeat(np.arange(len(chosen)), each)
    texts = [1 + sum(table[:, m] > table[owner[m], m] + 1e-6) for m in range(len(owner))]
    videos = []
    for n, row in enumerate(table):
        best, rivals = row[owner == n].max(), row[owner != n]
        close = np.abs(rivals - best) < 1e-6
        videos.append(1 + (rivals > best + 1e-6).sum() + close.sum() / 2)
    return {
        way: {
            "recall_at_1": pytest.approx(np.mean(np.array(found) <= 1)),
            "recall_at_5": pytest.approx(np.mean(np.array(found) <= 5)),
            "recall_at_10": pytest.approx(np.mean(np.array(found) <= 10)),
            "median_rank": pytest.approx(np.median(found)),
            "mean_rank": pytest.approx(np.mean(found)),
        }
        for way, found in zip(WAYS, (texts, videos), strict=True)
    }


def counts(report):
    [one] = report["sets"]
    return [one[name] for name in ("videos", "captions", "missing", "missing_captions", "uncaptioned")]


@pytest.mark.parametrize(
    ("options", "chosen", "each"),
    [
        ({"sources": "MSRVTT_JSFUSION_test.csv"}, range(5), 1),
        ({"sources": "MSRVTT_JSFUSION_test.csv", "captions": "MSRVTT_data.json"}, range(5), 3),
        ({"sources": "MSRVTT_train.9k.csv", "captions": "MSRVTT_data.json"}, range(5), 3),
        ({"sources": "MSRVTT_data.json"}, range(5), 3),
        ({"sources": "MSRVTT_data.json", "split": "test"}, (3, 4), 3),
        ({"sources": "dataset_flickr30k.json", "split": "test"}, (3, 4), 3),
        ({"sources": "results_20130124.token"}, range(5), 3),
        ({"sources": "table.csv", "root": ""}, range(5), 3),
    ],
)
def test_every_list_gives_the_textbooks_answer(lab, expected, tmp_path, options, chosen, each):
    files = {name: str(lab / options[name]) for name in ("sources", "captions") if name in options}
    changes = options | files | {"sources": (files["sources"],)}
    report = retrieval(config_of(lab, tmp_path, **changes))
    [one] = report["sets"]
    assert {way: one[way] for way in WAYS} == by_the_book(expected, list(chosen), each)
    assert counts(report) == [len(chosen), len(chosen) * each, 0, 0, 0]
    assert json.loads((tmp_path / "retrieval.json").read_text()) == report


def test_didemos_paragraphs(lab, tmp_path):
    path = write_didemo(tmp_path / "test_data.json", {f"{name}.avi": TEXTS[name] for name in NAMES})
    options = {"sources": (str(path),), "split": "test"}
    apart = retrieval(config_of(lab, tmp_path / "apart", **options))
    whole = retrieval(config_of(lab, tmp_path / "whole", paragraphs=True, **options))
    assert counts(apart) == [5, 15, 0, 0, 0]
    assert counts(whole) == [5, 5, 0, 0, 0]
    rows = [f"{name},{' '.join(TEXTS[name])}" for name in NAMES]
    (tmp_path / "joined.csv").write_text("\n".join(["video_id,sentence", *rows]) + "\n")
    joined = retrieval(config_of(lab, tmp_path / "joined", sources=(str(tmp_path / "joined.csv"),)))
    assert all(joined["sets"][0][way] == whole["sets"][0][way] for way in WAYS)


def test_a_bank_gives_what_its_videos_give(lab, tmp_path):
    options = {"bank": str(lab / "bank"), "name": "", "root": ""}
    alone = retrieval(config_of(lab, tmp_path / "alone", **options))
    listed = retrieval(config_of(lab, tmp_path / "listed", "MSRVTT_data.json", **options))
    videos = retrieval(config_of(lab, tmp_path / "videos", "table.csv", root=""))
    for way in WAYS:
        assert alone["sets"][0][way] == listed["sets"][0][way]
        assert alone["sets"][0][way] == videos["sets"][0][way]
    assert alone["model"] == videos["model"]
    test = retrieval(config_of(lab, tmp_path / "test", "MSRVTT_data.json", split="test", **options))
    assert counts(test) == [2, 6, 0, 0, 0]


def test_several_sets_share_their_vectors(lab, tmp_path):
    lists = ("MSRVTT_JSFUSION_test.csv", "MSRVTT_data.json")
    report = retrieval(config_of(lab, tmp_path, *lists))
    assert [(one["name"].split("/")[1], one["captions"]) for one in report["sets"]] == [
        (lists[0], 5),
        (lists[1], 15),
    ]
    assert len((tmp_path / "vectors.jsonl").read_text().splitlines()) == 6


def test_a_short_mean_is_further_behind_only_where_it_is_left_as_it_is():
    clips = tuple(Clip(key=name, path="", captions=(name,)) for name in "ab")
    vectors = {"a": np.array([0.5, 0.0], np.float32), "b": np.array([0.6, 0.8], np.float32)}
    texts = {"a": torch.tensor([1.0, 0.0]), "b": torch.tensor([0.8, 0.6])}
    each = CaptionedSet(name="test", clips=clips)
    cosine, mean = (score(each, vectors, texts, how, quiet()) for how in ("cosine", "mean"))
    assert [one["text_to_video"]["mean_rank"] for one in (cosine, mean)] == [1.0, 1.5]
    assert cosine["video_to_text"] == mean["video_to_text"]


def test_missing_and_broken_videos_are_counted_and_named(lab, tmp_path):
    (tmp_path / "videos").mkdir()
    for path in lab.glob("videos/*/*.mp4"):
        (tmp_path / "videos" / path.name).symlink_to(path)
    (tmp_path / "videos/video9999.mp4").unlink()
    (tmp_path / "videos/video8011.mp4").unlink()
    (tmp_path / "videos/video8011.mp4").write_bytes(b"no video")
    options = {"root": str(tmp_path / "videos")}
    report = retrieval(config_of(lab, tmp_path / "out", "MSRVTT_data.json", **options))
    assert counts(report) == [3, 9, 2, 6, 0]
    assert report["sets"][0]["absent"] == ["video9999", "video8011.mp4"]
    assert "not a media file" in report["failed"]["video8011.mp4"]
    draw_clip(tmp_path / "videos/video9999.mp4", 4)
    again = retrieval(config_of(lab, tmp_path / "out", "MSRVTT_data.json", **options))
    assert counts(again) == [4, 12, 1, 3, 0]


def test_mistakes_are_one_line(lab, tmp_path, capsys):
    write_ids(tmp_path / "ids.csv", ["video7010", "video1"])
    said = []
    for line in (
        [f"{lab}/MSRVTT_train.9k.csv"],
        [f"{tmp_path}/ids.csv", "--captions", f"{lab}/MSRVTT_data.json"],
        [f"{lab}/MSRVTT_data.json", "--split", "val"],
        [f"{lab}/MSRVTT_data.json", "--root", f"{lab}/model"],
    ):
        words = ["--sources", *line, "--name", str(lab / "model"), "--out", str(tmp_path)]
        assert framebank.dispatch(["retrieval", *words]) == framebank.MISUSED
        said.append(capsys.readouterr().err)
    assert all(text.startswith("framebank: ") and text.count("\n") == 1 for text in said)
    assert "expected captions, found none for any of 5 videos" in said[0]
    assert "found none for 'video1'" in said[1]
    assert "its splits: 'test', 'train'" in said[2]
    assert f"{lab}/MSRVTT_data.json names videos by id; say with --root where they are: expected" in said[3]


def test_a_bank_that_does_not_fit_is_refused(lab, tmp_path):
    with pytest.raises(InputError, match=r"expected videos in split 'val', found none of 5"):
        retrieval(config_of(lab, tmp_path, bank=str(lab / "bank"), name="", split="val"))
    with pytest.raises(ValueError, match=r"evaluate a bank with the backbone that made it"):
        retrieval(config_of(lab, tmp_path, bank=str(lab / "bank"), window=1, boundary="zeros"))


def test_a_few_clips_to_try_it_by_the_command(lab, tmp_path, capsys):
    words = ["--sources", str(lab / "MSRVTT_data.json"), "--bank", str(lab / "bank"), "--out", str(tmp_path)]
    assert main([*words, "--limit", "2"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "text to video" in said
    assert "video to text" in said
    assert "are missing" not in said
    names = [*NAMES, "video1"]
    write_annotation(tmp_path / "more.json", TEXTS | {"video1": ("lost",)}, dict.fromkeys(names, "test"))
    words[1] = str(tmp_path / "more.json")
    assert main(words) == 0
    assert "1 of 6 videos are missing (such as video1)" in " ".join(capsys.readouterr().out.split())


def test_the_demos_clip_finds_pictures_by_what_they_show(tmp_path):
    stills = draw_stills(80, np.random.default_rng(11), empty=0.0)
    first: dict[tuple[int, int], int] = {}
    for number, (shape, hue) in enumerate(stills.codes[:, :2].tolist()):
        first.setdefault((shape, hue), number)
    rows = ["path,caption"]
    for (shape, hue), number in first.items():
        Image.fromarray(stills.pictures[number]).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,a photo of a {list(HUES)[hue]} {list(SHAPES)[shape]}")
    (tmp_path / "stills.csv").write_text("\n".join(rows))
    views = ViewPlan(sampling=Sampling(frames=1), size=64)
    model = Path(demo.__file__).parent / "tiny_clip"
    config = RetrievalConfig(
        sources=(str(tmp_path / "stills.csv"),), name=str(model), views=views, out=tmp_path
    )
    [one] = retrieval(config)["sets"]
    assert one["videos"] > 25
    for way in WAYS:
        assert one[way]["recall_at_1"] > 0.7
        assert one[way]["median_rank"] == 1.0
        assert one[way]["mean_rank"] < 2.5


def test_captions_are_encoded_once_by_all_evaluations_that_share_a_cache(lab, tmp_path, monkeypatch):
    asked = []

    def counted(model, tokens):
        asked.append(len(tokens))
        return unit_texts(model, tokens)

    monkeypatch.setattr("backbones.text.unit_texts", counted)
    shared, captions = tmp_path / "texts", str(lab / "MSRVTT_data.json")

    def found(out, **changes):
        asked_for = config_of(lab, tmp_path / out, "MSRVTT_JSFUSION_test.csv", captions=captions, **changes)
        return retrieval(asked_for, quiet())

    first = found("a", text_cache=shared)
    assert sum(asked) == len({text for texts in TEXTS.values() for text in texts})
    asked.clear()
    second = found("b", text_cache=shared)
    assert not asked
    assert first == second
    found("c")
    assert asked
    assert (tmp_path / "c" / "texts").is_dir()
