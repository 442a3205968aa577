"""Writing whole shards of a bank, against writing the same values raw to one file; both end on the disk.

    python -m benchmarks.bank_write [--quick] [--folder FOLDER]

Rows as a ViT-B/16 gives them for 8 frames, 4 blocks, handed over ready in their storage type, as an encoder
does: 13 arrays and 14.0 MB a row in fp16 with maps, 7.0 MB in int8. framebank's time runs from opening a
`ShardWriter` to the end of its `commit`: finite values checked, a crc32c per row, a BLAKE3 per file, every
file synced and renamed, the record published. The rival does `write` for the same arrays in the same order
and one `fsync`. The two take turns, a shard each of the size that a bank chooses by itself (quick: 12 rows),
each shard into fresh files.

Keys: `over_raw`, `int8_over_raw`: speed over the raw one's, median of rounds; `float16` and `int8` with the
speeds.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.disk import work_folder
from benchmarks.result import write_result
from benchmarks.rounds import Clock, ratio, rounded, speed
from benchmarks.sample_rows import SampleRows, bank_spec, facts_line, listing_line
from storage import DTYPES, ArrayLayout, Bank, BankSpec, BankWriter, ShardWriter, array_layouts, row_bytes
from storage.layout import rows_per_shard

BARS = {"over_raw": 0.8}
DISTINCT = 4
"""Different rows, so that the values come from memory and not from a cache of the processor."""
Row = Mapping[str, np.ndarray]


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description="Writing a bank against writing raw bytes.")
    parser.add_argument("--quick", action="store_true", help="small shards and fewer rounds")
    parser.add_argument("--folder", type=Path, help="where files are made (default: the temporary folder)")
    options = parser.parse_args()
    per_shard, rounds = (12, 3) if options.quick else (0, 7)
    figures = measure(SampleRows(clips=8), per_shard=per_shard, rounds=rounds, folder=options.folder)
    _print_table(figures)
    write_result("bank_write-quick" if options.quick else "bank_write", figures)


def measure(rows: SampleRows, *, per_shard: int, rounds: int, folder: Path | None = None) -> dict[str, Any]:
    """All figures; `per_shard` rows a shard, 0: as a bank chooses. The files lie in a folder within `folder`
    meanwhile.
    """
    specs = {dtype: bank_spec(rows, attention="maps", dtype=dtype) for dtype in DTYPES}
    found = {
        dtype: measure_spec(spec, per_shard or rows_per_shard(spec), rounds, folder)
        for dtype, spec in specs.items()
    }
    return {
        "over_raw": found["float16"]["over_raw"],
        "int8_over_raw": found["int8"]["over_raw"],
        **found,
        "rounds": rounds,
        "bars": BARS,
    }


def measure_spec(spec: BankSpec, per_shard: int, rounds: int, folder: Path | None) -> dict[str, float]:
    """Speeds of both, and their ratio, for shards of one kind."""
    size = per_shard * row_bytes(spec)
    with work_folder(folder, 2 * (rounds + 2) * size) as place:
        ours, raw = write_rounds(place, spec, per_shard, rounds)
    return {
        "over_raw": ratio(raw, ours),
        "gb_per_second": speed(size, ours),
        "raw_gb_per_second": speed(size, raw),
        "shard_rows": per_shard,
        "shard_megabytes": rounded(size / 1e6),
    }


def write_rounds(place: Path, spec: BankSpec, per_shard: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds per shard of both, by round; a round more is not counted.

    Raises:
        ValueError: the bank does not hold what was written.
    """
    drawn = [draw_row(spec, number) for number in range(DISTINCT)]
    values = [drawn[place % DISTINCT] for place in range(per_shard)]
    ours, raw = [], []
    with BankWriter(place / "bank", spec, shard_rows=per_shard) as writer:
        writer.enrol([listing_line(clip) for clip in range(per_shard * (rounds + 1))])
        for number in range(rounds + 1):
            if number % 2:
                ours.append(shard_seconds(writer, number, values))
            raw.append(raw_seconds(place / f"raw{number}", values))
            if not number % 2:
                ours.append(shard_seconds(writer, number, values))
    check_bank(place / "bank", drawn)
    return ours[1:], raw[1:]


def draw_row(spec: BankSpec, seed: int) -> Row:
    """Values of every array, in their storage type."""
    rng = np.random.default_rng(seed)
    return {layout.name: draw(rng, layout) for layout in array_layouts(spec)}


def draw(rng: np.random.Generator, layout: ArrayLayout) -> np.ndarray:
    """One row of an array."""
    if np.dtype(layout.dtype).kind in "iu":
        return rng.integers(0, 127, layout.row_shape, dtype=layout.dtype)
    return rng.random(layout.row_shape, dtype=np.float32).astype(layout.dtype)


def shard_seconds(writer: BankWriter, shard: int, values: Sequence[Row]) -> float:
    """One shard, from opening its writer to its record."""
    first, clock = shard * writer.shard_rows, Clock()
    with clock, ShardWriter(writer.path, shard, run=writer.run) as file:
        for place, row in enumerate(values):
            file.append(first + place, row)
        file.commit([facts_line(first + place) for place in range(len(values))], {})
    return clock.seconds


def raw_seconds(path: Path, values: Sequence[Row]) -> float:
    """The same values into one file, synced."""
    clock = Clock()
    with clock, open(path, "wb", buffering=0) as file:
        for row in values:
            for array in row.values():
                file.write(array.reshape(-1).view(np.uint8).data)
        os.fsync(file.fileno())
    return clock.seconds


def check_bank(path: Path, drawn: Sequence[Row]) -> None:
    """Compare the last shard's first rows.

    Raises:
        ValueError: the bank does not hold what was written.
    """
    bank = Bank(path)
    first = int(bank.rows()[-1]) // bank.rows_per_shard * bank.rows_per_shard
    for place, row in enumerate(drawn[: bank.rows_per_shard]):
        for name, values in row.items():
            if not np.array_equal(bank.read(name, [first + place])[0], values):
                raise ValueError(f"row {first + place} of {name} is not what was written")


def _print_table(figures: dict[str, Any]) -> None:
    title = f"Whole shards, median of {figures['rounds']} rounds"
    table = Table("", "MB a shard", "framebank GB/s", "raw GB/s", "ratio", title=title)
    for dtype in DTYPES:
        names = ("shard_megabytes", "gb_per_second", "raw_gb_per_second", "over_raw")
        table.add_row(dtype, *(str(figures[dtype][name]) for name in names))
    Console(stderr=True).print(table)


if __name__ == "__main__":
    main()
