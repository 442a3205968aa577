"""Videos to bank: the extraction command.

What is asked for (`request`) becomes a plan of whole shards (`plan`), which run through decoding and encoding
on Ray (`engine`); a task is one shard, so whatever happens to a worker, a shard is either committed or made
again.

Run it as `framebank extract RECIPE --source VIDEOS --bank BANK`, or on a cluster as
`ray submit ray_cluster.yaml pipeline/extract.py -- RECIPE --source VIDEOS --bank BANK`.
"""

import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import Any

from numpy.typing import NDArray
from rich.console import Console

from pipeline.aside import Aside
from pipeline.config import ExtractConfig, origin
from pipeline.engine import Engine
from pipeline.errors import ExtractionError
from pipeline.known import known_request
from pipeline.listing import list_source
from pipeline.outcomes import outcome_counts
from pipeline.plan import Plan, redo_keys
from pipeline.progress import ExtractionProgress, show_account
from pipeline.room import refuse_small_disk
from pipeline.stages import stages_of
from pipeline.task import ShardTask
from pipeline.twins import find_twins
from storage import (
    WRITTEN,
    Bank,
    BankSpec,
    BankWriter,
    ClipTable,
    find_bank,
    lacking,
    open_place,
    suggested_name,
)
from training.cluster import connect


def extract(config: ExtractConfig, console: Console | None = None) -> Bank:
    """Complete the bank: every clip of the source ends as written, filtered, failed or quarantined.

    Raises:
        ExtractionError: nothing could be written, or clips are unaccounted for.
        InputError, BackboneError, BankError: what the rooms refuse.
    """
    console = console or Console(stderr=True)
    clips, spec, weights = request(config, console)
    location = locate(config, spec, console)
    redo = redo_keys(config.redo)
    with BankWriter(
        location,
        spec,
        shard_rows=config.shard_rows,
        grow=config.grow,
        weights=weights,
        made=origin(config),
    ) as writer:
        enrol(writer, clips, redo, console)
        for part in writer.parts:
            complete(config, writer, part, redo, console)
    return account(config, writer.path, clips, console)


def request(config: ExtractConfig, console: Console) -> tuple[ClipTable, BankSpec, dict[str, NDArray[Any]]]:
    """What is asked for: the source's clips, the bank's spec, and the frozen weights that a new one holds.
    The last two are the tower's, which is loaded beside the listing, or those of the bank to be completed.
    """
    known = known_request(config)
    with Aside(tower_request, config) if known is None else nullcontext() as tower:
        with console.status("listing the source"):
            clips = list_source(config)
        if tower is None:
            assert known is not None
            return clips, known, {}
        with console.status("loading the tower"):
            return clips, *tower.result()


def tower_request(config: ExtractConfig) -> tuple[BankSpec, dict[str, NDArray[Any]]]:
    """The spec and frozen weights, from the tower itself."""
    from pipeline.request import bank_request, load_tower

    return bank_request(config, load_tower(config))


def enrol(writer: BankWriter, clips: ClipTable, redo: frozenset[str], console: Console) -> None:
    """Give new clips their rows; clips of equal content share them.

    Raises:
        ValueError: a clip to be extracted anew is not listed.
    """
    with console.status("looking for files with equal content"):
        twins = find_twins(clips, writer.listing)
    new = writer.enrol(clips, twins)
    unknown = redo and redo - set(writer.listing["key"].to_pylist())
    if unknown:
        raise ValueError(f"{len(unknown)} clips to extract anew are not in the bank, e.g. {min(unknown)}")
    same = f", {len(twins)} with the content of another" if twins else ""
    console.print(f"{writer.path}: {clips.num_rows} clips listed, {new} new{same}", highlight=False)


def complete(
    config: ExtractConfig, writer: BankWriter, part: int, redo: frozenset[str], console: Console
) -> None:
    """Do all the work that one part of the bank still needs."""
    plan = Plan(writer, attempts=config.attempts, redo=redo)
    lengths = plan.clips(part)
    clips = lengths.total()
    what = "" if part == 0 else f" of what was added (part {part})"
    console.print(f"{clips} clips to do{what}", highlight=False)
    refuse_small_disk(writer.place, writer.spec, part, lengths)
    with ExtractionProgress(console, writer, clips, part) as progress:
        run_tasks(config, writer, part, plan.tasks(part), progress)


def locate(config: ExtractConfig, spec: BankSpec, console: Console) -> str:
    """Where the bank is: as named, or on a shelf the bank of this spec, or a new one's place.

    Raises:
        ValueError: neither or both of bank and shelf are named.
    """
    if bool(config.bank) == bool(config.shelf):
        raise ValueError("name either the bank (--bank) or the shelf that it stands on (--shelf)")
    if config.bank:
        return str(open_place(config.bank))
    found = find_bank(config.shelf, spec)
    if found:
        console.print(f"{found} has this spec already; it is completed", highlight=False)
        return found
    return f"{open_place(config.shelf)}/{suggested_name(spec)}"


def run_tasks(
    config: ExtractConfig,
    writer: BankWriter,
    part: int,
    tasks: Iterable[ShardTask],
    progress: ExtractionProgress,
) -> None:
    """Decode, encode and commit every task.

    Raises:
        ExtractionError: a worker failed, or died again and again.
    """
    left = iter(tasks)
    first = next(left, None)
    if first is None:
        return
    connect()
    engine = Engine(stages_of(config, writer, part), progress.say)
    try:
        for report in engine.run(chain([first], left)):
            progress.add(report, engine.alive)
    except ExtractionError:
        raise
    except Exception as error:
        raise ExtractionError(
            f"a worker failed: {type(error).__name__}: {error}. Committed shards are kept; run the same "
            "command to go on"
        ) from error


def account(config: ExtractConfig, path: str, expected: ClipTable, console: Console) -> Bank:
    """Show the account and hold it against what was expected.

    Raises:
        ExtractionError: nothing was written, or a clip has no outcome.
    """
    bank = Bank(path)
    counts = outcome_counts(bank, attempts=config.attempts)
    show_account(console, bank, counts, bank.listing.num_rows)
    lost = lacking(bank.table, expected)
    if lost.num_rows:
        raise ExtractionError(
            f"{lost.num_rows} clips have no outcome, e.g. {lost['key'][0]}; run the same command to go on"
        )
    if not counts.get(WRITTEN):
        raise ExtractionError(
            f"none of {bank.listing.num_rows} clips could be written; the reasons are listed above"
        )
    return bank


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; also what `ray submit` runs."""
    from pipeline.recipes import parse

    extract(parse(arguments))
    return 0


if __name__ == "__main__":
    from framebank import run

    sys.exit(run(main))
