"""A bank of two parts to be damaged, what verify says of it, and what may be read of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from storage import Bank, BankError, BankWriter, open_place
from storage.checks.finding import Finding
from storage.checks.survey import Survey, take_survey
from storage.checks.verify import check_shards
from storage.sealed import digest_of, seal
from storage.shard_index import checksum_bytes
from tests.small_banks import clip_line, frozen_weights, row_values, small_spec, write_shard

CLIPS, FAILED, SHARD_ROWS = 6, 1, 4
SHARDS = (0, 1)


def write_two_parts(path: Path, dtype: str) -> None:
    """Block 2 with maps, later block 3 with derived q and k; six clips in two shards, one failed."""
    with BankWriter(path, small_spec(blocks=(2,), dtype=dtype), shard_rows=SHARD_ROWS) as writer:
        writer.enrol([clip_line(number) for number in range(CLIPS)])
        fill(path, writer, part=0)
    grown = small_spec(blocks=(3,), attention="derived", dtype=dtype)
    with BankWriter(path, grown, grow=True, weights=frozen_weights(grown)) as writer:
        fill(path, writer, part=1)


def fill(path: Path, writer: BankWriter, part: int) -> None:
    """Write the shards of a part that have no record."""
    for shard in SHARDS:
        if (part, shard) not in writer.records:
            write_shard(path, shard, writer=writer, failed=(FAILED,), part=part)


def extract_again(path: Path, dtype: str) -> None:
    """What the next extraction does: every shard without a record, the first part before the second."""
    with BankWriter(path, small_spec(blocks=(2,), dtype=dtype)) as writer:
        for part in (0, 1):
            fill(path, writer, part)


def findings(path: Path, survey: Survey | None = None) -> list[Finding]:
    """Everything that verify finds."""
    survey = survey or take_survey(open_place(path))
    return [*survey.findings, *check_shards(survey, threads=1)]


def damage(path: Path, survey: Survey | None = None) -> list[Finding]:
    return [found for found in findings(path, survey) if found.damage]


@contextmanager
def changed(file: Path, data: bytes | None) -> Iterator[None]:
    """The file with other content, or gone, for a moment."""
    good = file.read_bytes()
    if data is None:
        file.unlink()
    else:
        file.write_bytes(data)
    try:
        yield
    finally:
        file.write_bytes(good)


def files_of(bank: Path, pattern: str) -> list[Path]:
    found = sorted(path for path in bank.glob(pattern) if path.is_file())
    assert found
    return found


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def written_rows(shard: int) -> list[int]:
    rows = range(shard * SHARD_ROWS, min(CLIPS, (shard + 1) * SHARD_ROWS))
    return [row for row in rows if row != FAILED]


def shard_of(file: Path) -> int:
    """Shard of a data file (`c/1/0/0`) or of a small one (`00001.1.json`)."""
    parts = file.parts
    return int(parts[parts.index("c") + 1]) if "c" in parts else int(file.name.split(".")[0])


def array_of(bank: Path, file: Path) -> str:
    return str(file.relative_to(bank)).partition("/c/")[0]


def touch_small_files(path: Path) -> None:
    bank = Bank(path)
    assert bank.table.num_rows == CLIPS
    assert bank.facts(1).num_rows == CLIPS


def read_all(path: Path, row: int) -> dict[str, np.ndarray] | None:
    """Every array of a row, none where it is not committed; None where the bank refuses."""
    try:
        bank = Bank(path)
        return {name: bank.read(name, [row])[0] for name in bank.layouts if row in bank.rows()}
    except BankError:
        return None


def refused_or_right(path: Path, dtype: str) -> None:
    """Whatever is read of a bank is what was written."""
    spec = small_spec(blocks=(2,), dtype=dtype)
    spec = spec.with_part(small_spec(blocks=(3,), attention="derived", dtype=dtype).kept[0])
    for row in (0, 2, 4):
        for name, values in (read_all(path, row) or {}).items():
            np.testing.assert_array_equal(values, row_values(spec, row)[name])


def commit_instead(bank: Path, file: Path, data: bytes) -> None:
    """Let a file have other content, which its commit record promises."""
    record = next(
        path for path in files_of(bank, "shards/*.json") if str(file.relative_to(bank)) in path.read_text()
    )
    values = json.loads(record.read_bytes())
    del values["check"]
    values["files"][str(file.relative_to(bank))] = {"bytes": len(data), "blake3": digest_of(data)}
    file.write_bytes(data)
    record.write_bytes(seal(values))


def with_row(data: bytes, position: int, row: np.ndarray) -> bytes:
    """A shard file's bytes with another row in one position, and its crc32c."""
    raw = np.frombuffer(row.tobytes(), np.uint8)
    chunk = raw.tobytes() + checksum_bytes(raw)
    start = position * len(chunk)
    return data[:start] + chunk + data[start + len(chunk) :]
