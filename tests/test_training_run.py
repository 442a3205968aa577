"""The run directory: created once, gone on with, refused to others."""

import os

import pytest

from training.checkpoint import save_checkpoint
from training.lock import RunBusy
from training.run import RunDirectory, RunError, differences, git_commit, open_run

DOCUMENT = {"config": {"lr": 0.1, "blocks": (1, 2)}, "task": {"classes": ["a", "b"]}}


def begun(path, document, session=()):
    """The directory of a run that was opened and closed."""
    with open_run(path, document, dict(session)) as directory:
        return directory


def test_begin_and_go_on(tmp_path):
    with open_run(tmp_path / "runs" / "a", DOCUMENT, {"bank": "/x"}) as first:
        assert first.checkpoint is None
        save_checkpoint(first.path, {"next_step": 3}, keep=1)
    again = begun(first.path, DOCUMENT, {"bank": "/y"})
    assert again.checkpoint == first.path / "checkpoint-3.pth"
    assert RunDirectory.read(first.path).document == {
        "config": {"lr": 0.1, "blocks": [1, 2]},
        **first.document,
    }
    sessions = again.sessions()
    assert [session["bank"] for session in sessions] == ["/x", "/y"]
    assert sessions[0]["versions"]["torch"]
    assert sessions[0]["machine"]["threads"] >= 1


def test_another_config_is_refused_with_both_sides(tmp_path):
    begun(tmp_path / "a", DOCUMENT)
    other = {"config": {"lr": 0.2, "blocks": (1, 2), "seed": 1}, "task": {"classes": ["a", "b"]}}
    with pytest.raises(RunError, match=r"config\.lr: the run has 0\.1, asked for 0\.2") as caught:
        open_run(tmp_path / "a", other, {})
    assert "config.seed: the run has '(absent)', asked for 1" in str(caught.value)
    assert "blocks" not in str(caught.value)


def test_folders_that_are_no_runs(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="found something else"):
        open_run(tmp_path, DOCUMENT, {})
    with pytest.raises(RunError, match="found something else"):
        open_run(tmp_path / "notes.txt", DOCUMENT, {})
    with pytest.raises(RunError, match="found none"):
        RunDirectory.read(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        RunDirectory.read(tmp_path)


def test_an_empty_folder_may_become_a_run(tmp_path):
    assert begun(tmp_path, DOCUMENT).path == tmp_path


def test_one_that_died_before_its_config_was_there_is_begun_again(tmp_path):
    (tmp_path / "lock.json").write_text("")
    (tmp_path / "config.json.tmp").write_text("{")
    assert begun(tmp_path, DOCUMENT).sessions()


def test_two_at_once_are_refused_and_a_refusal_lets_go(tmp_path):
    with open_run(tmp_path / "a", DOCUMENT, {}), pytest.raises(RunBusy, match=f"process {os.getpid()} on"):
        open_run(tmp_path / "a", DOCUMENT, {})
    with pytest.raises(RunError):
        open_run(tmp_path / "a", {"config": {}}, {})
    assert len(begun(tmp_path / "a", DOCUMENT).sessions()) == 2


def test_divergence_is_kept(tmp_path):
    with open_run(tmp_path, DOCUMENT, {}) as run:
        assert run.divergence is None
        run.mark_diverged(3, "the loss is nan")
    assert RunDirectory.read(tmp_path).divergence == {"step": 3, "reason": "the loss is nan"}


def test_differences_name_leaves():
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == [("a.c", 2, 3)]
    assert differences({"a": {}}, {"a": {}}) == []


def test_no_commit_outside_a_repository(tmp_path):
    assert git_commit(tmp_path) == ""
