"""What a source may be, and what is said when it is something else."""

import pickle
from pathlib import Path

import pytest

from video import Clip, InputError, VideoError, list_clips, read_bytes


def test_a_single_video(tmp_path: Path) -> None:
    path = tmp_path / "a b.mp4"
    path.write_bytes(b"x")
    (clip,) = list_clips(str(path))
    assert (clip.key, clip.path, clip.label, read_bytes(clip)) == ("a b.mp4", str(path), -1, b"x")
    assert pickle.loads(pickle.dumps(clip)) == clip


def test_a_file_url_and_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/a.mp4").write_bytes(b"x")
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = list_clips(str(tmp_path / "videos"))
    assert list_clips("~/videos") == list_clips(f"file://{tmp_path}/videos") == expected


def test_errors_say_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "list.xlsx").write_bytes(b"x")
    (tmp_path / "a.txt").write_text("v.mp4 0\n")
    (tmp_path / "b.txt").write_text("w.mp4 0\n")
    for source, reason in [
        (tmp_path / "list.xlsx", r"expected a folder, a list file .* or a \.tar; found .*list\.xlsx"),
        (tmp_path / "x/missing.txt", f"found nothing .*the part that exists is {tmp_path}"),
        (tmp_path / "*.txt", "expected one list, or HMDB51's .*; found 2 files"),
        (tmp_path / "*.csv", "expected list files .*; found none"),
    ]:
        with pytest.raises(InputError, match=reason) as caught:
            list_clips(str(source))
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, VideoError)


def test_unreadable_clips(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(VideoError, match="unreadable: Is a directory"):
        read_bytes(Clip(key="x", path=str(tmp_path / "folder.mp4")))


def test_a_root_beside_a_folder_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(InputError, match="is no list; leave root out"):
        list_clips(str(tmp_path), root=str(tmp_path))
