"""Clips found by what a list calls them."""

import pytest

from video import Clip, InputError
from video.by_name import located, placed


def clips(*keys, path=""):
    return [Clip(key=key, path=path and f"{path}/{key}", captions=("text",)) for key in keys]


def keys_of(listed, places):
    found, absent = located(clips(*listed), clips(*places, path="videos"), "a.json")
    return [clip.key for clip in found], [clip.key for clip in absent]


def test_the_nearer_name_wins():
    assert keys_of(["video7"], ["small/video7.mp4", "video7.mp4"])[0] == ["video7.mp4"]
    assert keys_of(["small/video7.mp4"], ["small/video7.mp4", "video7.mp4"])[0] == ["small/video7.mp4"]
    assert keys_of(["video7.webm"], ["video7.mp4", "video7.webm"])[0] == ["video7.webm"]
    assert keys_of(["MSRVTT/all/video7.mp4"], ["all/video7.mp4"])[0] == ["all/video7.mp4"]
    assert keys_of(["test.tar/video7", "video8.a"], ["video8.a.mp4", "test.tar/video7.mp4"])[0] == [
        "test.tar/video7.mp4",
        "video8.a.mp4",
    ]


def test_other_folders_are_other_videos():
    assert keys_of(["cats/1.mp4", "dogs/1.mp4"], ["dogs/1.mp4"]) == (["dogs/1.mp4"], ["cats/1.mp4"])


def test_two_videos_of_one_name():
    with pytest.raises(InputError, match=r"one video called 'video7', found a/video7.mp4 and b/video7.mp4"):
        keys_of(["video7"], ["a/video7.mp4", "b/video7.mp4"])
    assert keys_of(["video8"], ["a/video7.mp4", "b/video7.mp4", "video8.mp4"])[1] == []
    with pytest.raises(InputError, match=r"expected every video once, found 'video7.mp4' under two names"):
        keys_of(["video7", "video7.mp4"], ["video7.mp4"])


def test_listed_clips_keep_their_names_and_the_lost_are_where_they_should_be():
    places = [Clip(key="a.tar/video7.mp4", path="/a.tar", offset=512, size=9, label=3)]
    there, lost = placed(clips("video7", "video9"), places, source="a.json", folder="videos")
    assert there == Clip(key="video7", path="/a.tar", offset=512, size=9, captions=("text",))
    assert lost == Clip(key="video9", path="videos/video9", captions=("text",))


def test_the_lost_are_expected_beside_the_first():
    def lost(key, place):
        return placed(clips("video1", key), clips(place, path="videos"), source="a.json", folder="videos")[
            1
        ].path

    assert lost("video9", "Test/video1.webm") == "videos/Test/video9.webm"
    assert lost("video9.avi", "Test/video1.webm") == "videos/Test/video9.avi"
    assert lost("Train/video9", "Test/video1.webm") == "videos/Train/video9.webm"


def test_none_of_them():
    with pytest.raises(
        InputError, match=r"a.json below videos; found none of 2 by name \(such as 'b'\); give"
    ):
        placed(clips("b", "c"), clips("d.mp4"), source="a.json", folder="videos")
