"""The command: what a user gets wrong ends in one clear message and an exit code, not in a traceback."""

import subprocess
import sys

import pytest

import framebank
from tests.drawn_videos import write_video
from tests.small_banks import small_spec, write_bank
from tests.small_clips import write_config


@pytest.fixture
def model(tmp_path):
    return str(write_config(tmp_path / "small.json"))


@pytest.fixture
def videos(tmp_path):
    import numpy as np

    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos/a.mp4", np.zeros((4, 64, 64, 3), np.uint8))
    return tmp_path / "videos"


def said(capsys, *arguments) -> tuple[int, str]:
    """Exit code and everything on the error stream."""
    code = framebank.dispatch([str(argument) for argument in arguments])
    return code, capsys.readouterr().err


def extraction(source, bank, model, *more):
    return (
        "extract",
        "shapes",
        *("--source", source, "--bank", bank, "--backbone.name", model, "--backbone.weights", "random:0"),
        *more,
    )


def test_without_a_command_it_lists_them(capsys):
    code, text = said(capsys)
    assert code == 2
    assert all(name in text for name in framebank.COMMANDS)
    assert said(capsys, "--help")[0] == 0


def test_an_unknown_command_is_named(capsys):
    code, text = said(capsys, "extrakt")
    assert code == 2
    assert "there is no command 'extrakt'" in text


def test_a_wrong_folder(capsys, tmp_path, model):
    code, text = said(capsys, *extraction(tmp_path / "nowhere", tmp_path / "bank", model))
    assert code == 2
    assert str(tmp_path / "nowhere") in text
    assert text.startswith("framebank: ")


def test_an_empty_folder(capsys, tmp_path, model):
    (tmp_path / "void").mkdir()
    code, text = said(capsys, *extraction(tmp_path / "void", tmp_path / "bank", model))
    assert code == 2
    assert "void" in text


def test_an_unreadable_list_line_is_numbered(capsys, tmp_path, model, videos):
    (tmp_path / "list.txt").write_text("videos/a.mp4 0\nvideos/b.mp4\n")
    code, text = said(capsys, *extraction(tmp_path / "list.txt", tmp_path / "bank", model))
    assert code == 2
    assert "line 2" in text


def test_an_unknown_model_gets_near_names(capsys, tmp_path, videos):
    code, text = said(capsys, *extraction(videos, tmp_path / "bank", "ViT-B16"))
    assert code == 2
    assert "ViT-B-16" in text


def test_another_spec_shows_both_sides(capsys, tmp_path, model, videos):
    write_bank(tmp_path / "bank", 1)
    code, text = said(capsys, *extraction(videos, tmp_path / "bank", model))
    assert code == 2
    assert "backbone.width: the bank has 16, asked for 64" in text
    assert "frames: the bank has 3, asked for 8" in text


def test_a_wrong_setting(capsys, tmp_path, model, videos):
    code, text = said(capsys, *extraction(videos, tmp_path / "bank", model, "--last-blocks", 9))
    assert code == 2
    assert "4 blocks" in text


def test_training_from_no_bank(capsys, tmp_path):
    code, text = said(capsys, "train", "shapes", "--bank", tmp_path, "--run", tmp_path / "run")
    assert code == 2
    assert "expected a framebank bank" in text


def test_evaluating_no_run(capsys, tmp_path):
    write_bank(tmp_path / "bank", 1, small_spec())
    code, text = said(capsys, "evaluate", tmp_path / "run", "--bank", tmp_path / "bank")
    assert code == 2
    assert "expected a run directory" in text


def test_a_bug_of_ours_keeps_its_traceback():
    def buggy(arguments):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        framebank.run(buggy, [])


def test_ctrl_c_says_how_to_go_on(capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    assert framebank.run(interrupted, []) == framebank.INTERRUPTED
    assert "run the same command to go on" in capsys.readouterr().err


def test_help_starts_without_loading_torch():
    code = "import sys, framebank; framebank.dispatch(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_the_extraction_script_is_the_same_command(tmp_path, model, videos):
    script = [sys.executable, "pipeline/extract.py"]
    arguments = [str(argument) for argument in extraction(videos / "nowhere", tmp_path / "bank", model)[1:]]
    run = subprocess.run([*script, *arguments], check=False, capture_output=True, text=True)
    assert run.returncode == framebank.MISUSED
    assert run.stderr.startswith("framebank: ")
