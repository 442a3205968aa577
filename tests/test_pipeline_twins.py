"""Equal files are found by content, and only files of equal size are read for it."""

import pipeline.twins
from pipeline.listing import listing_line
from pipeline.twins import END_BYTES, find_twins
from storage import BankWriter, clips_table
from tests.small_banks import small_spec
from video import Clip


def line_of(folder, name, data, *, offset=0, size=-1):
    (folder / name).write_bytes(data)
    return listing_line(Clip(key=name, path=str(folder / name), offset=offset, size=size), "", 3)


def listing_of(tmp_path, lines):
    with BankWriter(tmp_path / "bank", small_spec()) as writer:
        writer.enrol(lines)
        return writer.listing


def twins_of(lines, listed):
    return find_twins(clips_table(lines), listed)


def test_the_first_listed_owns_the_rows(tmp_path):
    lines = [line_of(tmp_path, name, b"same") for name in ("b.mp4", "a.mp4", "c.mp4")]
    assert twins_of(lines, listing_of(tmp_path, [])) == {"a.mp4": "b.mp4", "c.mp4": "b.mp4"}


def test_clips_of_the_bank_come_first_and_are_never_moved(tmp_path):
    old = [line_of(tmp_path, name, b"same") for name in ("x.mp4", "y.mp4")]
    new = line_of(tmp_path, "z.mp4", b"same")
    listed = listing_of(tmp_path, old)  # enrolled as two clips, before anybody compared them
    assert twins_of([new, *old], listed) == {"z.mp4": "x.mp4"}


def test_equal_sizes_are_not_equal_contents(tmp_path):
    lines = [line_of(tmp_path, "a.mp4", b"one!"), line_of(tmp_path, "b.mp4", b"two!")]
    assert twins_of(lines, listing_of(tmp_path, [])) == {}


def test_a_member_of_a_tar_equals_the_file(tmp_path):
    member = line_of(tmp_path, "in.tar", b"...same...", offset=3, size=4)
    lines = [line_of(tmp_path, "a.mp4", b"same"), member]
    assert twins_of(lines, listing_of(tmp_path, [])) == {"in.tar": "a.mp4"}


def watch(monkeypatch, name):
    """Keys of the clips that a digest of `pipeline.twins` is asked for."""
    asked, digest = [], getattr(pipeline.twins, name)
    monkeypatch.setattr(pipeline.twins, name, lambda line: asked.append(line["key"]) or digest(line))
    return asked


def test_only_files_of_equal_size_are_opened(tmp_path, monkeypatch):
    opened = watch(monkeypatch, "ends_of")
    lines = [line_of(tmp_path, f"{i}.mp4", b"x" * i) for i in range(1, 5)]
    lines.append(line_of(tmp_path, "5.mp4", b"yy"))
    assert twins_of(lines, listing_of(tmp_path, [])) == {}
    assert sorted(opened) == ["2.mp4", "5.mp4"]


def test_only_files_of_equal_ends_are_read_whole(tmp_path, monkeypatch):
    whole = watch(monkeypatch, "content_of")
    ends = b"e" * END_BYTES
    data = {"a": b"1" + ends, "b": b"2" + ends, "c": ends + b"3", "d": ends + b"4"}
    data |= {name: ends + middle + ends for name, middle in {"e": b"5", "f": b"6", "g": b"5"}.items()}
    lines = [line_of(tmp_path, name, content) for name, content in data.items()]
    assert twins_of(lines, listing_of(tmp_path, [])) == {"g": "e"}
    assert sorted(whole) == ["e", "f", "g"]


def test_what_cannot_be_read_has_no_twin(tmp_path):
    lines = [line_of(tmp_path, name, b"same") for name in ("a.mp4", "b.mp4")]
    (tmp_path / "a.mp4").unlink()
    assert twins_of(lines, listing_of(tmp_path, [])) == {}


def test_clips_behind_urls_are_left_alone(tmp_path):
    lines = [
        listing_line(Clip(key=k, path=f"https://nowhere.invalid/{k}"), "", 3) for k in ("a.mp4", "b.mp4")
    ]
    assert [line["bytes"] for line in lines] == [-1, -1]
    assert twins_of(lines, listing_of(tmp_path, [])) == {}
