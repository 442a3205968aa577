"""Lists as Kinetics, UCF101 and HMDB51 are distributed; unreadable lines are named by number."""

import pickle
from pathlib import Path

import pytest

from video import InputError, list_clips


def write(path: Path, text: str | bytes, *videos: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for video in videos:
        (path.parent / video).parent.mkdir(parents=True, exist_ok=True)
        (path.parent / video).write_bytes(b"x")
    return str(path)


@pytest.mark.parametrize("name", ["val.txt", "val.csv", "val.lst"])
def test_kinetics_lists_with_spaces_and_commas(tmp_path: Path, name: str) -> None:
    text = "a.mp4 3\nsub/b b.mp4 0\n\nc.mp4,12\nd, e.mp4, 7\n./f.mp4\t5\r\n/abs/g.mkv 1\n"
    clips = list_clips(write(tmp_path / name, "\ufeff" + text, "a.mp4"))
    assert [(c.key, c.label) for c in clips] == [
        ("a.mp4", 3),
        ("sub/b b.mp4", 0),
        ("c.mp4", 12),
        ("d, e.mp4", 7),
        ("f.mp4", 5),
        ("/abs/g.mkv", 1),
    ]
    assert clips[1].path == str(tmp_path / "sub/b b.mp4")
    assert clips[-1].path == "/abs/g.mkv"


def test_class_names_become_sorted_indices(tmp_path: Path) -> None:
    text = "a.mp4 riding a bike\nb.mp4,archery\nc d.mp4 zumba\ne.mp4,archery\n"
    clips = list_clips(write(tmp_path / "l.txt", text, "a.mp4"))
    assert [(c.label, c.class_name) for c in clips] == [
        (1, "riding a bike"),
        (0, "archery"),
        (2, "zumba"),
        (0, "archery"),
    ]


def test_paths_without_an_extension_and_without_labels(tmp_path: Path) -> None:
    assert [c.label for c in list_clips(write(tmp_path / "l.txt", "clip one 4\nclip 5\n", "clip one"))] == [
        4,
        5,
    ]
    clips = list_clips(write(tmp_path / "m.txt", "a b.mp4\nc.mp4\n", "a b.mp4"))
    assert [(c.key, c.label) for c in clips] == [("a b.mp4", -1), ("c.mp4", -1)]


def test_root_and_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "lists/l.txt", "v/a.mp4 0\nv/lost.mp4 1\n")
    write(tmp_path / "data/v/a.mp4", "x")
    assert list_clips(path, root=str(tmp_path / "data"))[1].path == str(tmp_path / "data/v/lost.mp4")
    monkeypatch.chdir(tmp_path / "data")
    assert Path(list_clips(path)[0].path).samefile(tmp_path / "data/v/a.mp4")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"none of the first 2 \(such as 'v/a.mp4'\).*root"):
        list_clips(path)
    with pytest.raises(InputError, match="expected a folder as root; found nothing"):
        list_clips(path, root=str(tmp_path / "wrong"))


def test_ucf101(tmp_path: Path) -> None:
    names = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", "YoYo/v_YoYo_g01_c01.avi"
    train = write(tmp_path / "trainlist01.txt", f"{names[0]} 1\n{names[1]} 2\n", *names)
    test = write(tmp_path / "testlist01.txt", f"{names[1]}\n{names[0]}\n")
    for _ in range(2):
        clips = list_clips(train) + list_clips(test)
        assert [(c.label, c.class_name, c.split) for c in clips] == [
            (0, "ApplyEyeMakeup", "train"),
            (1, "YoYo", "train"),
            (1, "YoYo", "test"),
            (0, "ApplyEyeMakeup", "test"),
        ]
        write(tmp_path / "classInd.txt", "1 ApplyEyeMakeup\r\n2 YoYo\r\n")
    write(tmp_path / "classInd.txt", "1 YoYo\n2 ApplyEyeMakeup\n")
    assert [(c.label, c.class_name) for c in list_clips(test)] == [(0, "YoYo"), (1, "ApplyEyeMakeup")]
    with pytest.raises(InputError, match=r"trainlist01.txt, line 1: expected a label from 1 to 2.*found 3"):
        list_clips(write(tmp_path / "trainlist01.txt", f"{names[0]} 3\n"))
    write(tmp_path / "classInd.txt", "1 YoYo\nApplyEyeMakeup\n")
    with pytest.raises(InputError, match=r"classInd.txt, line 2"):
        list_clips(test)


def test_hmdb51(tmp_path: Path) -> None:
    splits = tmp_path / "splits"
    write(splits / "brush_hair_test_split1.txt", "April #1 hair.avi 1 \nb.avi 2 \nc.avi 0 \n")
    write(splits / "wave_test_split1.txt", "w.avi 2 \n")
    write(splits / "wave_test_split2.txt", "w.avi 1 \n")
    write(tmp_path / "videos/wave/w.avi", "x")
    write(tmp_path / "videos/brush_hair/b.avi", "x")
    clips = list_clips(str(splits / "*_test_split1.txt"), root=str(tmp_path / "videos"))
    assert [(c.key, c.label, c.class_name, c.split) for c in clips] == [
        ("brush_hair/April #1 hair.avi", 0, "brush_hair", "train"),
        ("brush_hair/b.avi", 0, "brush_hair", "test"),
        ("brush_hair/c.avi", 0, "brush_hair", "unused"),
        ("wave/w.avi", 1, "wave", "test"),
    ]
    alone = list_clips(str(splits / "wave_test_split2.txt"), root=str(tmp_path / "videos"))
    assert [(c.label, c.split) for c in alone] == [(0, "train")]
    write(splits / "wave_test_split1.txt", "w.avi 3\n")
    with pytest.raises(InputError, match=r"wave_test_split1.txt, line 1: expected 'name.avi' and 0, 1 or 2"):
        list_clips(str(splits / "*_test_split1.txt"), root=str(tmp_path / "videos"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a.mp4 0\njusttext\n", "line 2: expected 'path label'"),
        ("a.mp4 0\n\nb.mp4 zero\n", "line 3: expected an index as in line 1; found a class name"),
        ("a.mp4 cat\nb.mp4 3\n", "line 2: expected a class name as in line 1; found an index"),
        ("a.mp4 0\nb.mp4\n", "line 2: expected an index as in line 1; found no label"),
        ("a.mp4 0\nb.mp4 -2\n", "line 2: expected a label from 0"),
        (b"a.mp4 0\n\xff\xfe\x00.mp4 1\n", "line 2: expected 'path label'"),
        ("a.mp4 0\nb.mp4 0\n./a.mp4 1\n", "found 'a.mp4' twice"),
        ("\n\n", "found none"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, text: str | bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        list_clips(write(tmp_path / "list.txt", text, "a.mp4"))


@pytest.mark.parametrize(
    "text", ["a.mp4 1\nb.mp4 0\n", "path,label\na.mp4,1\n", "path,label,fold\na.mp4,1,3\n"]
)
def test_clips_can_be_sent_to_another_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    clips = list_clips(str(tmp_path / "list.csv"), there=False)
    assert pickle.loads(pickle.dumps(clips)) == clips


def test_many_lines(tmp_path: Path) -> None:
    lines = "".join(f"c{i % 400}/video {i}.mp4 {i % 400}\n" for i in range(20_000))
    clips = list_clips(write(tmp_path / "big.txt", lines, "c0/video 0.mp4"))
    assert len(clips) == 20_000
    assert clips[-1].label == 19_999 % 400
