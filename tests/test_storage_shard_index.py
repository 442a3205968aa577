"""A shard's index is parsed only when it is whole and points where rows can be."""

import numpy as np
import pytest

from storage.shard_index import ABSENT, empty_index, index_bytes, pack_index, parse_index


def pairs_of(*offsets):
    pairs = empty_index(4)
    for slot, offset in enumerate(offsets):
        if offset is not None:
            pairs[slot] = (offset, 10)
    return pairs


def parse(pairs, data_bytes=40):
    tail = pack_index(pairs)
    return parse_index(tail, rows=4, file_bytes=data_bytes + len(tail), chunk_bytes=10)


def test_round_trip_with_an_absent_row():
    pairs = parse(pairs_of(0, None, 10, 20))
    np.testing.assert_array_equal(pairs[:, 0], [0, ABSENT, 10, 20])


@pytest.mark.parametrize("offsets", [(0, 0), (0, 5), (31,)], ids=["twice", "overlap", "outside"])
def test_impossible_places_are_refused(offsets):
    with pytest.raises(ValueError, match="outside the file's data, or at one place twice"):
        parse(pairs_of(*offsets))


def test_a_wrong_size_is_refused():
    pairs = pairs_of(0)
    pairs[0, 1] = 9
    with pytest.raises(ValueError, match=r"every row takes 10 bytes, the index says \[9\]"):
        parse(pairs)


def test_every_flipped_bit_of_the_index_is_seen():
    tail = pack_index(pairs_of(0, 10, 20, 30))
    for bit in range(len(tail) * 8):
        bad = bytearray(tail)
        bad[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(ValueError, match="crc32c"):
            parse_index(bytes(bad), rows=4, file_bytes=40 + len(tail), chunk_bytes=10)


def test_a_short_file_is_refused():
    with pytest.raises(ValueError, match=f"takes {index_bytes(4)} bytes, the file has only 3"):
        parse_index(b"abc", rows=4, file_bytes=3, chunk_bytes=10)
