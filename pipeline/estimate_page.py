"""What `framebank estimate` prints: what was measured, what it comes to, and when a bank pays."""

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.filesize import decimal
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.costs import Account, Estimate, Way

NOTE = (
    "`ready` is decoding, encoding and writing; `read` is reading all of it once, at the disk's rate (a bank "
    "that fits in memory is read from there after the first time, which is faster); `to feed` is what "
    "training reads a second at the speed above. It `pays from` the first epoch at whose end it was cheaper "
    "than to run the tower online. An epoch is one pass over all clips, counted over all configurations "
    "together: 10 decoders of 30 epochs are 300. The decoder's own steps are left out, and so is what qk and "
    "derived add to them."
)


def page(found: Estimate) -> Iterator[RenderableType]:
    """The page, from top to bottom."""
    yield facts(found)
    yield Padding(break_even_table(found), (1, 0, 0, 0))
    yield Text("\n" + verdict(found))
    yield Text("\n" + NOTE, "dim")


def facts(found: Estimate) -> Table:
    """What was measured and what it means for the bank as asked for, a line each."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in (
        ("source", Text(f"{found.measured.listed:,} clips in {found.source}")),
        ("sample", Text(sampled(found))),
        ("tower", Text(tower(found))),
        ("disk", Text(disk(found))),
        ("bank", Text(size(found))),
        ("time", Text(time(found))),
        ("online", Text(f"{span(asked(found).online)} an epoch, to decode and encode all clips again")),
        ("training", Text(feeding(found))),
    ):
        table.add_row(name, value)
    return table


def sampled(found: Estimate) -> str:
    """How many clips were tried, and why some of them gave nothing."""
    measured = found.measured
    bad = measured.sampled - measured.written
    said = (
        f"{measured.sampled} clips decoded, {span(measured.decode)} each (workers: {found.workers.decoders})"
    )
    if not bad:
        return said
    why = "; ".join(f"{count} × {reason}" for reason, count in found.reasons.items())
    return f"{said}; without frames, so left out of what follows: {bad} in {measured.sampled} ({why})"


def tower(found: Estimate) -> str:
    """The tower and its pace."""
    pace = span(found.measured.tower + found.measured.keep)
    what = "clip" if found.views == 1 else f"view, {found.views} views a clip"
    said = f"{found.tower} on {found.device}: {pace} a {what} (encoders: {found.workers.encoders})"
    slow = found.device == "cpu" and found.tower.endswith("fp16")
    return f"{said}; fp16 suits GPUs, on a CPU try --backbone.precision bf16 or fp32" if slow else said


def disk(found: Estimate) -> str:
    """The disk's rates and room."""
    measured = found.measured
    cold = "" if measured.cold else " (from a cache, as it seems: the disk itself may be slower)"
    free = "" if found.free is None else f"; {decimal(found.free)} free"
    return f"write {rate(measured.write_rate)}, read {rate(measured.read_rate)}{cold}{free}, at {found.place}"


def size(found: Estimate) -> str:
    """Bytes of the bank as asked for, and whether they fit."""
    account = asked(found)
    said = f"{account.bytes_per_clip / 1e6:.3g} MB a clip, {decimal(round(account.bytes))} in all"
    said = f"{said} with --attention {found.asked.attention} --dtype {found.asked.dtype}"
    if found.free is not None and account.bytes > found.free:
        said += f": MORE than the {decimal(found.free)} that are free; see the table for smaller ones"
    return said


def time(found: Estimate) -> str:
    """How long the stages take, and which is the limit."""
    stages = found.stages
    limit = {"decode": "decoding", "encode": "encoding", "write": "writing"}[stages.limit]
    side = "decoding beside encoding" if found.workers.gpus else "all three"
    return (
        f"decode {span(stages.decode)}, encode {span(stages.encode)}, write {span(stages.write)}; "
        f"{side}: {span(asked(found).once)}. The limit is {limit}"
    )


def feeding(found: Estimate) -> str:
    """What training needs of the disk."""
    account, disk = asked(found), found.measured.read_rate
    said = f"{found.clips_per_second:g} clips/s take {rate(account.feed)}"
    if disk >= account.feed:
        return f"{said}, which the disk gives"
    feeds = disk / account.bytes_per_clip
    pace = f"{feeds:,.0f}" if feeds >= 100 else f"{feeds:.3g}"
    return f"{said}; the disk feeds {pace} clips/s, so training would wait for it"


def break_even_table(found: Estimate) -> Table:
    """Every attention mode and type: size, times, when it pays; the one asked for in bold."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("attention", "type", "a clip", "in all", "ready", "read", "to feed", "pays from"):
        right = column not in ("attention", "type")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for way in found.ways:
        table.add_row(*cells(way), style="bold" if way == found.asked else "")
    return table


def cells(way: Way) -> list[str]:
    """A line of the table."""
    account = way.account
    if account is None:
        return [way.attention, way.dtype, *["-"] * 5, "not possible"]
    return [
        way.attention,
        way.dtype,
        f"{account.bytes_per_clip / 1e6:.3g} MB",
        decimal(round(account.bytes)),
        span(account.once),
        span(account.read),
        rate(account.feed),
        "never" if account.epochs is None else f"{account.epochs:,}",
    ]


def verdict(found: Estimate) -> str:
    """What the table means for the bank as asked for, and what would be better."""
    account = asked(found)
    better = [way for way in found.ways if way.account and way.account.epochs is not None]
    best = min(better, key=lambda way: (way.account and way.account.epochs, way.attention), default=None)
    if account.epochs is not None:
        return (
            f"As asked for, the bank is cheaper than running the tower online from epoch {account.epochs:,} "
            f"on; an epoch takes {span(account.read)} of reading in place of {span(account.online)}."
        )
    said = (
        "As asked for, the bank never pays: to read it once takes "
        f"{span(account.read)}, to decode and encode everything again {span(account.online)}."
    )
    if best is None:
        return f"{said} No other way to keep it does either: use a faster disk, or train online."
    return f"{said} --attention {best.attention} --dtype {best.dtype} would; so would a faster disk."


def asked(found: Estimate) -> Account:
    """The account of the bank as asked for, which is always there."""
    assert found.asked.account is not None
    return found.asked.account


def rate(bytes_per_second: float) -> str:
    """Bytes a second, for people."""
    return f"{decimal(round(bytes_per_second))}/s"


def span(seconds: float) -> str:
    """A time in the unit that suits it, to two or three digits: 12 ms, 4.1 s, 35 min, 7.2 h, 12 days."""
    for limit, unit, size in ((1, "ms", 1e-3), (100, "s", 1), (6000, "min", 60), (100 * 3600, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.2g} {unit}" if seconds / size < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
