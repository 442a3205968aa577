"""Names that are taken for videos and images."""

from video import Clip
from video.extensions import is_media, is_still, kinds


def test_names() -> None:
    for name in ("a.mp4", "a.b.MKV", "photo.JPEG", "with space.webm"):
        assert is_media(name)
    for name in ("a.txt", ".mp4", "._a.mp4", "mp4", "a.", "", "a.mp4.part"):
        assert not is_media(name)
    assert "webm" in kinds()


def test_images_by_name_and_an_animation_is_none() -> None:
    for name in ("a.jpg", "b/c.JPEG", "x.png", "y.webp"):
        assert is_still(name)
    for name in ("a.gif", "a.mp4", "png", "a.png.mp4", "clip"):
        assert not is_still(name)
    assert Clip(key="42", path="pictures/42.jpg").still
    assert Clip(key="shard.tar/42.jpg", path="shard.tar", offset=512, size=9).still
    assert not Clip(key="shard.tar/42.mp4", path="shard.png", offset=512, size=9).still
