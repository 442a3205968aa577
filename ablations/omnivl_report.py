"""What `framebank ablate omnivl` found, as a page and on the terminal."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ablations.ledger import Ledger
from ablations.openvclip_report import markdown

COLUMNS = {
    "dual": "dual R@1",
    "reranked": "re-ranked R@1",
    "matched": "matching alone R@1",
    "among_8": "R@8",
    "captions": "exact captions",
    "flipped": "reversed: direction flips",
}
"""What was measured to what it is called."""
KIND_NAMES = {"image": "images", "video": "clips"}
PAGE = """# OmniVL's schedules in small

Drawn images of objects in a place and clips of objects on their way, 48 captions of each kind, {train} of
each to learn from and one held out, under the demo's frozen tiny CLIP. Every schedule takes {steps} steps in
all; those of two stages take {first} in the first. Texts look for their image or clip among 48; re-ranking
judges the best 8 of them, by match and cosine or by match alone. Chance: 0.02 at 1, 0.17 at 8. With 48
items, 0.05 is noise.

{table}

A schedule is told by what it saw: videos alone teach nothing of images. Other orders among schedules are not
to be expected of so small a world, and are reported as they come out.

{answers}

Seconds of training: {seconds}. Settings: {settings}.
"""


def publish(folder: Path, ledger: Ledger, console: Console) -> dict[str, Any]:
    """Write the page, show the table; what the ledger holds."""
    head, lines = table_of(ledger)
    table = Table(*head)
    for line in lines:
        table.add_row(*line)
    console.print(table)
    page = folder / "report.md"
    page.write_text(page_of(ledger, head, lines), encoding="utf-8")
    console.print(f"report: {page}", soft_wrap=True)
    return {"settings": ledger.settings, "stages": ledger.found}


def table_of(ledger: Ledger) -> tuple[list[str], list[list[str]]]:
    """A line for each schedule and kind."""
    head = ["schedule", "of", *COLUMNS.values()]
    lines = [
        [name.removeprefix("exam / ").replace("_", " "), KIND_NAMES[kind], *map(in_words, values)]
        for name, found in ledger.found.items()
        if name.startswith("exam / ")
        for kind in KIND_NAMES
        for values in [[found[kind].get(column) for column in COLUMNS]]
    ]
    return head, lines


def in_words(value: float | None) -> str:
    """A share, or nothing where it was not asked for."""
    return "" if value is None else f"{value:.2f}"


def page_of(ledger: Ledger, head: list[str], lines: list[list[str]]) -> str:
    """The page."""
    settings = ledger.settings
    seconds = {
        name.removeprefix("train / "): found["seconds"]
        for name, found in ledger.found.items()
        if name.startswith("train / ") and found["seconds"] is not None
    }
    return PAGE.format(
        train="1" if settings["short"] else "10",
        steps=settings["image_steps"] + settings["joint_steps"],
        first=settings["image_steps"],
        table=markdown(head, lines),
        answers=answers_of(ledger),
        seconds=", ".join(f"{found:.0f} ({name})" for name, found in seconds.items()) or "unknown",
        settings=", ".join(f"{name} {value}" for name, value in settings.items()),
    )


def answers_of(ledger: Ledger) -> str:
    """What the decoupled model answers."""
    found = ledger.found.get("answers")
    if found is None:
        return "No model was asked questions."
    lines = [[name, in_words(value)] for name, value in found.items()]
    steps = ledger.settings["answer_steps"]
    return f"After {steps} steps on questions the decoupled model answers held-out ones:\n\n" + markdown(
        ["question", "exact"], lines
    )
