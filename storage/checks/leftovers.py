"""What dead runs left in a bank: files of the bank's own naming that nothing vouches for.

A run that dies leaves temporary files, files of shards it did not come to commit, a listing without its
record, arrays and weights of a growth that did not come to the manifest. None of them counts, and the next
run writes over most of them. Which files are vouched for is known only of a bank whose small
files are sound: in a damaged one a lost record would make good files look like leftovers. Files of any other
name are not the bank's, and nobody's to remove.
"""

import re
from dataclasses import dataclass

from storage.checks.survey import Survey, take_survey
from storage.commit import files_of, record_name, shard_of
from storage.errors import CorruptShard
from storage.lease import LEASE, PROGRESS
from storage.listing import count_listings, listing_name, record_of
from storage.places.names import Entry
from storage.places.place import Place
from storage.skeleton import ROOT, array_metadata

ARRAY = r"features/(frames\d+/)?[a-z0-9_]+(/[a-z0-9_]+)?"
OWN_NAMES = {
    "temporary file": r"(.*/)?\.[^/]+\.[0-9a-f]{12}\.tmp",
    "file of a shard that was not committed": rf"{ARRAY}/c/\d+(/0)+",
    "metadata of an array that was not added": rf"{ARRAY}/zarr\.json",
    "weight that was not added": r"weights/(zarr\.json|block\d+/(zarr\.json|[a-z_]+/(zarr\.json|c(/0)+)))",
    "listing that was not completed": r"clips/\d{5,}\.parquet",
}
"""What a leftover is, to the names that it may have; facts of shards are told by `shard_of`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leftovers:
    """The files of a bank that nothing vouches for."""

    orphans: dict[str, list[Entry]]
    """What they are, to files that may be removed."""
    unknown: list[Entry]
    """Files that are not named as a bank names its own."""

    @property
    def bytes(self) -> int:
        """Size of what may be removed."""
        return sum(entry.bytes for entries in self.orphans.values() for entry in entries)

    @property
    def count(self) -> int:
        """How many files may be removed."""
        return sum(map(len, self.orphans.values()))


def find_leftovers(place: Place) -> Leftovers:
    """What nothing vouches for; only while no run writes, since a run's files are vouched for at its end.

    Raises:
        NotABank: there is no bank.
        CorruptShard: a small file is damaged, so nobody knows what is vouched for.
    """
    entries = place.entries()
    survey = take_survey(place)
    bad = [finding for finding in survey.findings if finding.remedy in ("repair", "copy")]
    if bad:
        raise CorruptShard(
            f"{place} is damaged, so what is left over cannot be told: {bad[0].where}: {bad[0].what}; mend "
            f"it first, see `framebank verify {place}`"
        )
    vouched = vouched_names(survey)
    orphans: dict[str, list[Entry]] = {}
    unknown: list[Entry] = []
    for entry in (entry for entry in entries if entry.name not in vouched):
        kind = kind_of(entry.name)
        (orphans.setdefault(kind, []) if kind else unknown).append(entry)
    return Leftovers(orphans=orphans, unknown=unknown)


def vouched_names(survey: Survey) -> set[str]:
    """Every file that belongs to a sound bank."""
    assert survey.manifest is not None
    manifest, numbers = survey.manifest, range(count_listings(survey.place))
    return {
        ROOT,
        LEASE,
        PROGRESS,
        *array_metadata(manifest.spec, 0, manifest.rows_per_shard, survey.frames.values()),
        *manifest.weights,
        *(record_name(shard, part) for part, shard in survey.records),
        *files_of(survey.records),
        *(name for number in numbers for name in (listing_name(number), record_of(number))),
    }


def kind_of(name: str) -> str:
    """What a file is that nothing vouches for; nothing where its name is not a bank's own."""
    if shard_of(name) and name.endswith(".parquet"):
        return "file of a shard that was not committed"
    return next((kind for kind, pattern in OWN_NAMES.items() if re.fullmatch(pattern, name)), "")
