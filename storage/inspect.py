"""`framebank inspect BANK [--json]`: what a bank holds, on a page.

It reads the small files only, so it is quick, and says what they say; whether the features are sound is for
`framebank verify`. Exit codes: 0 done; 1 a small file is damaged; 2 there is no bank.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro
from rich import box
from rich.console import Console, RenderableType
from rich.filesize import decimal
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from storage.clip_table import OUTCOMES
from storage.quantize import is_scale, scales_of
from storage.reader import Bank
from storage.shelf import numbers
from storage.summary import summarise

NOTE = (
    "\nMean to max: of the values as they were computed, before they were rounded to their type; gathered "
    "shard by shard when they were written, and merged. Types with * have scales, whose size is counted too."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class InspectCommand:
    """Show what a bank holds: spec, origin, clips, sizes, statistics."""

    bank: Annotated[str, tyro.conf.Positional]
    """Folder or URL of the bank."""
    json: bool = False
    """Print everything as JSON instead of tables."""


def main(argv: Sequence[str]) -> int:
    """`framebank inspect BANK [--json]`."""
    command = tyro.cli(InspectCommand, prog="framebank inspect", args=argv)
    summary, console = summarise(Bank(command.bank)), Console()
    if command.json:
        console.print_json(json.dumps(summary))
        return 0
    for piece in page(summary):
        console.print(piece)
    return 0


def page(summary: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The page, from top to bottom."""
    yield Text(summary["location"], "bold", overflow="fold")
    yield Text(summary["line"])
    if summary["writing"]:
        yield Text(f"run {summary['writing']} is writing it", "yellow")
    yield spaced(headline(summary))
    yield spaced(spec_table(summary["spec"]))
    yield spaced(split_table(summary["splits"]))
    if summary["reasons"]:
        yield spaced(reason_table(summary["reasons"]))
    if len(summary["lengths"]) > 1:
        yield spaced(length_table(summary["lengths"]))
    yield spaced(part_table(summary["parts"]))
    yield spaced(array_table(summary["arrays"]))
    yield Text(NOTE, "dim")


def spaced(table: Table) -> Padding:
    """With an empty line above."""
    return Padding(table, (1, 0, 0, 0))


def plain_table(*columns: str) -> Table:
    """Columns without lines between them; those whose name begins with `>` are numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        right = column.startswith(">")
        table.add_column(
            column.removeprefix(">"), justify="right" if right else "left", no_wrap=right, overflow="fold"
        )
    return table


def headline(summary: Mapping[str, Any]) -> Table:
    """Counts, sizes and origin, a line each."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    counts = sorted(summary["rows"].items(), key=lambda item: OUTCOMES.index(item[0]))
    rows = ", ".join(f"{count:,} {name}" for name, count in counts) or "none"
    size = decimal(summary["bytes"])
    if summary["bytes_per_row"]:
        size += f", {summary['bytes_per_row'] / 1e6:.3g} MB a row"
    made = summary["made"]
    marked = ", ".join(
        f"{count:,} with {name.replace('_', ' ')}" for name, count in summary["marked"].items()
    )
    origin = f"by {made.get('user', '?')} on {made.get('host', '?')}, {made.get('time', '?')}"
    for name, value in {
        "clips": f"{summary['clips']:,} in {summary['classes']} classes",
        "rows": f"{rows} ({summary['rows_per_shard']} a shard)",
        "marked": marked or "none",
        "size": size,
        "made": origin,
        "with": " ".join(made[name] for name in ("backbone", "weights") if made.get(name)) or "unknown",
        "version": f"framebank {made.get('framebank', 'unknown')}",
        "fingerprint": summary["fingerprint"],
        "digest": summary["digest"],
    }.items():
        table.add_row(name, value)
    return table


def spec_table(spec: Mapping[str, Any]) -> Table:
    """Everything that decides the values, a line for each setting."""
    table = plain_table("spec", "value")
    for name in ("backbone", "frames", "views", "video"):
        for setting, value in leaves(spec[name], name):
            table.add_row(setting, value)
    return table


def leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Dotted names and values of nested settings."""
    if isinstance(value, Mapping):
        for inner, found in value.items():
            yield from leaves(found, f"{name}.{inner}")
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)


def split_table(splits: Mapping[str, Mapping[str, int]]) -> Table:
    """Clips of each split."""
    table = plain_table("split", ">clips", ">written")
    for name, counts in splits.items():
        table.add_row(name or "(none)", f"{counts['clips']:,}", f"{counts['written']:,}")
    return table


def reason_table(reasons: Sequence[Mapping[str, Any]]) -> Table:
    """Why rows are not written."""
    table = plain_table(">rows", "outcome", "reason, and the first clip that has it")
    for line in reasons:
        table.add_row(f"{line['rows']:,}", line["outcome"], Text(f"{line['reason']} ({line['clip']})"))
    return table


def length_table(lengths: Mapping[str, Mapping[str, int]]) -> Table:
    """Rows of each number of frames."""
    table = plain_table(">frames a row", ">clips", ">rows written", ">size")
    for frames, found in lengths.items():
        table.add_row(frames, f"{found['clips']:,}", f"{found['rows']:,}", decimal(found["bytes"]))
    return table


def part_table(parts: Sequence[Mapping[str, Any]]) -> Table:
    """What each part keeps, and how much of it is there."""
    table = plain_table(">part", "blocks", "attention", "type", ">shards", ">missing", ">rows", ">size")
    for number, part in enumerate(parts):
        table.add_row(
            str(number),
            numbers(tuple(part["blocks"])),
            part["attention"],
            part["dtype"],
            f"{part['shards']:,}",
            f"{part['shards_listed'] - part['shards']:,}",
            f"{part['rows']:,}",
            decimal(part["bytes"]),
        )
    return table


def array_table(arrays: Mapping[str, Mapping[str, Any]]) -> Table:
    """Size and statistics of each array; arrays of scales count with what they scale."""
    table = plain_table("array", "type", "a row", ">size", ">mean", ">std", ">min", ">max")
    for name, array in sorted(arrays.items()):
        if is_scale(name):
            continue
        scales = scales_of(name, arrays)
        size = array["bytes"] + sum(arrays[scale]["bytes"] for scale in scales)
        found = array["statistics"]
        values = [found[key] for key in ("mean", "deviation", "low", "high")] if found else []
        table.add_row(
            name.removeprefix("features/"),
            array["dtype"] + ("*" if scales else ""),
            "×".join(map(str, array["row_shape"])),
            decimal(size),
            *(f"{value:.3g}" for value in values),
        )
    return table
