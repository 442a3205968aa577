"""Clips with captions, and the videos that are theirs."""

import pytest

from finetune.evaluation.captioned_sets import as_paragraphs, captioned_clips, captioned_set, with_captions
from tests.small_captions import write_ids
from video import Clip, InputError


def clips(*keys, captions=("text",), path="", split=""):
    return [Clip(key=key, path=path and f"{path}/{key}", captions=captions, split=split) for key in keys]


def set_of(listed, **options):
    return captioned_set(listed, source="lists/test.csv", **options)


def keys_of(listed, places):
    found = set_of(clips(*listed), places=clips(*places, path="videos"))
    return [clip.key for clip in found.clips], [clip.key for clip in found.absent]


def test_an_id_is_a_videos_name():
    assert keys_of(["video7", "video9", "video1"], ["video7.mp4", "deep/video1.webm", "video70.mp4"]) == (
        ["video7.mp4", "deep/video1.webm"],
        ["video9"],
    )


def test_what_is_found_says_where():
    [clip] = set_of(
        clips("video7", captions=("one", "two"), split="test"),
        places=[Clip(key="a.tar/video7.mp4", path="/a.tar", offset=512, size=9, label=3)],
    ).clips
    assert clip == Clip(
        key="a.tar/video7.mp4", path="/a.tar", offset=512, size=9, captions=("one", "two"), split="test"
    )


def test_none_of_the_videos():
    with pytest.raises(InputError, match=r"found none of 2 by name \(such as 'video1'\); say with --root"):
        keys_of(["video1", "video2"], ["video3.mp4"])


def test_splits():
    listed = clips("a", split="train") + clips("b", "c", split="test") + clips("d", split="validate")
    assert [clip.key for clip in set_of(listed, split="test").clips] == ["b", "c"]
    assert len(set_of(listed, split="test,validate").clips) == 3
    assert len(set_of(listed).clips) == 4
    with pytest.raises(InputError, match=r"in split 'val', found none of 4; its splits: 'test', 'train'"):
        set_of(listed, split="val")
    with pytest.raises(InputError, match=r"found none of 0; its splits: none"):
        set_of([])


def test_clips_without_captions_are_counted():
    found = set_of(clips("a", "b") + clips("c", captions=()))
    assert (len(found.clips), found.uncaptioned, found.absent) == (2, 1, ())
    with pytest.raises(InputError, match=r"test.csv: expected captions, found none for any of 2 v"):
        set_of(clips("a", "b", captions=()))


def test_a_few_spread_over_all():
    assert [clip.key for clip in set_of(clips(*"abcdefg"), limit=3).clips] == ["a", "d", "g"]


def test_captions_of_another_file():
    texts = [
        Clip(key="video1", path="", captions=("one", "two"), split="test"),
        Clip(key="video2", path="", captions=("three",), split="train"),
        Clip(key="video3", path=""),
    ]
    listed = clips("video2", captions=(), split="mine") + clips("deep/video1.mp4", path="videos")
    found = with_captions(listed, texts, source="a.csv", captions="data.json")
    assert [(clip.key, clip.captions, clip.split) for clip in found] == [
        ("video2", ("three",), "mine"),
        ("deep/video1.mp4", ("one", "two"), "test"),
    ]
    assert found[1].path == "videos/deep/video1.mp4"
    for lost in ("video3", "video4"):
        with pytest.raises(InputError, match=rf"a.csv: expected captions in data.json .* none for '{lost}'"):
            with_captions(clips("video1", lost), texts, source="a.csv", captions="data.json")


def test_only_clips_that_are_known():
    found = set_of(clips("a", "b", "c")).where({"a", "c", "x"})
    assert [clip.key for clip in found.clips] == ["a", "c"]
    assert [clip.key for clip in found.absent] == ["b"]
    with pytest.raises(InputError, match=r"found none of 3 \(such as a\); a bank's clips are matched by"):
        set_of(clips("a", "b", "c")).where(set())


def test_all_captions_of_a_video_as_a_paragraph():
    listed = clips("a", captions=("a dog runs.", "it sits.")) + clips("b", captions=())
    assert [clip.captions for clip in as_paragraphs(listed)] == [("a dog runs. it sits.",), ()]


def test_lists_of_ids_have_no_paths_and_others_are_listed_as_everywhere(tmp_path):
    write_ids(tmp_path / "ids.csv", ["video0"])
    assert [(clip.key, clip.path) for clip in captioned_clips(str(tmp_path / "ids.csv"))] == [("video0", "")]
    (tmp_path / "a.csv").write_text("path,caption,video_id\na.mp4,one,7\na.mp4,two,7\n")
    [clip] = captioned_clips(str(tmp_path / "a.csv"), there=False)
    assert (clip.key, clip.captions, clip.attributes) == ("a.mp4", ("one", "two"), {"video_id": "7"})
    assert clip.path
    (tmp_path / "b.csv").write_text("a b.mp4 3\nc.mp4 0\n")
    assert {clip.key for clip in captioned_clips(str(tmp_path / "b.csv"), there=False)} == {
        "a b.mp4",
        "c.mp4",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,what\nvideo1,a cat\n", "or with path and caption, found 'name', 'what'; name the columns so"),
        ("", "found an empty file"),
        (None, "found nothing"),
    ],
)
def test_a_table_without_the_columns(tmp_path, text, said):
    if text is not None:
        (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        captioned_clips(str(tmp_path / "a.csv"))
