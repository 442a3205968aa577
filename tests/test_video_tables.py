"""Tables with a header: captions, splits, attributes; rows that do not fit are named by number."""

from pathlib import Path

import pytest

from video import InputError, list_clips


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    (path.parent / "a.mp4").write_bytes(b"x")
    return str(path)


def test_columns_find_their_place(tmp_path: Path) -> None:
    text = 'path,label,caption,split,motion\na.mp4,dog,"a dog, running",train,left\nb c.mp4,cat,,val,right\n'
    first, second = list_clips(write(tmp_path / "t.csv", text))
    assert (first.key, first.label, first.class_name, first.split) == ("a.mp4", 1, "dog", "train")
    assert (first.captions, first.attributes) == (("a dog, running",), {"motion": "left"})
    assert (second.path, second.label, second.captions) == (str(tmp_path / "b c.mp4"), 0, ())


def test_a_number_of_frames_for_some(tmp_path: Path) -> None:
    text = "path,sampled_frames,frames\na.mp4,4,300\nb.mp4,,20\n"
    first, second = list_clips(write(tmp_path / "t.csv", text))
    assert (first.frames, second.frames) == (4, 0)
    assert first.attributes == {"frames": "300"}  # the length of the video, say


def test_other_spellings_and_indices_with_names(tmp_path: Path) -> None:
    text = "Video\tLabel\tclass_name\tcaption_1\tcaption_2\na.mp4\t7\tswim\tone\ttwo\n"
    (clip,) = list_clips(write(tmp_path / "t.tsv", text))
    assert (clip.label, clip.class_name, clip.captions, clip.attributes) == (7, "swim", ("one", "two"), {})


def test_rows_of_one_video_join_their_captions(tmp_path: Path) -> None:
    text = 'path,captions\na.mp4,first\nb.mp4,"[""x"", ""y""]"\na.mp4,second\n'
    clips = list_clips(write(tmp_path / "t.txt", text))
    assert [(c.key, c.label, c.captions) for c in clips] == [
        ("a.mp4", -1, ("first", "second")),
        ("b.mp4", -1, ("x", "y")),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,sampled_frames\na.mp4,0\n", "line 2: expected a whole number of at least 1"),
        ("path,sampled_frames\na.mp4,8.5\n", "line 2: expected a whole number of at least 1"),
        ("path,label\na.mp4,1\nb.mp4\n", "line 3: expected 2 cells as in the header; found 1"),
        ("path,label\na.mp4,1\n,1\n", "line 3: expected a path"),
        ("path,label\na.mp4,1\na.mp4,2\n", r"line 3: .*found 'a.mp4' again \(first in line 2\)"),
        ("path,label,caption\na.mp4,1,x\na.mp4,2,y\n", "line 3: .*found 'a.mp4' again"),
        ("path,label\na.mp4,1\nb.mp4,one\n", "line 3: expected an index as in line 2"),
        ("path,label\n", "found none"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        list_clips(write(tmp_path / "t.csv", text))
