"""Videos to bank: the extraction command, wired on Ray Data.

    shard tasks ─▶ decode (CPU tasks, one child process each) ─▶ encode and write (a pool of actors, on GPUs
    if any)

A task is one shard, so whatever happens to a worker, a shard is either committed or made again. Decoded
frames (uint8, a few MB a clip) travel through Ray's object store with its back-pressure; tokens never do:
the actor that computes them writes them. While an actor encodes one shard, the next is being decoded.

Ray Data would fuse the two stages into one if they asked for equal resources; on machines without a GPU
they ask for different shares of a core. There, encoders are single-threaded and there is one per core,
because two cores that work on different shards need no agreement.

Run it as `framebank extract RECIPE --source VIDEOS --bank BANK`, or on a cluster as
`ray submit ray_cluster.yaml pipeline/extract.py -- RECIPE --source VIDEOS --bank BANK`.
"""

import logging
import os
import pickle
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import torch
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayError
from rich.console import Console

from pipeline.config import ExtractConfig
from pipeline.decode_worker import decode_shard
from pipeline.encode import EncoderConfig, EncodeWorker, ShardReport, WorkerError
from pipeline.errors import ExtractionError
from pipeline.estimate import refuse_small_disk
from pipeline.outcomes import outcome_counts
from pipeline.plan import Plan, listing_lines, redo_keys
from pipeline.progress import ExtractionProgress, show_account
from pipeline.request import anchored, build_spec, frozen_weights, load_tower, origin
from pipeline.task import ShardTask
from pipeline.twins import find_twins
from storage import (
    WRITTEN,
    Bank,
    BankSpec,
    BankWriter,
    find_bank,
    open_place,
    part_layouts,
    suggested_name,
)

DECODE_CPUS = 0.25
ENCODE_CPUS = 0.5
"""Shares of a core on machines without a GPU; different, so that Ray Data keeps the stages apart."""


def extract(config: ExtractConfig, console: Console | None = None) -> Bank:
    """Complete the bank: every clip of the source ends as written, filtered, failed or quarantined.

    Raises:
        ExtractionError: nothing could be written, or clips are unaccounted for.
        InputError, BackboneError, BankError: what the rooms refuse.
    """
    console = console or Console(stderr=True)
    lines = listing_lines(config)
    tower = load_tower(config)
    spec = build_spec(config, tower)
    location = locate(config, spec, console)
    redo = redo_keys(config.redo)
    with BankWriter(
        location,
        spec,
        shard_rows=config.shard_rows,
        grow=config.grow,
        weights=frozen_weights(tower.tower, spec),
        made=origin(config),
    ) as writer:
        enrol(writer, lines, redo, console)
        for part in writer.parts:
            complete(config, writer, part, redo, console)
    return account(config, writer.path, {line["key"] for line in lines}, console)


def enrol(
    writer: BankWriter, lines: Sequence[dict[str, Any]], redo: frozenset[str], console: Console
) -> None:
    """Give new clips their rows; clips of equal content share them.

    Raises:
        ValueError: a clip to be extracted anew is not listed.
    """
    with console.status("looking for files with equal content"):
        twins = find_twins(lines, writer.listing)
    new = writer.enrol(lines, twins)
    unknown = redo - set(writer.listing["key"].to_pylist())
    if unknown:
        raise ValueError(f"{len(unknown)} clips to extract anew are not in the bank, e.g. {min(unknown)}")
    same = f", {len(twins)} with the content of another" if twins else ""
    console.print(f"{writer.path}: {len(lines)} clips listed, {new} new{same}", highlight=False)


def complete(
    config: ExtractConfig, writer: BankWriter, part: int, redo: frozenset[str], console: Console
) -> None:
    """Do all the work that one part of the bank still needs."""
    tasks = list(Plan(writer, attempts=config.attempts, redo=redo).tasks(part))
    clips = sum(len(task.lines) for task in tasks)
    what = "" if part == 0 else f" of what was added (part {part})"
    console.print(f"{clips} clips to do{what}", highlight=False)
    if tasks:
        refuse_small_disk(writer.place, list(part_layouts(writer.spec, part)), clips * writer.spec.views)
        run_tasks(config, writer, part, tasks, console)


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
    config: ExtractConfig, writer: BankWriter, part: int, tasks: Sequence[ShardTask], console: Console
) -> None:
    """Decode, encode and commit every task, with progress."""
    connect()
    dataset = wire(config, writer, part, tasks)
    with ExtractionProgress(console, sum(len(task.lines) for task in tasks)) as progress:
        for report in reports(dataset):
            progress.add(report)


def connect(cpus: int | None = None) -> None:
    """Join the cluster that RAY_ADDRESS or this machine offers, or start one here (of `cpus` cores, or
    all).
    """
    if not ray.is_initialized():
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        logging.getLogger("ray").setLevel(logging.ERROR)
        with warnings.catch_warnings(), native_silence():
            warnings.simplefilter("ignore")
            ray.init(num_cpus=cpus, logging_level=logging.ERROR, include_dashboard=False, log_to_driver=False)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


@contextmanager
def native_silence() -> Iterator[None]:
    """Keep what native code says on the error stream from the user: Ray announces its log level there."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def wire(
    config: ExtractConfig, writer: BankWriter, part: int, tasks: Sequence[ShardTask]
) -> ray.data.Dataset:
    """The dataset whose rows are shard reports; nothing runs yet."""
    gpus = int(ray.cluster_resources().get("GPU", 0))
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    workers = config.encoders or (int(gpus / config.gpus_per_encoder) if gpus else cores)
    encoder = EncoderConfig(
        bank=writer.path,
        part=part,
        run=writer.run,
        backbone=anchored(config.backbone),
        device="cuda" if gpus else "cpu",
        threads=0 if gpus else 1,
        batch_rows=config.batch_rows,
    )
    encode_cpus, encode_gpus = (1.0, config.gpus_per_encoder) if gpus else (ENCODE_CPUS, 0.0)
    work = [{"task": pickle.dumps(task)} for task in tasks]
    return (
        ray.data.from_items(work, override_num_blocks=len(work))
        .map(
            decode_shard,  # pyright: ignore[reportArgumentType] - Ray fills in fn_args
            fn_args=(config.views, config.limits),
            num_cpus=1 if gpus else DECODE_CPUS,
            concurrency=min(cores, len(tasks)),
        )
        .map(
            EncodeWorker,  # pyright: ignore[reportArgumentType] - a callable class
            fn_constructor_args=(encoder,),
            compute=ActorPoolStrategy(size=min(workers, len(tasks)), max_tasks_in_flight_per_actor=2),
            num_cpus=encode_cpus,
            num_gpus=encode_gpus or None,
        )
    )


def reports(dataset: ray.data.Dataset) -> Iterator[ShardReport]:
    """Run the dataset.

    Raises:
        ExtractionError: a worker failed or died.
    """
    try:
        for row in dataset.iter_rows():
            report = pickle.loads(row["report"])
            if isinstance(report, WorkerError):
                logging.getLogger(__name__).debug("%s", report.trace)
                raise worker_failed(report.message)
            yield report
    except RayError as error:
        raise worker_failed(str(error).strip().splitlines()[-1]) from error


def worker_failed(what: str) -> ExtractionError:
    """The error that ends a run whose worker could not go on."""
    return ExtractionError(
        f"a worker failed: {what}. Committed shards are kept; run the same command to go on."
    )


def account(config: ExtractConfig, path: str, expected: set[str], console: Console) -> Bank:
    """Show the account and hold it against what was expected.

    Raises:
        ExtractionError: nothing was written, or a clip has no outcome.
    """
    bank = Bank(path)
    counts = outcome_counts(bank, attempts=config.attempts)
    show_account(console, bank, counts, bank.listing.num_rows)
    lost = expected - set(bank.table["key"].to_pylist())
    if lost:
        raise ExtractionError(
            f"{len(lost)} clips have no outcome, e.g. {min(lost)}; run the same command to go on"
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
    torch.set_grad_enabled(False)
    from framebank import run

    sys.exit(run(main))
