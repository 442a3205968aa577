"""`framebank verify BANK`: is everything there, is it what was written, is it what the videos show?

It reads the whole bank: manifest, metadata, frozen weights, listing, commit records, facts, and every shard
file with its digest, index, checksums and values. Each finding is a line: a note (what is not extracted yet)
or damage, with what mends it. With `--sample N` N rows are decoded and encoded again and compared; that needs
the videos and the backbone, and is the only part that takes time in the tower.

Nothing is changed, unless `--repair` is given: then the commit records of damaged shards are removed, under
the writer lease, and `framebank extract` makes these shards anew. It may run while a run is writing (repair
may not: `BankBusy`).

Exit codes: 0 the bank is sound, or with --repair will be after the next `framebank extract`; 1 there is
damage (with --repair: damage beyond it), or the work failed; 2 the request was wrong, such as no bank there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from storage import Bank, CorruptShard, open_place
from storage.checks.finding import Finding, beyond_repair
from storage.checks.survey import Survey, take_survey
from storage.checks.verify import check_shards, committed_bytes, repair

if TYPE_CHECKING:
    from pipeline.recheck import Recheck, RowCheck


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenBackbone:
    """Where the backbone is, if not where the bank says it was when it was made."""

    name: str = ""
    """As for extract; empty takes the bank's own word."""
    weights: str = ""
    """As for extract; empty takes the bank's own word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyCommand:
    """Check everything in a bank; exit 0 if it is sound, 1 if there is damage."""

    bank: Annotated[str, tyro.conf.Positional]
    """Folder or URL of the bank."""
    repair: bool = False
    """Remove the commit records of damaged shards, so that the next extract makes them anew."""
    sample: int = 0
    """Decode and encode so many rows again, and compare."""
    seed: int = 0
    """Which rows these are."""
    backbone: GivenBackbone = field(default_factory=GivenBackbone)
    """What encodes them."""
    device: str = ""
    """Where they are encoded: cpu or cuda; empty takes cuda where there is one."""


def verify(command: VerifyCommand, console: Console) -> int:
    """Check a bank and show what is found; the exit code.

    Raises:
        NotABank: there is no bank.
        BankBusy: a repair while a run is writing.
        SpecMismatch: the weights for a sample are not the bank's.
    """
    place = open_place(command.bank)
    survey = take_survey(place)
    recheck = recheck_of(command) if command.sample and survey.manifest is not None else None
    findings = [show(console, finding) for finding in (*survey.findings, *not_extracted(survey))]
    findings += checked_shards(survey, console)
    if recheck is not None:
        findings += [show(console, finding) for finding in encoded_again(recheck, command, console)]
    bad = [finding.shard for finding in findings if finding.shard]
    removed = repair(place, bad) if command.repair else []
    for line in conclusion(survey, findings, removed=len(removed)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    left = beyond_repair(findings) if command.repair else damage(findings)
    return 1 if left else 0


def not_extracted(survey: Survey) -> Iterator[Finding]:
    """What is listed and in no shard so far, a note for each part."""
    for part, count in survey.missing.items():
        if count:
            what = f"{count} of {len(survey.listed)} shards are not extracted yet"
            yield Finding(where=f"part {part}", what=what)


def checked_shards(survey: Survey, console: Console) -> list[Finding]:
    """Read every shard behind a bar; the findings, shown as they come."""
    with progress(console) as bar:
        task = bar.add_task("verify", total=committed_bytes(survey))
        found = check_shards(survey, lambda count: bar.advance(task, count))
        return [show(bar.console, finding) for finding in found]


def recheck_of(command: VerifyCommand) -> "Recheck":
    """What encodes rows again; made first, so that a wrong request is refused before hours of reading.

    Raises:
        ValueError: nothing says which backbone made the bank.
        SpecMismatch: the weights are not the bank's.
    """
    from pipeline.recheck import Recheck, backbone_of  # torch is loaded only for this

    bank = Bank(command.bank)
    return Recheck(bank, backbone_of(bank, command.backbone.name, command.backbone.weights), command.device)


def encoded_again(recheck: "Recheck", command: VerifyCommand, console: Console) -> Iterator[Finding]:
    """Encode some rows again and compare; the findings, and a table of the worst differences."""
    for other in recheck.other_decoders():
        yield Finding(where="sample", what=f"{other}; another decoder may give other pixels")
    checks = []
    try:
        for check in recheck.rows(recheck.draw(command.sample, command.seed)):
            checks.append(check)
            where = f"row {check.row} ({check.key})"
            if check.unchecked:
                yield Finding(where=where, what=f"cannot be encoded again: {check.unchecked}")
            if check.wrong:
                yield Finding(where=where, what=check.wrong, remedy="redo")
    except CorruptShard as error:
        yield Finding(where="sample", what=f"rows cannot be encoded again before this is mended: {error}")
    console.print(worst_differences(checks, recheck.allowed))


def worst_differences(checks: Sequence["RowCheck"], allowed: Callable[[str], float]) -> Table:
    """Each array's worst difference among the rows that were encoded again."""
    compared = [check.differences for check in checks if check.differences]
    title = f"{len(compared)} of {len(checks)} rows encoded again and compared"
    table = Table(title=title, title_justify="left")
    for column in ("array", "worst relative difference", "allowed"):
        table.add_column(column, justify="left" if column == "array" else "right")
    for name in sorted({name for found in compared for name in found}):
        worst = max(found[name] for found in compared if name in found)
        table.add_row(name, f"{worst:.2g}", f"{allowed(name):.2g}")
    return table


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """A bar with bytes and bytes a second, on a terminal."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        yield bar


def show(console: Console, finding: Finding) -> Finding:
    """Print a finding as one line, and hand it on."""
    kind = Text("damage  ", "red") if finding.damage else Text("note    ", "dim")
    console.print(Text.assemble(kind, str(finding)), soft_wrap=True)
    return finding


def damage(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that are damage."""
    return [finding for finding in findings if finding.damage]


def conclusion(survey: Survey, findings: Sequence[Finding], *, removed: int) -> Iterator[str]:
    """What it comes to, and what to do."""
    bad, lost = damage(findings), beyond_repair(findings)
    files = sum(len(record.files) for record in survey.records.values())
    read = f"{len(survey.records)} shards, {files} files, {decimal(committed_bytes(survey))} checked"
    yield f"{survey.place}: {f'{len(bad)} × damage' if bad else 'sound'} ({read})"
    if removed:
        yield f"removed the commit records of {removed} damaged shards"
    if len(lost) < len(bad):
        marked = removed or not any(finding.shard for finding in bad)
        first = "" if marked else "verify with --repair, then "
        yield f"to mend it: {first}run the `framebank extract` again that made the bank"
    if lost:
        yield f"{len(lost)} of these no extraction mends, see above"


def main(argv: Sequence[str]) -> int:
    """`framebank verify BANK [--repair] [--sample N]`."""
    command = tyro.cli(VerifyCommand, prog="framebank verify", args=argv)
    if command.sample < 0:
        raise ValueError(f"--sample is at least 0, not {command.sample}")
    return verify(command, Console())
