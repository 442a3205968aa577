"""Numbered frames come back under their own numbers whatever the container and decoder; bad files say why."""

import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.drawn_videos import frame_number, numbered_frames, rotated_mp4, write_audio, write_video
from video import DecodeError, decoder_versions, open_video
from video.pyav_video import PyAVVideo

FRAMES = numbered_frames(100)
GOP = {"g": "12", "bf": "2"}
OPEN_H264 = GOP | {"x264-params": "open-gop=1:scenecut=0"}
OPEN_HEVC = {"x265-params": "keyint=12:open-gop=1:log-level=none"}
CLOSED_HEVC = {"x265-params": "keyint=12:open-gop=0:log-level=none"}
CASES = [
    ("a.mp4", "decord", {"options": GOP}),
    ("a.mov", "decord", {"options": GOP}),
    ("a.mkv", "decord", {"options": GOP}),
    ("late.mp4", "decord", {"options": GOP, "shift": 30}),
    ("front.mp4", "decord", {"options": GOP, "muxer": {"movflags": "faststart"}}),
    ("closed.mp4", "decord", {"codec": "libx265", "options": CLOSED_HEVC, "pix_fmt": "yuv420p10le"}),
    ("vp9.webm", "decord", {"codec": "libvpx-vp9", "options": {"g": "12"}}),
    ("plain.avi", "decord", {"codec": "mpeg4", "options": {"g": "12", "bf": "0"}}),
    ("av1.mp4", "pyav", {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "keyint=12"}}),
    ("bframes.avi", "pyav", {"codec": "mpeg4", "options": GOP}),
    ("open.mp4", "pyav", {"options": OPEN_H264}),
    ("open.mkv", "pyav", {"options": OPEN_H264}),
    ("open_hevc.mp4", "pyav", {"codec": "libx265", "options": OPEN_HEVC}),
    ("fragments.mp4", "pyav", {"options": GOP, "muxer": {"movflags": "frag_keyframe+empty_moov"}}),
    ("a.ts", "pyav", {"options": GOP}),
    ("a.wmv", "pyav", {"codec": "wmv2", "options": {"g": "12"}}),
]


@pytest.mark.parametrize(("name", "decoder", "settings"), CASES, ids=[case[0] for case in CASES])
def test_any_frame_is_the_frame_asked_for(tmp_path: Path, name: str, decoder: str, settings: dict) -> None:
    data = write_video(tmp_path / name, FRAMES, **settings).read_bytes()
    video = open_video(data, name)
    assert (video.num_frames, video.width, video.height, video.rotation) == (100, 96, 64, 0)
    assert video.decoder == decoder
    assert video.fps == pytest.approx(25, abs=0.01)
    for indices in ([0], [99], [50, 3, 50, 97], range(7, 100, 16), [60]):
        frames = open_video(data, name).read(np.array(indices))
        assert frames.dtype == np.uint8
        assert [frame_number(frame) for frame in frames] == list(indices)


def test_frames_hidden_by_an_edit_list_do_not_shift_the_numbers(tmp_path: Path) -> None:
    video = open_video(
        write_video(tmp_path / "cut.mp4", FRAMES, options=GOP, shift=-30).read_bytes(), "cut.mp4"
    )
    assert (video.num_frames, video.decoder) == (70, "pyav")
    assert [frame_number(frame) for frame in video.read(np.array([0, 40, 69]))] == [30, 70, 99]


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied_by_both_decoders(tmp_path: Path, codec: str, degrees: int) -> None:
    data = write_video(tmp_path / "a.mp4", FRAMES[:20], codec=codec).read_bytes()
    upright = open_video(data, "a").read(np.array([5]))[0]
    video = open_video(rotated_mp4(data, degrees), "turned")
    turned = video.read(np.array([5]))[0]
    assert video.rotation == degrees
    assert video.decoder == ("decord" if codec == "libx264" else "pyav")
    assert turned.shape == (video.height, video.width, 3)
    expected = np.rot90(upright, k=-degrees // 90)
    assert np.abs(turned.astype(int) - expected).mean() < 3


def test_both_decoders_give_the_same_pixels(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mp4", FRAMES, options=GOP).read_bytes()
    indices = np.array([0, 31, 64, 99])
    by_decord = open_video(data, "a")
    assert by_decord.decoder == "decord"
    difference = by_decord.read(indices).astype(int) - PyAVVideo(data, "a").read(indices)
    assert np.abs(difference).max() <= 3


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.mp4", {}),
        ("front.mp4", {"muxer": {"movflags": "faststart"}}),
        ("a.mkv", {}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("a.avi", {"codec": "mpeg4"}),
    ],
)
def test_a_truncated_file_is_called_truncated(
    tmp_path: Path, name: str, settings: dict, share: float
) -> None:
    data = write_video(tmp_path / name, FRAMES, **settings).read_bytes()
    with pytest.raises(DecodeError, match=r"^truncated: ") as caught:
        open_video(data[: int(len(data) * share)], name)
    assert (caught.value.name, caught.value.reason) == (name, str(caught.value))


def test_a_missing_index_is_named(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mp4", FRAMES).read_bytes()
    with pytest.raises(DecodeError, match="moov"):
        open_video(data[: data.index(b"moov") - 4], "a.mp4")


def test_reasons_name_the_cause(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(50_000)
    audio = write_audio(tmp_path / "a.m4a").read_bytes()
    cases = {
        b"": "empty file \\(0 bytes\\)",
        noise: "not a media file",
        audio: "no video stream \\(audio only\\)",
        b"a text, not a video\n" * 30: "not a media file",
        b"\xff\xd8\xff\xe0" + noise[:100]: "damaged image",
    }
    for data, reason in cases.items():
        with pytest.raises(DecodeError, match=reason):
            open_video(data, "bad")


def test_damage_inside_the_stream_ends_as_a_decode_error_or_as_whole_frames(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mp4", FRAMES, options=GOP).read_bytes()
    start, end = data.index(b"mdat") + 4, data.index(b"moov")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[rng.integers(start, end, 30)] = rng.integers(0, 256, 30)
        shape, reason = (12, 64, 96, 3), "damaged: "
        try:
            shape = open_video(damaged.tobytes(), "damaged").read(np.arange(0, 100, 9)).shape
        except DecodeError as error:
            reason = error.reason
        assert reason.startswith("damaged: ")
        assert shape == (12, 64, 96, 3)


def test_images_are_one_frame_clips() -> None:
    picture = numbered_frames(1)[0]
    for kind in ("PNG", "WEBP", "JPEG"):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(
            buffer, kind, **({"lossless": True} if kind == "WEBP" else {"quality": 95})
        )
        video = open_video(buffer.getvalue(), kind)
        assert (video.decoder, video.num_frames, video.width, video.height) == ("image", 1, 96, 64)
        frames = video.read(np.array([0, 0]))
        assert frames.shape == (2, 64, 96, 3)
        assert np.abs(frames[1].astype(int) - picture).mean() <= (5 if kind == "JPEG" else 0)


def test_image_orientation_and_animation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(numbered_frames(1)[0]).save(buffer, "JPEG", exif=exif)
    video = open_video(buffer.getvalue(), "turned.jpg")
    assert (video.rotation, video.width, video.height) == (90, 64, 96)
    buffer = io.BytesIO()
    first, *rest = [Image.fromarray(frame) for frame in numbered_frames(5)]
    first.save(buffer, "WEBP", save_all=True, append_images=rest, lossless=True)
    video = open_video(buffer.getvalue(), "moving.webp")
    assert [frame_number(frame) for frame in video.read(np.array([4, 0, 2]))] == [4, 0, 2]


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    good = write_video(tmp_path / "a.mp4", FRAMES[:20]).read_bytes()
    av1 = write_video(tmp_path / "b.mp4", FRAMES[:20], codec="libsvtav1").read_bytes()
    capfd.readouterr()
    for data in (good, av1, good[:900], b"", b"noise" * 100):
        try:
            open_video(data, "a").read(np.array([0, 19]))
        except DecodeError:
            continue
    assert capfd.readouterr() == ("", "")


def test_decoder_versions_name_every_library_that_makes_pixels() -> None:
    assert sorted(decoder_versions()) == ["av", "decord", "pillow"]
    assert all(decoder_versions().values())


def test_decord_leaves_pyav_its_own_libraries(tmp_path: Path) -> None:
    """decord's libvpx, once global, makes PyAV's VP9 encoder refuse its settings."""
    code = "import sys, video; from tests.drawn_videos import *; "
    code += "write_video(sys.argv[1], numbered_frames(5), codec='libvpx-vp9')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.webm")], check=True)


def test_decode_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(DecodeError("truncated: here", "a.mp4")))
    assert (error.reason, error.name) == ("truncated: here", "a.mp4")
