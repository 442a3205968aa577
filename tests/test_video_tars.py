"""Tars: samples, side files, several shards, and shards that are no tars."""

import io
import tarfile
from pathlib import Path

import pytest

from tests.drawn_videos import numbered_frames, write_video
from video import DecodeError, InputError, ViewPlan, decode_views, list_clips, read_bytes


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def test_samples_with_every_kind_of_side_file(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "s-0.tar",
        {"__meta__": b"x", "a/1.mp4": b"one", "a/1.cls": b"dog\n", "a/1.txt": b"A.\n\nB.\n"},
    )
    said = b'{"label": "cat", "caption": "C.", "split": "val", "motion": "left", "n": [1, 2]}'
    write_tar(
        tmp_path / "s-1.tar", {"2.json": said, "2.webm": b"three", "2.unknown": b"", "lonely.cls": b"dog"}
    )
    first, second = list_clips(str(tmp_path / "s-{0..1}.tar"))
    assert (first.key, first.label, first.class_name) == ("s-0.tar/a/1.mp4", 1, "dog")
    assert (first.captions, first.path) == (("A.", "B."), str(tmp_path / "s-0.tar"))
    assert (second.key, second.label, second.class_name, second.split) == ("s-1.tar/2.webm", 0, "cat", "val")
    assert (second.captions, second.attributes) == (("C.",), {"motion": "left", "n": "[1, 2]"})
    assert [read_bytes(clip) for clip in (first, second)] == [b"one", b"three"]
    assert list_clips(str(tmp_path / "s-*.tar")) == [first, second]
    assert list_clips(f"file://{tmp_path}/s-{{0,1}}.tar") == [first, second]


def test_several_videos_in_a_sample_and_shards_of_one_name(tmp_path: Path) -> None:
    members = {
        "v.l.mp4": b"left",
        "v.r.mp4": b"right",
        "v.cls": b"3",
        "v.r.cls": b"4",
        "v.l.txt": b"seen left",
    }
    paths = [write_tar(tmp_path / part / "x.tar", members) for part in ("train", "val")]
    clips = list_clips("::".join(paths))
    assert [c.key for c in clips] == [
        f"{part}/x.tar/v.{side}.mp4" for part in ("train", "val") for side in "lr"
    ]
    assert [(c.label, c.captions) for c in clips[:2]] == [(3, ("seen left",)), (4, ())]


def test_a_real_video_is_decoded_from_its_place_in_the_tar(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", numbered_frames(20))
    source = write_tar(tmp_path / "s.tar", {"0.jpg": b"broken", "v.mp4": path.read_bytes()})
    broken, whole = list_clips(source)
    assert decode_views(whole, ViewPlan(size=32)).num_frames == 20
    with pytest.raises(DecodeError, match="not a media file"):
        decode_views(broken, ViewPlan(size=32))


def test_a_shard_that_shrank_since_it_was_listed(tmp_path: Path) -> None:
    source = write_tar(tmp_path / "s.tar", {"v.mp4": b"0123456789" * 300})
    (clip,) = list_clips(source)
    Path(source).write_bytes(Path(source).read_bytes()[:1000])
    with pytest.raises(DecodeError, match=r"truncated: .* ends 2512 bytes before this member does"):
        read_bytes(clip)


def test_errors_name_the_shard(tmp_path: Path) -> None:
    good = {"v.mp4": b"x" * 5000, "v.cls": b"1"}
    source = write_tar(tmp_path / "a-0.tar", good)
    with pytest.raises(InputError, match=r"expected a tar at .*a-1.tar; found: No such file"):
        list_clips(str(tmp_path / "a-{0..1}.tar"))
    with pytest.raises(InputError, match=r"expected tars at .*b-\*.tar"):
        list_clips(str(tmp_path / "b-*.tar"))
    Path(source).write_bytes(Path(source).read_bytes()[:3000])
    with pytest.raises(InputError, match=r"a-0.tar to be a whole, uncompressed tar"):
        list_clips(source)
    for name, content in (("noise.tar", b"no tar" * 1000), ("empty.tar", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            list_clips(str(tmp_path / name))
    with pytest.raises(InputError, match="uncompressed"):
        list_clips(write_tar(tmp_path / "z.tar.gz", good, "w:gz"))
    with pytest.raises(InputError, match="found none"):
        list_clips(write_tar(tmp_path / "t.tar", {"v.cls": b"1"}))


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"v.mp4": b"x", "v.json": b"{nonsense"}, "s.tar/v.json: expected JSON"),
        ({"v.mp4": b"x", "v.json": b"[1]"}, "expected a JSON object; found list"),
        ({"v.mp4": b"x", "v.cls": b"\xff\xff"}, "s.tar/v.cls: expected text"),
        ({"v.mp4": b"x", "v.cls": b"1", "w.mp4": b"y", "w.cls": b"cat"}, "expected an index"),
    ],
)
def test_bad_side_files_are_named(tmp_path: Path, members: dict[str, bytes], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        list_clips(write_tar(tmp_path / "s.tar", members))


def test_a_doubled_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    write_tar(path, {"v.mp4": b"x"})
    with tarfile.open(path, "a") as tar:
        tar.addfile(tarfile.TarInfo("v.mp4"))
    with pytest.raises(InputError, match="duplicate"):
        list_clips(str(path))
