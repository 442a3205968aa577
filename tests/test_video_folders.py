"""Folders: class folders, flat folders, splits; errors that say what is there instead."""

import os
from pathlib import Path

import pytest

from video import InputError, list_clips


def make(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return str(root)


def test_sorted_class_folders_are_the_labels(tmp_path: Path) -> None:
    source = make(
        tmp_path,
        "zumba/b.mp4",
        "archery/deep/er/a.AVI",
        "archery/note.txt",
        "archery/.hidden.mp4",
        "b c/p.jpg",
    )
    clips = list_clips(source)
    assert [(c.key, c.label, c.class_name) for c in clips] == [
        ("archery/deep/er/a.AVI", 0, "archery"),
        ("b c/p.jpg", 1, "b c"),
        ("zumba/b.mp4", 2, "zumba"),
    ]
    assert clips[0].path == str(tmp_path / "archery/deep/er/a.AVI")
    assert {c.split for c in clips} == {""}


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    clips = list_clips(make(tmp_path, "b.webm", "a.mp4"))
    assert [(c.key, c.label, c.class_name) for c in clips] == [("a.mp4", -1, ""), ("b.webm", -1, "")]


def test_splits_share_their_classes(tmp_path: Path) -> None:
    clips = list_clips(make(tmp_path, "train/run/a.mp4", "train/sit/b.mp4", "val/sit/c.mp4", "test/d.mp4"))
    assert [(c.key, c.label, c.split) for c in clips] == [
        ("test/d.mp4", -1, "test"),
        ("train/run/a.mp4", 0, "train"),
        ("train/sit/b.mp4", 1, "train"),
        ("val/sit/c.mp4", 1, "val"),
    ]


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    clips = list_clips(make(tmp_path, "train/a.mp4", "tram/b.mp4"))
    assert [(c.label, c.class_name, c.split) for c in clips] == [(0, "train", ""), (1, "tram", "")]


def test_links_are_followed_once_and_broken_ones_listed(tmp_path: Path) -> None:
    source = make(tmp_path / "data", "a/x.mp4")
    make(tmp_path / "elsewhere", "y.mp4")
    (tmp_path / "data/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/a/again").symlink_to(tmp_path / "data/a")
    (tmp_path / "data/b/lost.mp4").symlink_to(tmp_path / "nowhere.mp4")
    keys = [c.key for c in list_clips(source)]
    assert {"a/x.mp4", "b/y.mp4", "b/lost.mp4"} <= set(keys)
    assert len(keys) < 6


def test_odd_names(tmp_path: Path) -> None:
    make(tmp_path, "a/with space.mp4", "a/new\nline.mp4", "a/☃.mp4")
    (tmp_path / "a/folder.mp4").mkdir()
    names = ["a/folder.mp4", "a/new\nline.mp4", "a/with space.mp4", "a/☃.mp4"]
    assert [c.key for c in list_clips(str(tmp_path))] == names


def test_errors_say_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an empty folder"):
        list_clips(str(tmp_path))
    with pytest.raises(InputError, match="2 entries, none of them a video"):
        list_clips(make(tmp_path, "read.me", "other.doc"))
    with pytest.raises(InputError, match=r"1 tar files.*\*\.tar"):
        list_clips(make(tmp_path, "x-0.tar"))
    with pytest.raises(InputError, match=f"found nothing.*the part that exists is {tmp_path}"):
        list_clips(str(tmp_path / "no/such/folder"))


def test_a_folder_called_like_a_video_is_listed_where_it_holds_none(tmp_path: Path) -> None:
    (tmp_path / "run" / "a.mp4" / "deep").mkdir(parents=True)
    clips = list_clips(make(tmp_path, "run/b.mp4/c.mp4", "run/d.mp4"))
    assert [clip.key for clip in clips] == ["run/a.mp4", "run/b.mp4/c.mp4", "run/d.mp4"]


def test_a_name_that_is_no_utf8_is_listed_as_text(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")).write_bytes(b"x")
    (clip,) = list_clips(make(tmp_path))
    assert (clip.key, clip.path) == ("caf\\xe9.mp4", str(tmp_path / "caf\\xe9.mp4"))
