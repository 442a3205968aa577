"""The ablation of views from end to end, on few videos: what it compares, its page, and going on."""

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from ablations import views
from ablations.command import main
from ablations.views import TASKS, Form, ViewsConfig, forms_of, run_views
from ablations.views_data import PLAN, Banks, only_splits
from ablations.views_report import FIXED, ONLINE, spread
from decoders.config import AugmentConfig
from demo.world import WorldConfig
from tests.small_extractions import run_here
from training.metrics import read_metrics

STEPS = 2


def quiet() -> Console:
    return Console(file=StringIO(), width=200)


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    """A run of two steps on 36 videos to train on and 8 to test, killed before its last stage and made again;
    its settings, what there was when it was killed, and what it found.
    """
    folder = tmp_path_factory.mktemp("ablation")
    config = ViewsConfig(folder=folder, views=(1, 2), seeds=1, steps=STEPS, threads=1)
    world = WorldConfig(train=36, val=0, test=4, test_pairs=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.extract.run_tasks", run_here)
        patch.setattr("ablations.views_data.world_of", lambda seed, short: world)
        with pytest.MonkeyPatch.context() as killer:
            killer.setattr(views, "train_online", killed)
            with pytest.raises(MemoryError):
                run_views(config, quiet())
        before = json.loads((folder / "views" / "views.json").read_text())["stages"]
        yield config, before, run_views(config, quiet())


def killed(*_, **__):
    raise MemoryError("killed")


def test_what_was_finished_when_it_was_killed_is_kept(ablation):
    _, before, found = ablation
    assert {name: found[name] for name in before} == before
    assert found.keys() - before.keys() == {ONLINE}


def test_every_form_is_trained_and_tested(ablation):
    config, _, found = ablation
    named = {f"{form.name} / {task}" for form in forms_of(config) for task in TASKS}
    assert named | {ONLINE, "extract fixed", "extract random", "extract tests"} == found.keys()
    assert found["extract random"]["rows"] == 72
    assert json.loads((config.folder / "views" / "views.json").read_text())["stages"] == found
    runs = list((config.folder / "views" / "runs").glob("*/*/seed-0"))
    assert len(runs) == 2 * len(forms_of(config)) + 2
    assert all(len(read_metrics(run / "metrics.jsonl")) == STEPS for run in runs)


def test_the_page_the_picture_and_the_table(ablation):
    config, _, found = ablation
    report = (config.folder / "views" / "report.md").read_text()
    for form in [*(form.name for form in forms_of(config)), ONLINE]:
        assert f"| {form} |" in report
    assert (config.folder / "views" / "views.png").stat().st_size > 5000
    console = quiet()
    run_views(config, console)
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(form.name in text for form in forms_of(config))
    assert spread(found["1 cached / motion"]["top1"]["test"]) in text


def test_run_again_nothing_is_trained(ablation, monkeypatch):
    config, _, found = ablation
    monkeypatch.setattr(views, "train_heads", None)
    monkeypatch.setattr(views, "train_online", None)
    assert run_views(config, quiet()) == found
    with pytest.raises(
        ValueError, match=r"views\.json holds results of other settings.*\n  seeds: found 1, asked for 2"
    ):
        run_views(replace(config, seeds=2), quiet())


def test_forms_differ_only_in_their_views():
    bench = views.Bench(
        config=ViewsConfig().resolved(),
        banks=Banks(fixed="", random="", tests=""),
        runs=None,
        console=quiet(),
    )
    configs = {form.name: bench.train_config("motion", form, 1) for form in forms_of(ViewsConfig())}
    assert {(config.seed, config.order, config.steps) for config in configs.values()} == {(1, 0, 300)}
    plain = configs["1 cached"]
    assert configs["4 cached"] == replace(plain, views=4)
    assert configs[FIXED] == bench.train_config("motion", Form(name=ONLINE), 1) == plain
    assert configs["1 cached, mixup"] == replace(plain, augment=AugmentConfig(mixup=0.4))
    assert configs["1 cached, token dropout"] == replace(plain, augment=AugmentConfig(token_dropout=0.5))
    look = bench.train_config("appearance", Form(name="1 cached"), 1)
    assert look == replace(plain, label="appearance", decoder=plain.decoder.without_temporal())


def test_random_views_never_flip():
    assert not PLAN.flip
    assert PLAN.kind == "train"


def test_only_some_splits_are_listed(tmp_path):
    (tmp_path / "list.csv").write_text("path,split\na.mp4,train\nb.mp4,test\nc.mp4,val\n")
    found = only_splits(tmp_path / "list.csv", "test", "val")
    assert found.read_text().split() == ["path,split", "b.mp4,test", "c.mp4,val"]


def test_wrong_settings_are_refused():
    for wrong in ({"views": ()}, {"views": (1, 1)}, {"views": (0,)}, {"seeds": 0}, {"steps": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ViewsConfig(**wrong)


def test_it_is_a_command(capsys):
    with pytest.raises(SystemExit):
        main(["views", "--help"])
    assert "--token-dropout" in capsys.readouterr().out
