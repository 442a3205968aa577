"""`framebank estimate RECIPE --source VIDEOS --bank BANK`: what an extraction will cost, before it runs.

Some of the user's own videos are decoded and encoded, some hundred megabytes are written to and read from
where the bank will lie, and `pipeline.costs` turns that into bytes, hours, the rate that training needs, and
the number of epochs after which the bank beats running the frozen tower again in every epoch, for every
attention mode and type. Nothing is kept. It takes the settings of `framebank extract`; the figures are for
the whole source, whatever of it a bank holds already, and for this one machine, as busy as it is.

Exit codes: 0 done; 1 no sampled clip gives frames, or nothing can be written there; 2 the request was wrong.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.config import ExtractConfig
from pipeline.costs import Estimate, Measured, Way, Workers, account, stages
from pipeline.disk_rate import PROBE_BYTES, DiskRate, measure_disk, probe_place
from pipeline.errors import ExtractionError
from pipeline.estimate_page import page
from pipeline.listing import list_source
from pipeline.recipes import recipes
from pipeline.request import LoadedTower, build_spec, load_tower
from pipeline.room import bank_bytes
from pipeline.sample import device, draw, measure_sample, workers
from storage import ATTENTION_MODES, DTYPES, BankSpec, open_place, part_layouts

EVL_CLIPS_PER_SECOND = 59.0


@dataclass(frozen=True, kw_only=True, slots=True)
class EstimateCommand:
    """An extraction, and how to estimate it."""

    sample: int = 16
    """Clips that are decoded and encoded to see what they cost."""
    seed: int = 0
    """Which clips these are."""
    train_clips_per_second: float = EVL_CLIPS_PER_SECOND
    """Speed at which training takes clips, for the rate that must feed it. 59 is EVL's own on a V100
    (ViT-B/16, 8 frames: 50,000 steps of 256 clips in 60 GPU-hours), its tower included; without the tower a
    decoder is faster.
    """
    json: bool = False
    """Print everything as JSON, times in seconds and sizes in bytes."""
    config: Annotated[ExtractConfig, tyro.conf.arg(name="")]
    """The extraction."""

    def __post_init__(self) -> None:
        if self.sample < 1:
            raise ValueError(f"--sample is at least 1, not {self.sample}")
        if not self.train_clips_per_second > 0:
            raise ValueError(f"--train-clips-per-second is above 0, not {self.train_clips_per_second:g}")


def estimate(command: EstimateCommand, console: Console) -> Estimate:
    """Measure, with progress, and calculate.

    Raises:
        ExtractionError: no sampled clip gives frames, or the bank's place takes nothing.
        InputError, BackboneError, BankError: what the rooms refuse.
    """
    config, location = command.config, where(command.config)
    with console.status("listing the source"):
        clips = list_source(config)
    with progress(console) as bar:
        rate = measured_rate(location, bar, announced("trying the bank's disk", console))
        task = bar.add_task("loading the tower", total=None)
        loaded = load_tower(config)
        drawn = draw(clips, command.sample, command.seed)
        doing = f"decoding and encoding {len(drawn)} of {clips.num_rows:,} clips"
        bar.update(task, total=len(drawn), description=announced(doing, console))
        sample = measure_sample(config, loaded, drawn, lambda key: bar.advance(task))
    measured = Measured(
        listed=clips.num_rows,
        sampled=sample.clips,
        written=sample.written,
        decode=sample.decode,
        tower=sample.tower,
        keep=sample.keep,
        write_rate=rate.write,
        read_rate=rate.read,
        cold=rate.cold,
    )
    crew = workers(config)
    lengths = Counter(clips["frames"].to_pylist())
    ways = list(all_ways(command, loaded, measured, crew, lengths))
    asked = next(way for way in ways if (way.attention, way.dtype) == (config.attention, config.dtype))
    assert asked.account is not None  # the sample would have been refused
    place = open_place(location)
    return Estimate(
        source=config.source,
        place=str(place),
        free=place.free_bytes(),
        tower=f"{loaded.clip.name} {config.backbone.precision}",
        device=device(),
        views=config.views.count,
        measured=measured,
        reasons=sample.reasons,
        workers=crew,
        stages=stages(measured, crew, config.views.count, asked.account.bytes_per_clip),
        asked=asked,
        ways=ways,
        clips_per_second=command.train_clips_per_second,
    )


def where(config: ExtractConfig) -> str:
    """Where the bank will lie.

    Raises:
        ValueError: neither or both of bank and shelf are named.
    """
    if bool(config.bank) == bool(config.shelf):
        raise ValueError("name either the bank (--bank) or the shelf that it stands on (--shelf)")
    return config.bank or config.shelf


def measured_rate(location: str, bar: Progress, doing: str) -> DiskRate:
    """The rate of the bank's disk, behind the bar.

    Raises:
        ExtractionError: nothing can be written there.
    """
    task = bar.add_task(doing, total=2 * PROBE_BYTES)
    try:
        with probe_place(location) as place:
            return measure_disk(place, PROBE_BYTES, lambda count: bar.advance(task, count))
    except OSError as error:
        raise ExtractionError(
            f"expected to write a trial file where the bank will lie, found: {error}. Name another place, or "
            f"look closer with: framebank doctor --bank {location}"
        ) from error


def all_ways(
    command: EstimateCommand,
    loaded: LoadedTower,
    measured: Measured,
    crew: Workers,
    lengths: Mapping[int, int],
) -> Iterator[Way]:
    """What each attention mode and type comes to; the times of the tower are those of the one asked for.

    Args:
        lengths: T of rows to the number of clips.
    """
    views = command.config.views.count
    for attention in ATTENTION_MODES:
        for dtype in DTYPES:
            try:
                spec = build_spec(replace(command.config, attention=attention, dtype=dtype), loaded)
            except ValueError as error:
                yield Way(attention=attention, dtype=dtype, refused=str(error))
                continue
            found = account(
                measured,
                crew,
                views=views,
                bytes_per_clip=mean_bytes(spec, lengths),
                clips_per_second=command.train_clips_per_second,
            )
            yield Way(attention=attention, dtype=dtype, account=found)


def mean_bytes(spec: BankSpec, lengths: Mapping[int, int]) -> float:
    """Bytes of a clip's rows, the mean over images and videos."""
    sizes = {frames: bank_bytes(part_layouts(spec, 0, frames), spec.views) for frames in lengths}
    return sum(sizes[frames] * count for frames, count in lengths.items()) / sum(lengths.values())


def progress(console: Console) -> Progress:
    """A bar for each thing that is measured, gone when all is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def announced(doing: str, console: Console) -> str:
    """What is being done, for the bar; also as a line where there is no terminal and so no bar."""
    if not console.is_terminal:
        console.print(doing, highlight=False)
    return doing


def parse(arguments: Sequence[str] | None) -> EstimateCommand:
    """Recipe name and overrides from the command line."""
    named = {name: (what, EstimateCommand(config=config)) for name, (what, config) in recipes().items()}
    return tyro.extras.overridable_config_cli(
        named,
        prog="framebank estimate",
        description="What an extraction will cost, and after how many epochs its bank pays.",
        args=arguments,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """`framebank estimate RECIPE --source VIDEOS --bank BANK`."""
    command = parse(argv)
    found = estimate(command, Console(stderr=True))
    console = Console()
    if command.json:
        console.print_json(json.dumps(asdict(found)))
        return 0
    for piece in page(found):
        console.print(piece)
    return 0
