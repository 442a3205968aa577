"""Reading a bank in random order, against other ways to keep the same rows and against the bare disk.

    python -m benchmarks.bank_read [--quick] [--folder FOLDER]

Rows of a ViT-B/16 on 8 frames, 4 blocks a clip, fp16: 104 clips, 1.0 GB (quick: 16 clips, 155 MB), in batches
of 8 clips, one process. What a read is for each format stands in `rivals.py` and `bank_readers.py`.

*Warm*, all in the page cache: each round reads everything once with every format, in turn. framebank opens
the bank anew and makes three passes, of which the first checks every byte and the later ones none; the ratios
`over_NAME` are of those three passes, the first included. That is a training of three epochs; longer ones
come nearer to `later_over_npy`. Medians of rounds. Every format ends with a batch, ready for a training step;
`over_npy_loose` and `over_safetensors_loose` are against arrays that nobody has put together yet. `of_memory`
is the share of the limit: the speed at which the same rows are copied from arrays in memory into a batch.

*Cold*, the files dropped from the page cache before each pass: `cold_over_sequential` is one random pass over
the bank, every byte checked, against reading as many bytes from end to end of one file in 4 MiB blocks.

A pass that is not counted compares every value with what was written, the others both ends of each row.

Keys: `over_npy`, `over_safetensors`, `over_zarr`, `cold_over_sequential`: speed over the rival's.
`gb_per_second` of every format, `first_gb_per_second` and `later_gb_per_second` of framebank's passes, `cold`
for the second part, `left_out` with the reason.
"""

import argparse
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.bank_readers import BANK_FORMATS, read_framebank
from benchmarks.disk import evict, files_of, read_through, work_folder
from benchmarks.result import write_result
from benchmarks.rivals import FILE_FORMATS, Format, Reader
from benchmarks.rounds import Clock, ratio, rounded, speed
from benchmarks.sample_rows import SampleRows, row_ends
from pipeline.disk_rate import bytes_fetched

PASSES = 3
BARS = {"over_npy": 1.5, "over_safetensors": 1.0, "over_zarr": 4.0, "cold_over_sequential": 0.9}
FORMATS = (*BANK_FORMATS, *FILE_FORMATS)
Seconds = dict[str, list[list[float]]]
"""By format and round: seconds of each pass."""


def main() -> None:
    """Write, measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description="Reading a bank against other formats.")
    parser.add_argument("--quick", action="store_true", help="155 MB and fewer rounds")
    parser.add_argument("--folder", type=Path, help="where files are made (default: the temporary folder)")
    options = parser.parse_args()
    rows, rounds = (SampleRows(clips=16), 3) if options.quick else (SampleRows(clips=104), 7)
    figures = measure(rows, rounds=rounds, folder=options.folder)
    _print_table(figures)
    write_result("bank_read-quick" if options.quick else "bank_read", figures)


def measure(
    rows: SampleRows, *, rounds: int, folder: Path | None = None, formats: Sequence[Format] = FORMATS
) -> dict[str, Any]:
    """All figures; the files lie in a folder within `folder` meanwhile."""
    chosen = [form for form in formats if form.installed]
    kinds = {form.folder: form for form in chosen}
    with work_folder(folder, (len(kinds) + 1) * rows.bytes * 21 // 20) as place:
        for form in kinds.values():
            form.write(place / form.folder, rows)
        seconds = warm_rounds(place, rows, chosen, rounds)
        cold, not_cold = only_if_cold(cold_rounds(place, rows, rounds))
    left_out = {form.name: f"{form.needs} is not installed" for form in formats if not form.installed}
    return {
        "clips": rows.clips,
        "gigabytes": rounded(rows.bytes / 1e9),
        "rounds": rounds,
        **warm_figures(seconds, rows.bytes),
        **cold,
        "bars": BARS,
        "versions": {form.needs: version(form.needs) for form in chosen},
        "left_out": left_out | not_cold,
    }


def warm_rounds(place: Path, rows: SampleRows, formats: Sequence[Format], rounds: int) -> Seconds:
    """Every format once a round, the order turned on by one each time, after a pass that checks."""
    orders, seconds = rows.orders(0), {form.name: [] for form in formats}
    for form in formats:
        check_all(form.open(place / form.folder, rows), next(orders), rows)
    for number in range(rounds):
        turn = number % len(formats)
        for form in (*formats[turn:], *formats[:turn]):
            reader = form.open(place / form.folder, rows)
            passes = PASSES if form.name.startswith("framebank") else 1
            seconds[form.name].append([timed(reader, next(orders), rows) for _ in range(passes)])
    return seconds


def timed(reader: Reader, order: NDArray[np.int64], rows: SampleRows) -> float:
    """Seconds of one pass; the ends of every row are kept, and compared afterwards.

    Raises:
        ValueError: a wrong row, or not every clip once.
    """
    seen: list[tuple[int, list[np.ndarray]]] = []
    with Clock() as clock:
        for clips, values in reader(order):
            for place, clip in enumerate(clips):
                seen.append((int(clip), [row_ends(block[place]) for block in values]))
    if sorted(clip for clip, _ in seen) != list(range(rows.clips)):
        raise ValueError("a pass did not give every clip once")
    for clip, ends in seen:
        rows.check_ends(clip, ends)
    return clock.seconds


def check_all(reader: Reader, order: NDArray[np.int64], rows: SampleRows) -> None:
    """A pass that compares every value, and brings everything into the page cache."""
    for batch in reader(order):
        rows.check(batch)


def warm_figures(seconds: Seconds, size: int) -> dict[str, Any]:
    """Ratios and speeds from the rounds' seconds, `size` bytes a pass."""
    means = {name: [statistics.fmean(passes) for passes in rounds] for name, rounds in seconds.items()}
    first = [passes[0] for passes in seconds["framebank"]]
    later = [statistics.fmean(passes[1:]) for passes in seconds["framebank"]]
    ours = means["framebank"]
    ratios = {f"over_{name}": ratio(found, ours) for name, found in means.items() if found is not ours}
    apart = {"first_over_npy": ratio(means["npy"], first), "later_over_npy": ratio(means["npy"], later)}
    if "framebank_1_thread" in means:
        alone = means["framebank_1_thread"]
        apart |= {f"one_thread_over_{name}": ratio(means[name], alone) for name in ("npy", "safetensors")}
    if "memory" in means:
        apart["of_memory"] = ratios.pop("over_memory")
    return {
        **ratios,
        **apart,
        "gb_per_second": {name: speed(size, found) for name, found in means.items()},
        "first_gb_per_second": speed(size, first),
        "later_gb_per_second": speed(size, later),
    }


def cold_rounds(place: Path, rows: SampleRows, rounds: int) -> dict[str, Any]:
    """One random pass over the bank and one sequential one over a file as large, by turns, from the disk."""
    big, bank = place / "sequential", place / "bank"
    write_big(big, rows)
    orders, random, sequential, read = rows.orders(1), [], [], 0
    for _ in range(rounds):
        evict([big, *files_of(bank)])
        before = bytes_fetched()
        random.append(timed(read_framebank(bank, rows), next(orders), rows))
        clock = Clock()
        with clock:
            read_through(big)
        sequential.append(clock.seconds)
        read += bytes_fetched() - before
    return {
        "cold_over_sequential": ratio(sequential, random),
        "cold": {
            "gb_per_second": speed(rows.bytes, random),
            "sequential_gb_per_second": speed(rows.bytes, sequential),
            "share_read_from_disk": rounded(read / (2 * rounds * rows.bytes)),
        },
    }


def only_if_cold(figures: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The figures, or the reason why there are none: folders in memory have no disk to read from."""
    share = figures["cold"]["share_read_from_disk"]
    return (
        (figures, {}) if share > 0.9 else ({}, {"cold": f"only {share:.0%} of the bytes came from the disk"})
    )


def write_big(path: Path, rows: SampleRows) -> None:
    """The bytes of all rows in one file."""
    with open(path, "wb") as file:
        for clip in range(rows.clips):
            for values in rows.clip(clip):
                file.write(values.reshape(-1).view(np.uint8).data)


def _print_table(figures: dict[str, Any]) -> None:
    title = f"{figures['gigabytes']} GB in random order, median of {figures['rounds']} rounds"
    table = Table("format", "GB/s", "framebank is faster by", title=title)
    for name, found in sorted(figures["gb_per_second"].items(), key=lambda item: -item[1]):
        over = figures["of_memory"] if name == "memory" else figures.get(f"over_{name}")
        table.add_row(name, f"{found:.2f}", "" if over is None else f"{over:.2f}")
    table.add_section()
    for name in ("first", "later"):
        table.add_row(f"framebank, {name} pass", f"{figures[f'{name}_gb_per_second']:.2f}", "")
    if "cold" in figures:
        cold, over = figures["cold"], f"{figures['cold_over_sequential']:.2f}"
        table.add_row("framebank, cold", f"{cold['gb_per_second']:.2f}", "")
        table.add_row("one file, cold", f"{cold['sequential_gb_per_second']:.2f}", over)
    Console(stderr=True).print(table)


if __name__ == "__main__":
    main()
