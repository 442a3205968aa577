"""Names that are taken for videos and images."""

from video.extensions import is_media, kinds


def test_names() -> None:
    for name in ("a.mp4", "a.b.MKV", "photo.JPEG", "with space.webm"):
        assert is_media(name)
    for name in ("a.txt", ".mp4", "._a.mp4", "mp4", "a.", "", "a.mp4.part"):
        assert not is_media(name)
    assert "webm" in kinds()
