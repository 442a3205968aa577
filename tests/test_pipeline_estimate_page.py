"""The estimate in words: they fit a terminal, and say what is doubtful and what would be better."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from pipeline.costs import Account, Estimate, Measured, Stages, Way, Workers
from pipeline.estimate_page import asked, page, span


def printed(found: Estimate, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width)
    for piece in page(found):
        console.print(piece)
    return console.file.getvalue()


def words(found: Estimate) -> str:
    """The page on one line."""
    return " ".join(printed(found).split())


def drawn_estimate(*, read: float = 60, epochs: int | None = 3, **changes) -> Estimate:
    """What a page is made of, as large as it gets."""
    account = Account(
        bytes_per_clip=29.05e6, bytes=6.97e12, once=7200, read=read, online=3600, feed=1.72e9, epochs=epochs
    )
    kept = replace(account, bytes_per_clip=4.9e6, read=30, epochs=1_000)
    asked = Way(attention="derived", dtype="float16", account=account)
    values = {
        "source": "/videos/train.csv",
        "place": "/banks/k400",
        "free": 2 * 10**12,
        "tower": "ViT-B-16 fp16",
        "device": "cuda",
        "views": 1,
        "measured": Measured(
            listed=240_000,
            sampled=16,
            written=16,
            decode=0.21,
            tower=0.011,
            keep=0.001,
            write_rate=9e8,
            read_rate=1e9,
            cold=True,
        ),
        "reasons": {},
        "workers": Workers(decoders=32, encoders=4, gpus=4),
        "stages": Stages(decode=6000, encode=3000, write=1200),
        "asked": asked,
        "ways": [asked, Way(attention="none", dtype="int8", account=kept)],
        "clips_per_second": 59.0,
    }
    return Estimate(**(values | changes))


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_fits_and_says_what_it_is(width):
    said = printed(drawn_estimate(), width)
    assert max(map(len, said.splitlines())) <= width
    assert "…" not in said
    for text in (
        "240,000 clips in /videos/train.csv",
        "12 ms a clip (encoders: 4)",
        "MORE than the 2.0 TB that are free",
        "decode 1.7 h, encode 50 min, write 20 min",
        "decoding beside encoding: 2 h. The limit is decoding",
        "59 clips/s take 1.7 GB/s; the disk feeds 34.4 clips/s, so training would wait for it",
        "cheaper than running the tower online from epoch 3 on",
    ):
        assert text in " ".join(said.split()), text
    row = next(line for line in said.splitlines() if line.startswith("none"))
    assert " ".join(row.split()) == "none int8 4.9 MB 7.0 TB 2 h 30 s 1.7 GB/s 1,000"


def test_many_clips_a_second_are_written_out():
    found = drawn_estimate()
    small = replace(asked(found), bytes_per_clip=5e5)
    assert "the disk feeds 2,000 clips/s" in words(replace(found, asked=replace(found.asked, account=small)))


def test_a_disk_that_keeps_up_and_room_enough():
    said = words(drawn_estimate(free=None, clips_per_second=1.0, measured=fast(drawn_estimate())))
    assert "which the disk gives" in said
    assert "MORE" not in said
    assert "free" not in said


def fast(found: Estimate) -> Measured:
    return replace(found.measured, read_rate=1e10)


def test_never_is_said_with_what_would_pay():
    never = drawn_estimate(read=9000, epochs=None)
    assert "the bank never pays: to read it once takes 2.5 h" in words(never)
    assert "--attention none --dtype int8 would; so would a faster disk" in words(never)
    alone = replace(never, ways=[never.asked])
    assert "No other way to keep it does either: use a faster disk, or train online" in words(alone)


def test_what_makes_the_figures_doubtful_is_said():
    found = drawn_estimate()
    measured = replace(found.measured, written=14, cold=False)
    said = words(replace(found, measured=measured, reasons={"truncated": 2}, views=3))
    assert "left out of what follows: 2 in 16 (2 × truncated)" in said
    assert "from a cache, as it seems" in said
    assert "12 ms a view, 3 views a clip" in said


def test_half_precision_on_a_cpu_is_advised_against():
    assert "--backbone.precision" not in words(drawn_estimate())
    assert "--backbone.precision bf16" in words(drawn_estimate(device="cpu"))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0042, "4.2 ms"),
        (0.25, "250 ms"),
        (7.04, "7 s"),
        (99, "99 s"),
        (600, "10 min"),
        (7200, "2 h"),
        (3e6, "35 days"),
    ],
)
def test_spans(seconds, said):
    assert span(seconds) == said
