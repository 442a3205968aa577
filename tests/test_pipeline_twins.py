"""Equal files are found by content, and only files of equal size are read for it."""

from pipeline.plan import listing_line
from pipeline.twins import content_of, find_twins
from storage import BankWriter
from tests.small_banks import small_spec
from video import Clip


def line_of(folder, name, data, *, offset=0, size=-1):
    (folder / name).write_bytes(data)
    return listing_line(Clip(key=name, path=str(folder / name), offset=offset, size=size), "")


def listing_of(tmp_path, lines):
    with BankWriter(tmp_path / "bank", small_spec()) as writer:
        writer.enrol(lines)
        return writer.listing


def test_the_first_listed_owns_the_rows(tmp_path):
    lines = [line_of(tmp_path, name, b"same") for name in ("b.mp4", "a.mp4", "c.mp4")]
    assert find_twins(lines, listing_of(tmp_path, [])) == {"a.mp4": "b.mp4", "c.mp4": "b.mp4"}


def test_clips_of_the_bank_come_first_and_are_never_moved(tmp_path):
    old = [line_of(tmp_path, name, b"same") for name in ("x.mp4", "y.mp4")]
    new = line_of(tmp_path, "z.mp4", b"same")
    listed = listing_of(tmp_path, old)  # enrolled as two clips, before anybody compared them
    assert find_twins([new, *old], listed) == {"z.mp4": "x.mp4"}


def test_equal_sizes_are_not_equal_contents(tmp_path):
    lines = [line_of(tmp_path, "a.mp4", b"one!"), line_of(tmp_path, "b.mp4", b"two!")]
    assert find_twins(lines, listing_of(tmp_path, [])) == {}


def test_a_member_of_a_tar_equals_the_file(tmp_path):
    member = line_of(tmp_path, "in.tar", b"...same...", offset=3, size=4)
    lines = [line_of(tmp_path, "a.mp4", b"same"), member]
    assert find_twins(lines, listing_of(tmp_path, [])) == {"in.tar": "a.mp4"}


def test_only_files_of_equal_size_are_read(tmp_path, monkeypatch):
    read = []

    def watched(line):
        read.append(line["key"])
        return content_of(line)

    monkeypatch.setattr("pipeline.twins.content_of", watched)
    lines = [line_of(tmp_path, f"{i}.mp4", b"x" * i) for i in range(1, 5)]
    lines.append(line_of(tmp_path, "5.mp4", b"yy"))
    assert find_twins(lines, listing_of(tmp_path, [])) == {}
    assert sorted(read) == ["2.mp4", "5.mp4"]


def test_what_cannot_be_read_has_no_twin(tmp_path):
    lines = [line_of(tmp_path, name, b"same") for name in ("a.mp4", "b.mp4")]
    (tmp_path / "a.mp4").unlink()
    assert find_twins(lines, listing_of(tmp_path, [])) == {}


def test_clips_behind_urls_are_left_alone(tmp_path):
    lines = [listing_line(Clip(key=k, path=f"https://nowhere.invalid/{k}"), "") for k in ("a.mp4", "b.mp4")]
    assert [line["bytes"] for line in lines] == [-1, -1]
    assert find_twins(lines, listing_of(tmp_path, [])) == {}
