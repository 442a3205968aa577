"""Open-VCLIP in small: the drawn world, what is asked of models, and a whole one on few videos."""

import json
from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from ablations import openvclip
from ablations.command import main
from ablations.openvclip import OpenVclipConfig, run_openvclip
from ablations.openvclip_exam import Examiner, Footage, tiny_clip
from ablations.openvclip_report import CLAIMS, CURVES, ROWS, compared
from ablations.openvclip_sets import (
    NEW,
    NEW_SHAPES,
    PANELS,
    REWORDED,
    STILLS,
    TRAINED,
    WORDINGS,
    Question,
    name_of,
    questions_of,
    taught_kinds,
    write_lesson,
)
from ablations.openvclip_training import TEST_VIEWS, TRAIN_VIEWS, TRAININGS, Lesson, tuned_weights
from ablations.openvclip_world import KINDS, HiddenConfig, Scene, draw_scenes, paint_scene, plan_scenes
from video import Clip, Sampling, ViewPlan, decode_views, list_clips

TINY = HiddenConfig(train=1, test=1, stills=1)


def quiet() -> Console:
    return Console(file=StringIO(), width=200)


def killed(*_, **__):
    raise MemoryError("killed")


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    """A run of a single step, killed before anything is examined and made again; its settings, what there
    was when it was killed, and what it found.
    """
    folder = tmp_path_factory.mktemp("ablation")
    config = OpenVclipConfig(folder=folder, threads=1, short=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenVclipConfig, "world", TINY)
        patch.setattr(openvclip, "TEST_VIEWS", ViewPlan(sampling=Sampling(kind="tsn", frames=2), size=64))
        patch.setattr(openvclip.multiprocessing, "cpu_count", lambda: 1)
        with pytest.MonkeyPatch.context() as killer:
            killer.setattr(openvclip.Bench, "mixture", killed)
            with pytest.raises(MemoryError):
                run_openvclip(config, quiet())
        before = json.loads((folder / "openvclip" / "openvclip.json").read_text())["stages"]
        yield config, before, run_openvclip(config, quiet())


def test_what_was_finished_when_it_was_killed_is_kept(ablation):
    _, before, found = ablation
    assert {name: found[name] for name in before} == before
    assert sum(name.startswith("train / ") for name in before) == len(TRAININGS)
    mixtures = {f"{curve.name} / seed 0 / {share}" for curve in CURVES for share in ("0", "0.5")}
    assert found.keys() - before.keys() == mixtures


def test_every_model_answers_every_question(ablation):
    _, _, found = ablation
    for name, result in found.items():
        for scores in result.values() if name.startswith("CLIP") else [result]:
            if not name.startswith("train"):
                assert tuple(scores) == PANELS
                assert all(0 <= accuracy <= 1 for accuracy in scores.values())
    assert found["train / regularised / seed 0"]["steps"] == 1


def test_trainings_are_what_they_are_called(ablation):
    config, _, _ = ablation
    runs = config.folder / "openvclip" / "runs"
    views = {}
    for run in sorted(runs.iterdir()):
        made = json.loads((run / "weights.safetensors.json").read_text())
        tuned = made["made"]["tuned"]
        views[run.name] = (made["temporal_view"] is not None, tuned["regulariser"]["weight"])
    assert views == {
        "frames-alone-0": (False, 0.0),
        "temporal-view-0": (True, 0.0),
        "regularised-0": (True, 0.5),
    }
    last = tuned_weights(runs / "regularised-0", averaged=False)
    mean = tuned_weights(runs / "regularised-0", averaged=True)
    assert last.keys() <= mean.keys()  # after one epoch the average is the last weights
    assert all(torch.equal(last[name], mean[name].view(last[name].shape)) for name in last)


def test_the_page_the_picture_and_the_table(ablation):
    config, _, _ = ablation
    folder = config.folder / "openvclip"
    report = (folder / "report.md").read_text()
    for line in [*ROWS, *CLAIMS]:
        assert f"| {line} |" in report
    assert (folder / "curves.png").stat().st_size > 5000
    console = quiet()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("train", "mixture", "untrained"):
            patch.setattr(openvclip.Bench, name, None)
        run_openvclip(config, console)
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(name in text for name in ROWS)
    with pytest.raises(ValueError, match=r"openvclip\.json holds results of other settings.*\n  rate: "):
        run_openvclip(replace(config, rate=1.0), quiet())


def test_a_difference_is_taken_seed_by_seed():
    def scores(*values: float) -> dict[str, dict[str, float]]:
        return {str(seed): dict.fromkeys(PANELS, value) for seed, value in enumerate(values)}

    assert compared(scores(0.5, 0.7), scores(0.4, 0.6), NEW) == "+10.0 ± 0.0 (2 of 2)"
    assert compared(scores(0.5, 0.5), scores(0.5, 0.6), NEW) == "-5.0 ± 7.1 (0 of 2)"
    assert compared(scores(0.5), scores(0.25), NEW) == "+25.0 (1 of 1)"


def test_every_frame_hides_part_of_its_object_and_stills_do_not():
    config = HiddenConfig()
    clip = paint_scene(Scene(split="test", kind=(1, 0), number=0), config)
    still = paint_scene(Scene(split="still", kind=(1, 0), number=0), config)
    assert (clip.shape, still.shape) == ((12, 64, 64, 3), (1, 64, 64, 3))

    def flat(frame):  # sheets are of one grey, everything else has noise
        equal = (frame[1:] == frame[:-1]).all(axis=-1) & (frame[1:] == frame[1:, :, :1]).all(axis=-1)
        return int(equal.sum())

    assert min(flat(frame) for frame in clip) > 60
    assert flat(still[0]) < 20
    assert not np.array_equal(clip[0], clip[1])


def test_a_clip_and_its_reverse_are_one_to_the_temporal_view(tmp_path):
    """Why no reversed motion is among what is taught."""
    scene = Scene(split="test", kind=(3, 2), number=0)
    clip = torch.from_numpy(paint_scene(scene, HiddenConfig())[1::3].copy())
    footage = Footage([], tmp_path, config=TINY, plan=TEST_VIEWS)
    footage.frames = torch.stack([clip, clip.flip(0)])
    forwards, backwards = Examiner(footage, 1).vectors()
    torch.testing.assert_close(forwards, backwards)


def test_clips_are_drawn_once_and_listed(tmp_path):
    taught = taught_kinds(0)
    scenes = [scene for scene in plan_scenes(TINY, taught[:2]) if scene.split == "train"]
    counts = []
    listing = draw_scenes(tmp_path, TINY, scenes, workers=1, report=lambda *count: counts.append(count))
    assert counts == [(0, 2), (1, 2), (2, 2)]
    assert [clip.split for clip in list_clips(str(listing))] == ["train"] * 2
    first = tmp_path / scenes[0].path
    first.unlink()
    kept = (tmp_path / scenes[1].path).stat().st_mtime_ns
    draw_scenes(tmp_path, TINY, scenes, workers=1, report=lambda *_: None)
    assert (tmp_path / scenes[1].path).stat().st_mtime_ns == kept
    assert decode_views(Clip(key="x", path=str(first)), TEST_VIEWS).frames.shape == (1, 4, 64, 64, 3)
    with pytest.raises(ValueError, match="videos of other settings"):
        draw_scenes(tmp_path, replace(TINY, seed=1), scenes, workers=1, report=lambda *_: None)
    lesson = list_clips(str(write_lesson(tmp_path / "taught.csv", scenes, taught)))
    assert {clip.class_name for clip in lesson} == {name_of(kind) for kind in taught[:2]}


def test_nothing_that_is_asked_was_taught_but_the_trained_classes():
    seeds = [taught_kinds(seed) for seed in range(3)]
    assert len({tuple(taught) for taught in seeds}) == 3
    for taught in seeds:
        scenes = [scene for scene in plan_scenes(HiddenConfig(), taught) if scene.split != "train"]
        questions = questions_of(scenes, taught)
        assert [question.panel for question in questions] == [
            TRAINED, NEW, NEW_SHAPES, *[REWORDED] * len(WORDINGS), STILLS,
        ]  # fmt: skip
        by_panel = {question.panel: question for question in questions}
        names = {panel: set(question.names) for panel, question in by_panel.items()}
        lessons = {name_of(kind) for kind in taught}
        assert (names[TRAINED], names[TRAINED] | names[NEW]) == (lessons, names[STILLS])
        assert not lessons & (names[NEW] | names[REWORDED] | names[NEW_SHAPES])
        assert len(by_panel[TRAINED].scenes) + len(by_panel[NEW].scenes) == 36 * 8
        shown = {scenes[place].kind[0] for place in by_panel[NEW_SHAPES].scenes}
        assert len(shown) == 3
        assert not shown & {shape for shape, _ in taught}
        for question in questions:
            for place, target in zip(question.scenes, question.targets, strict=True):
                kind = scenes[place].kind
                words = set(question.names[target].replace(",", "").split())
                assert words & set(name_of(kind).split()) >= {name_of(kind).split()[-1]}


def test_accuracy_is_the_share_of_right_guesses():
    question = Question(panel=NEW, scenes=(0, 1, 2, 3), targets=(0, 1, 2, 2), names=("a", "b", "c"))
    assert question.accuracy([0, 1, 2, 0]) == 0.75


def test_all_of_clip_is_clip(tmp_path):
    scenes = [Scene(split="still", kind=kind, number=0) for kind in KINDS]
    footage = Footage(scenes, tmp_path, config=TINY, plan=TEST_VIEWS)
    examiner = Examiner(footage, 0)
    question = Question(
        panel=STILLS,
        scenes=tuple(range(36)),
        targets=tuple(range(36)),
        names=tuple(name_of(kind) for kind in KINDS),
    )
    everything = [replace(question, panel=panel) for panel in PANELS]
    clip = examiner.scores({}, 1.0, everything)[STILLS]
    visual = tiny_clip(0).model.visual.state_dict(prefix="visual.")
    broken = {name: torch.zeros_like(values) for name, values in visual.items()}
    assert clip > 0.8
    assert examiner.scores(broken, 1.0, everything)[STILLS] == clip
    assert examiner.scores(broken, 0.0, everything)[STILLS] < 0.1


def test_trainings_differ_in_view_and_regulariser_alone():
    configs = {name: Lesson(training=name, seed=1, epochs=4, rate=1e-4).config() for name in TRAININGS}
    view = configs["temporal view"]
    assert configs["frames alone"] == replace(view, window=0)
    assert configs["regularised"] == replace(view, regulariser=replace(view.regulariser, weight=0.5))
    assert (view.regulariser.weight, view.window, view.average_from, view.seed) == (0.0, 1, 2, 1)
    assert not TRAIN_VIEWS.flip


def test_wrong_settings_are_refused():
    cases: list[dict[str, Any]] = [{"seeds": 0}, {"epochs": 0}, {"rate": 0.0}, {"threads": -1}]
    for wrong in cases:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            OpenVclipConfig(**wrong)


def test_it_is_a_command(capsys):
    with pytest.raises(SystemExit):
        main(["openvclip", "--help"])
    assert "--rate" in capsys.readouterr().out
