"""What every place must do: checks to be run on a fresh, empty place of each kind.

`CHECKS` has them by name, for `pytest.mark.parametrize`.
"""

import pickle
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.places.names import is_temporary, temporary_name
from storage.places.place import Place, open_place

Check = Callable[[Place], None]


def names(place: Place, prefix: str = "") -> list[str]:
    """What a place lists."""
    return [entry.name for entry in place.entries(prefix)]


def absent_files_are_absent(place: Place) -> None:
    for ask in (place.read, place.open, place.age):
        with pytest.raises(FileNotFoundError):
            ask("no/such.json")
    assert place.entries() == []
    assert place.entries("no") == []
    assert place.folders() == []
    assert not place.touch("no/such.json", b"content")
    assert not place.swap("no/such.json", b"content", b"other")
    place.remove(["no/such.json", "nor/this"])
    place.remove([])
    assert place.entries() == []


def written_files_are_read(place: Place) -> None:
    blob = bytes(range(256)) * 300
    for name, data in {"top.json": b"{}", "a/b/c.bin": blob, "a/empty": b""}.items():
        place.write(name, data)
        assert place.read(name) == data
    place.write("a/b/c.bin", b"replaced")
    assert place.read("a/b/c.bin") == b"replaced"
    assert place.read("top.json") == b"{}"
    assert not any(is_temporary(name) for name in names(place))


def large_files_are_not_read_whole(place: Place) -> None:
    place.write("record.json", bytes(1000))
    assert place.read("record.json", 1000) == bytes(1000)
    with pytest.raises(ValueError, match=r"record.json has 1000 bytes"):
        place.read("record.json", 999)


def entries_are_sorted_and_complete(place: Place) -> None:
    hidden = temporary_name("b/z.json")
    for name in ("b/z.json", "b/a.json", "ba/a.json", "a.json", "b/deep/er/x", hidden):
        place.write(name, name.encode())
    everything = sorted(["b/z.json", "b/a.json", "ba/a.json", "a.json", "b/deep/er/x", hidden])
    assert names(place) == everything
    assert names(place, "b") == [name for name in everything if name.startswith("b/")]
    assert names(place, "b/deep") == ["b/deep/er/x"]
    assert [entry.bytes for entry in place.entries()] == [len(name) for name in everything]
    assert place.folders() == ["b", "ba"]
    times = [entry.modified for entry in place.entries()]
    assert max(times) - min(times) < 60
    assert abs(times[0] - time.time()) < 3600


def open_files_are_read_in_pieces(place: Place) -> None:
    data = bytes(i * 7 % 251 for i in range(10_000))
    place.write("shard", data)
    file = place.open("shard")
    assert file.size == len(data)
    row, crc = bytearray(3000), bytearray(4)
    assert file.read_into(500, [memoryview(row), memoryview(crc)]) == 3004
    assert row + crc == data[500:3504]
    assert file.read_into(0, [memoryview(crc)[1:3]]) == 2
    assert crc == data[3500:3501] + data[:2] + data[3503:3504]
    assert file.read_into(9_990, [memoryview(row)[:6], memoryview(row)[6:20]]) == 10
    assert row[:10] == data[9_990:]
    assert file.read_into(10_000, [memoryview(row)]) == 0
    assert file.read_into(20_000, [memoryview(row)]) == 0
    file.close()
    file.close()


def replaced_files_have_another_version(place: Place) -> None:
    place.write("shard", b"one")
    first = place.open("shard")
    assert place.open("shard").version == first.version
    place.write("shard", b"two")
    second = place.open("shard")
    assert second.version != first.version
    buffer = bytearray(3)
    try:  # the version that was opened, or none: never the other one
        assert first.read_into(0, [memoryview(buffer)]) == 3
        assert buffer == b"one"
    except FileNotFoundError:
        assert buffer == bytes(3)
    assert second.read_into(0, [memoryview(buffer)]) == 3
    assert buffer == b"two"
    first.close()
    second.close()


def threads_read_one_open_file(place: Place) -> None:
    place.write("shard", bytes(range(200)))
    file = place.open("shard")

    def piece(offset: int) -> bool:
        buffer = bytearray(5)
        got = file.read_into(offset, [memoryview(buffer)])
        return got == 5 and buffer == bytes(range(offset, offset + 5))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(piece, range(0, 100, 5)))
    file.close()


def swap_changes_only_what_is_expected(place: Place) -> None:
    assert place.swap("lease.json", None, b"first")
    assert not place.swap("lease.json", None, b"second")
    assert not place.swap("lease.json", None, b"first")
    assert not place.swap("lease.json", b"other", b"second")
    assert place.read("lease.json") == b"first"
    assert place.swap("lease.json", b"first", b"second")
    assert not place.swap("lease.json", b"first", b"third")
    assert not place.swap("lease.json", b"first", b"second")
    assert place.read("lease.json") == b"second"
    place.remove(["lease.json"])
    assert place.swap("deeper/lease.json", None, b"")
    assert place.swap("deeper/lease.json", b"", b"full")
    assert names(place) == ["deeper/lease.json"]


def swap_lets_one_win(place: Place) -> None:
    for expected in (None, b"0"):
        if expected is not None:
            place.write("lease.json", expected)
        else:
            place.remove(["lease.json"])
        won = race(place, "lease.json", expected, threads=4)
        assert len(won) == 1
        assert place.read("lease.json") == won[0]
    assert names(place) == ["lease.json"]


def touch_makes_young_what_is_expected(place: Place) -> None:
    place.write("lease.json", b"mine")
    time.sleep(2.1)
    old = place.age("lease.json")
    assert 1 <= old < 60
    assert not place.touch("lease.json", b"theirs")
    assert place.age("lease.json") >= old
    assert place.touch("lease.json", b"mine")
    assert place.age("lease.json") < old
    assert place.read("lease.json") == b"mine"
    assert names(place) == ["lease.json"]


def removed_files_are_gone(place: Place) -> None:
    everything = [f"d/{i:02}" for i in range(25)] + ["top"]
    for name in everything:
        place.write(name, b"x")
    place.remove(["d/03", "d/03", "never/was", "top"])
    assert names(place) == [name for name in everything if name not in ("d/03", "top")]
    place.remove(name for name in everything)
    assert names(place) == []
    place.write("d/03", b"again")
    assert place.read("d/03") == b"again"


def streamed_files_appear_whole(place: Place) -> None:
    place.write("shard", b"old")
    writer = place.writer("shard")
    for piece in (b"abc", memoryview(bytearray(70_000)), b"", b"end"):
        writer.write(piece)
    assert place.read("shard") == b"old"
    writer.publish()
    writer.discard()
    assert place.read("shard") == b"abc" + bytes(70_000) + b"end"
    empty = place.writer("new/empty")
    empty.publish()
    assert place.read("new/empty") == b""
    assert names(place) == ["new/empty", "shard"]


def discarded_files_leave_nothing(place: Place) -> None:
    for content in (b"", b"something"):
        writer = place.writer("shard")
        writer.write(content)
        writer.discard()
        writer.discard()
    assert place.entries() == []


def places_are_rebuilt_elsewhere(place: Place) -> None:
    place.write("note", b"here")
    assert str(pickle.loads(pickle.dumps(place))) == str(place)
    assert pickle.loads(pickle.dumps(place)).read("note") == b"here"
    assert open_place(str(place)).read("note") == b"here"
    assert place.free_bytes() is None or place.free_bytes() > 0  # pyright: ignore[reportOptionalOperand]


def race(place: Place, name: str, expected: bytes | None, threads: int) -> list[bytes]:
    """Contents of the threads whose swap succeeded, all having begun at once."""
    barrier = threading.Barrier(threads)

    def swap(index: int) -> bytes | None:
        barrier.wait()
        content = f"run {index} {uuid.uuid4().hex}".encode()
        return content if place.swap(name, expected, content) else None

    with ThreadPoolExecutor(threads) as pool:
        return [content for content in pool.map(swap, range(threads)) if content is not None]


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        absent_files_are_absent,
        discarded_files_leave_nothing,
        entries_are_sorted_and_complete,
        large_files_are_not_read_whole,
        open_files_are_read_in_pieces,
        places_are_rebuilt_elsewhere,
        removed_files_are_gone,
        replaced_files_have_another_version,
        streamed_files_appear_whole,
        swap_changes_only_what_is_expected,
        swap_lets_one_win,
        threads_read_one_open_file,
        touch_makes_young_what_is_expected,
        written_files_are_read,
    )
}
