"""A sealed document notices every flipped bit, and every other rendering of itself."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.sealed import digest_of, seal, unseal

VALUES = {"shard": 3, "name": "é", "nested": {"b": [1, 2.5], "a": None}, "empty": {}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text().filter(lambda name: name != "check"), JSON, max_size=5))
def test_what_is_sealed_comes_back(values):
    assert unseal(seal(values)) == values


def test_every_flipped_bit_is_noticed():
    data = seal(VALUES)
    for bit in range(len(data) * 8):
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(ValueError):  # noqa: PT011 - JSON's, Unicode's or ours, all ValueErrors
            unseal(bytes(bad))


def test_other_renderings_are_refused():
    data = seal(VALUES)
    for bad in (data[:-1], data + b"\n", json.dumps(json.loads(data)).encode(), b"[]", b"null", b""):
        with pytest.raises(ValueError):  # noqa: PT011
            unseal(bad)


def test_an_absurd_size_is_not_parsed():
    with pytest.raises(ValueError, match="bytes where a few kilobytes"):
        unseal(b" " * (2**26 + 1))


def test_the_digest_is_blake3():
    assert digest_of(b"") == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
