"""Checking a bank from end to end, and clearing the way for what must be made again.

`take_survey` looks at the small files, `check_shards` reads everything that is committed. What fails is a
`Finding`, and nothing is changed. `repair` removes the commit records of damaged shards, under the writer
lease and only of those that fail a second look; the next extraction makes these shards anew. A part that was
added later keeps its shard when the first part's is removed: it counts again once the first part is back and
has the same content.
"""

import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from storage.checks.file_check import Advance
from storage.checks.finding import Finding
from storage.checks.shard_check import check_shard
from storage.checks.survey import Key, Survey, take_survey
from storage.commit import record_name
from storage.lease import WriterLease
from storage.places.place import Place

THREADS = 4
"""Shards that are read at a time."""


def check_shards(
    survey: Survey, advance: Advance = lambda count: None, *, threads: int = THREADS
) -> Iterator[Finding]:
    """Read every committed shard that the survey found no fault with; what is wrong, in the order of shards.

    Args:
        survey: of the bank.
        advance: told of bytes that have been checked, from several threads; their sum is `committed_bytes`.
        threads: shards that are read at a time.
    """
    if survey.manifest is None:
        return
    with ThreadPoolExecutor(threads) as pool:
        for findings in pool.map(lambda key: check_shard(survey, key, advance), survey.records):
            yield from findings


def committed_bytes(survey: Survey) -> int:
    """How much `check_shards` will read."""
    return sum(record.bytes for record in survey.records.values())


def repair(place: Place, shards: Iterable[Key]) -> list[Key]:
    """Remove the commit records of shards that are still damaged; which these are.

    Raises:
        BankBusy: a run is writing the bank.
    """
    wanted = sorted(set(shards))
    if not wanted:
        return []
    with WriterLease(place, f"repair-{uuid.uuid4().hex[:12]}"):
        survey = take_survey(place)
        bad = {found.shard for found in survey.findings if found.shard}
        again = [key for key in wanted if key in survey.records]
        bad |= {key for key in again if check_shard(survey, key, lambda count: None)}
        removed = [key for key in wanted if key in bad]
        place.remove([record_name(shard, part) for part, shard in removed])
    return removed
