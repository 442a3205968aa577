"""The reader that the format's page spells out reads every kind of bank."""

import re
from pathlib import Path

import numpy as np
import pytest

from storage import Bank, BankWriter
from tests.small_banks import clip_line, small_spec, write_bank, write_shard

PAGE = Path(__file__).parent.parent / "docs" / "store_format.md"


@pytest.fixture(scope="module")
def stranger():
    """The class of the page's longest piece of Python."""
    names: dict[str, object] = {}
    code = max(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S), key=len)
    exec(compile(code, str(PAGE), "exec"), names)
    return names["Bank"]


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_it_reads_what_ours_reads(stranger, tmp_path, dtype):
    path = tmp_path / "bank"
    write_bank(path, 3, small_spec(dtype=dtype), failed=(1,))
    with BankWriter(path, small_spec(dtype=dtype, attention="qk"), grow=True) as writer:
        write_shard(path, 0, writer=writer, part=1, failed=(1,))
    theirs, ours = stranger(path), Bank(path)
    for name in ours.layouts:
        np.testing.assert_array_equal(theirs.read(name, 2), ours.read(name, [2])[0])
    np.testing.assert_allclose(theirs.tokens(3, 0), ours.features(3, "out", [0])[0], rtol=1e-6)
    with pytest.raises(LookupError, match="row 1 was not written"):
        theirs.read("features/block02/out", 1)
    with pytest.raises(LookupError, match="not committed"):
        theirs.read("features/block02/out", 64)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_it_reads_rows_of_any_length(stranger, tmp_path, dtype):
    path, spec = tmp_path / "bank", small_spec(dtype=dtype)
    with BankWriter(path, spec, shard_rows=2) as writer:
        writer.enrol([clip_line(0) | {"frames": 1}, clip_line(1)])
        for shard in range(2):
            write_shard(path, shard, writer=writer)
    theirs, ours = stranger(path), Bank(path)
    np.testing.assert_allclose(theirs.tokens(3, 0), ours.features(3, "out", [0])[0], rtol=1e-6)
    np.testing.assert_allclose(theirs.tokens(3, 2), ours.features(3, "out", [2], frames=1)[0], rtol=1e-6)
    with pytest.raises(LookupError, match="not committed, or no row of it"):
        theirs.read("features/block02/out", 2)


def test_it_refuses_damage(stranger, tmp_path):
    path = tmp_path / "bank"
    write_bank(path, 2)
    file = path / "features/block02/out/c/0/0/0/0"
    data = bytearray(file.read_bytes())
    data[10] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match="row 0 of features/block02/out/c/0/0/0/0 is damaged"):
        stranger(path).read("features/block02/out", 0)
