"""The trade-off: its ends are CLIP and the tuned weights, each clip is decoded once, nothing is lost."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from safetensors.torch import load_file

from backbones.config import BackboneConfig
from backbones.errors import BackboneError
from backbones.weights import load_clip
from finetune.decoding import Decoders
from finetune.evaluation.config import ZeroShotConfig
from finetune.evaluation.video_vectors import Journal
from finetune.evaluation.zeroshot import zeroshot
from finetune.final import InterpolateCommand, interpolate
from finetune.interpolate import RegulariserConfig
from finetune.place import Place
from finetune.tradeoff.command import main, parse, tradeoff
from finetune.tradeoff.config import TradeoffConfig
from finetune.tradeoff.report import point_report, published_share
from finetune.tuning.command import finetune
from finetune.tuning.config import TuneConfig
from finetune.tuning.data import Sources
from tests.small_clips import small_model, tensors_of, write_folder
from tests.small_extractions import draw_classes, draw_clip
from tests.test_finetune_final import released
from training.lock import RunBusy, RunLock
from training.optim import OptimConfig
from training.run import RunError
from video import Sampling, ViewPlan

CLOSED, OPEN = 6, 4
SHARES = (0.0, 0.3, 1.0)
SAMPLING = Sampling(frames=3, stride=3)
VIEWS = ViewPlan(sampling=SAMPLING, size=64, temporal_views=2)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Two sets of videos that call their clips alike, a CLIP, and two runs that began from it."""
    folder = tmp_path_factory.mktemp("tradeoff")
    for name in ("closed", "open"):
        (folder / name).mkdir()
    draw_classes(folder / "closed", CLOSED)
    for number in range(OPEN):
        place = folder / "open" / f"class {number % 2}"
        place.mkdir(exist_ok=True)
        draw_clip(place / f"clip {number}.mp4", 100 + number)
    write_folder(folder / "model", small_model(3))
    train(folder, "openvclip")
    train(folder, "plain", window=0, regulariser=RegulariserConfig(weight=0.0))
    return folder


def train(folder, name, **changes):
    config = TuneConfig(
        name=str(folder / "model"),
        weights="",
        views=ViewPlan(kind="train", sampling=SAMPLING, size=64, short_side=(64, 72)),
        test_views=VIEWS,
        templates="photo",
        optim=OptimConfig(lr=3e-3, weight_decay=0.01, decay_vectors=False),
        warmup_epochs=0.0,
        epochs=1,
        average_from=1,
        batch_size=3,
    )
    sources, place = Sources(source=str(folder / "closed")), Place(device="cpu", decode_processes=1)
    finetune(replace(config, **changes), sources, run=folder / name, place=place)


def config_of(lab, out, *runs, **changes):
    values = {
        "runs": tuple(lab / run for run in runs or ("openvclip", "plain")),
        "closed": str(lab / "closed"),
        "open": (str(lab / "open"),),
        "shares": SHARES,
        "views": VIEWS,
        "out": out,
        "decode_processes": 1,
    }
    return TradeoffConfig(**(values | changes))


@pytest.fixture(scope="module")
def whole(lab, tmp_path_factory):
    """The report of both runs, and what was decoded for it."""
    out, tried = tmp_path_factory.mktemp("whole"), []
    with pytest.MonkeyPatch.context() as patch:
        counting(patch, tried)
        return out, tradeoff(config_of(lab, out)), tried


def counting(patch, tried):
    """Note the path of every clip that is decoded."""
    submit = Decoders.submit
    patch.setattr(
        Decoders, "submit", lambda self, clip, plan: (tried.append(clip.path), submit(self, clip, plan))[1]
    )


def vectors_of(path):
    with path.open() as file:
        identity = json.loads(file.readline())["of"]
    journal = Journal(path, identity)
    journal.close()
    return identity, journal.vectors


def test_every_clip_is_decoded_once_for_all_runs_and_shares(whole):
    out, report, tried = whole
    assert len(tried) == len(set(tried)) == CLOSED + OPEN
    assert [curve["label"] for curve in report["curves"]] == ["openvclip", "plain"]
    for curve in report["curves"]:
        assert [point["share"] for point in curve["points"]] == list(SHARES)
        assert [[one["clips"] for one in point["sets"]] for point in curve["points"]] == [[CLOSED, OPEN]] * 3
    assert len(list((out / "vectors").iterdir())) == 6
    assert json.loads((out / "tradeoff.json").read_text()) == report


@pytest.mark.parametrize(("run", "share"), [*(("openvclip", share) for share in SHARES), ("plain", 0.3)])
def test_points_are_what_zeroshot_says_of_such_weights(lab, whole, tmp_path, run, share):
    out, report, _ = whole
    view = {"window": 1, "boundary": "zeros"} if run == "openvclip" else {"window": 0, "boundary": None}
    clip = {"name": str(lab / "model"), **view}
    weights = lab / run / "weights.safetensors"
    if share == 1:
        model = clip
    elif share == 0:
        model = clip | {"weights": str(weights)}
    else:
        mixed = InterpolateCommand(
            tuned=(weights,), name=clip["name"], clip="", share=share, out=tmp_path / "mixed.safetensors"
        )
        interpolate(mixed)
        model = clip | {"weights": str(mixed.out)}
    [curve] = [curve for curve in report["curves"] if curve["label"] == run]
    [point] = [point for point in curve["points"] if point["share"] == share]
    config = {"views": VIEWS, "templates": "photo", "out": tmp_path, "decode_processes": 1}
    [expected] = zeroshot(ZeroShotConfig(sources=(str(lab / "closed"),), **config, **model))["sets"]
    assert {key: expected[key] for key in point["sets"][0]} == point["sets"][0]
    _, theirs = vectors_of(tmp_path / "vectors.jsonl")
    ours = vectors_at(out, curve, share)
    assert (len(theirs), len(ours)) == (CLOSED, CLOSED + OPEN)
    for key, vector in theirs.items():
        np.testing.assert_array_equal(ours[str(lab / "closed" / key)], vector)


def vectors_at(out, curve, share):
    digests = {"clip": curve["clip_digest"] if share else "", "tuned": curve["digest"] if share < 1 else ""}
    found = map(vectors_of, (out / "vectors").iterdir())
    view = curve["temporal_view"].replace("none", "None")
    [vectors] = [
        vectors
        for identity, vectors in found
        if (identity["digest"], identity["share"], identity["temporal_view"]) == (digests, share, view)
    ]
    return vectors


def test_interrupted_it_goes_on(lab, whole, tmp_path, monkeypatch):
    out, report, _ = whole
    add, made, tried = Journal.add, [], []

    def interrupted(journal, key, found):
        add(journal, key, found)
        made.append(key)
        if len(made) == 29:  # within the second group of clips
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", interrupted)
        patch.setattr("finetune.tradeoff.sweep.GROUP", 4)
        with pytest.raises(KeyboardInterrupt):
            tradeoff(config_of(lab, tmp_path))
    assert not (tmp_path / "tradeoff.json").exists()
    torn = sorted((tmp_path / "vectors").iterdir())[0]
    torn.write_bytes(torn.read_bytes()[:-5])
    counting(monkeypatch, tried)
    assert tradeoff(config_of(lab, tmp_path)) == report
    assert 0 < len(tried) < CLOSED + OPEN
    for path in (out / "vectors").iterdir():
        assert sorted(path.read_bytes().splitlines()) == sorted(
            (tmp_path / "vectors" / path.name).read_bytes().splitlines()
        )
    tried.clear()
    more = tradeoff(config_of(lab, tmp_path, "plain", shares=(1.0, 0.0)))
    assert not tried
    assert more["curves"][0]["points"] == report["curves"][1]["points"][::-2]


def test_curves_of_one_clip_and_view_meet_at_its_end(lab, whole, tmp_path):
    shutil.copytree(whole[0] / "vectors", tmp_path / "out/vectors")
    shutil.copytree(lab / "openvclip", tmp_path / "again")
    shutil.copy(lab / "openvclip/weights.safetensors", tmp_path / "file.safetensors")
    shutil.copy(lab / "openvclip/weights.safetensors.json", tmp_path / "file.safetensors.json")
    runs = (tmp_path / "again", tmp_path / "file.safetensors")
    command = {
        "runs": runs,
        "name": str(lab / "model"),
        "clip": str(lab / "model/open_clip_model.safetensors"),
    }
    report = tradeoff(config_of(lab, tmp_path / "out", shares=(1.0,), templates="photo", **command))
    assert [curve["label"] for curve in report["curves"]] == ["again", "file"]
    assert report["curves"][0]["points"] == report["curves"][1]["points"]
    assert report["curves"][0]["points"] == whole[1]["curves"][0]["points"][2:]
    assert len(list((tmp_path / "out/vectors").iterdir())) == 6


def test_weights_as_open_vclip_releases_them(lab, tmp_path):
    clip, tuned = tensors_of(small_model(3)), tensors_of(small_model(4))
    model = small_model(3)
    model.load_state_dict({name: tuned[name] if name.startswith("visual.") else clip[name] for name in clip})
    path = released(tmp_path / "swa_2_22.pth", model)
    weights = str(lab / "model/open_clip_model.safetensors")
    options = {"runs": (path,), "name": str(lab / "model"), "clip": weights, "limit": 2}
    report = tradeoff(config_of(lab, tmp_path / "out", **options))
    [curve] = report["curves"]
    assert (curve["label"], curve["temporal_view"]) == ("swa_2_22", "window 1, boundary zeros")
    assert curve["templates"] == "action"
    released(path, small_model(4))
    with pytest.raises(ValueError, match=r"expected CLIP's own text tower in .*swa_2_22.pth, found another"):
        tradeoff(config_of(lab, tmp_path / "out", **options))


def test_wrong_runs_are_named(lab, tmp_path):
    def refused(kind, message, *runs, **changes):
        with pytest.raises(kind, match=message) as refusal:
            tradeoff(config_of(lab, tmp_path / "out", **({"runs": runs} | changes)))
        assert "\n" not in str(refusal.value)

    shutil.copytree(lab / "plain", tmp_path / "unfinished")
    (tmp_path / "unfinished/weights.safetensors").unlink()
    refused(
        RunError,
        r"expected a finished run at .*unfinished, found none.*resume --run",
        tmp_path / "unfinished",
    )
    (tmp_path / "decoder").mkdir()
    (tmp_path / "decoder/config.json").write_text('{"config": {"steps": 3}}')
    refused(RunError, r"a run of framebank finetune at .*decoder", tmp_path / "decoder")
    refused(RunError, r"expected a run directory", lab / "closed")
    file = lab / "plain/weights.safetensors"
    refused(ValueError, r"name it with --name", file)
    refused(BackboneError, r"nowhere", file, name=str(lab / "model"), clip=str(tmp_path / "nowhere.pt"))
    refused(BackboneError, r"nowhere.pth", tmp_path / "nowhere.pth", name=str(lab / "model"))
    write_folder(tmp_path / "wide", small_model(3, width=96), width=96)
    other = {"name": str(tmp_path / "wide"), "clip": str(tmp_path / "wide/open_clip_model.safetensors")}
    refused(ValueError, r"expected the CLIP that .*plain.* began from \(digest", file, **other)
    silent = released(tmp_path / "swa.pth", small_model(1))
    refused(BackboneError, r"swa.pth does not fit .*of another shape", silent, **other)
    interpolate(
        InterpolateCommand(
            tuned=(file,), name=str(lab / "model"), clip="", out=tmp_path / "mixed.safetensors"
        )
    )
    mixed = tmp_path / "mixed.safetensors"
    refused(ValueError, r"before they are mixed, found .* with 0.5 of CLIP", mixed, name=str(lab / "model"))
    refused(ValueError, r"found runs alone", lab / "plain", clip="openai")
    refused(ValueError, r"curves of different names, found plain, plain; give --labels", lab / "plain", file)
    refused(ValueError, r"set it to 64", lab / "plain", views=replace(VIEWS, size=32))


def test_a_video_that_cannot_be_decoded_is_counted(lab, whole, tmp_path):
    shutil.copytree(whole[0] / "vectors", tmp_path / "out/vectors")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    lines = [f"{lab}/open/class {k % 2}/clip {k}.mp4,class {k % 2}\n" for k in range(2)]
    (tmp_path / "test.csv").write_text("".join(lines) + f"{tmp_path}/broken.mp4,class 0\n")
    options = {"open": (str(tmp_path / "test.csv"), str(lab / "open"))}
    for _ in range(2):
        report = tradeoff(config_of(lab, tmp_path / "out", "plain", **options))
        points = report["curves"][0]["points"]
        assert [[one["missing"] for one in point["sets"]] for point in points] == [[0, 1, 0]] * 3
        [(key, reason)] = report["failed"].items()
        assert key == str(tmp_path / "broken.mp4")
        assert "not a media file" in reason
        for point in points:
            assert point["open"] == pytest.approx(sum(one["top1"] for one in point["sets"][1:]) / 2)


def test_one_process_at_a_time(lab, tmp_path):
    with RunLock(tmp_path), pytest.raises(RunBusy, match=r"is in use by"):
        tradeoff(config_of(lab, tmp_path, "plain"))


def test_settings_that_do_not_go_together(lab, tmp_path):
    for changes, message in (
        ({"shares": (0.5, 1.5)}, r"from 0 to 1, found 1.5"),
        ({"shares": (0.5, 0.5)}, r"each once"),
        ({"labels": ("one",)}, r"a label for each of 2 runs, found 1"),
        ({"roots": ("a", "b", "c")}, r"one for each of 2 sets with the closed one first, found 3"),
        ({"open": ()}, r"sets of new classes, found 2 and 0"),
        ({"limit": -1}, r"limit from 0"),
    ):
        with pytest.raises(ValueError, match=message):
            config_of(lab, tmp_path, **changes)
    sets = config_of(lab, tmp_path, splits=("train", "test"), classes=("names.txt",)).sets
    assert [(one.split, one.classes) for one in sets] == [("train", "names.txt"), ("test", "names.txt")]


def test_the_best_point_and_the_published_one():
    def sets(*top1):
        return [{"top1": value} for value in top1]

    point = point_report(0.5, sets(0.5, 0.2, 0.4))
    assert (point["closed"], point["open"]) == (0.5, pytest.approx(0.3))
    assert point["harmonic_mean"] == pytest.approx(2 * 0.5 * 0.3 / 0.8)
    assert point_report(0.5, sets(0.0, 0.2))["harmonic_mean"] == 0.0
    assert [published_share(name) for name in ("ViT-B-16", "ViT-L-14", "/models/mine")] == [0.5, 0.6, 0.5]


def test_the_command_and_what_it_leaves(lab, whole, tmp_path, capsys):
    shutil.copytree(whole[0] / "vectors", tmp_path / "vectors")
    runs = [str(lab / "plain"), str(lab / "openvclip")]
    words = [*runs, "--closed", str(lab / "closed"), "--open", str(lab / "open"), "--out", str(tmp_path)]
    assert parse(words).views == VIEWS
    assert parse([*words, "--views.temporal-views", "1"]).views == replace(VIEWS, temporal_views=1)
    assert main([*words, "--shares", "0", "0.3", "0.5", "1", "--labels", "without", "with"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "published │" in said
    assert "optimistic" in said
    report = json.loads((tmp_path / "tradeoff.json").read_text())
    page = (tmp_path / "tradeoff.md").read_text()
    for curve in report["curves"]:
        best = max(curve["points"], key=lambda point: point["harmonic_mean"])
        assert curve["best"] == best["share"]
        assert f"{curve['label']} ({lab}/model, " in page
    assert page.count("published |") == 2
    height, width, _ = imread(tmp_path / "tradeoff.png").shape
    assert width > height > 400
    assert (tmp_path / "tradeoff.svg").read_text().startswith("<?xml")


def test_fp16_weights_are_mixed_before_they_are_rounded(lab, tmp_path):
    from finetune.tradeoff.mixtures import curves_of
    from finetune.tradeoff.tuned import tuned_of

    [curve] = curves_of(tuned_of(config_of(lab, tmp_path, "openvclip")), "fp16", torch.device("cpu"))
    tower = curve.tower(0.3)
    tuned = load_file(lab / "openvclip/weights.safetensors")["visual.proj"]
    clip = load_clip(BackboneConfig(name=str(lab / "model"))).model.visual.proj
    assert torch.equal(tower.visual.proj, torch.lerp(tuned, clip, 0.3).half())
    assert torch.equal(curve.tower(1.0).visual.proj, clip.half())
