"""What `framebank doctor` looks at where the bank lies or will lie: what is allowed there, rates and room,
the place's clock. All is done in a folder, or under a prefix, of its own, which is gone afterwards.
"""

import time

from pipeline.checkup import Finding, failed, judged, passed, run_check
from pipeline.disk_rate import PROBE_BYTES, QUICK_BYTES, measure_disk, probe_place
from storage import BankError, Place, open_place

SLOW = 100 * 10**6
"""Bytes a second below which a bank is no pleasure."""
CLIP = 14.0e6
"""Bytes of a clip under ViT-B/16 with 8 frames, 4 blocks and maps."""
ROOM_WARN, ROOM_FAIL = 20 * 10**9, 10**9
"""Bytes free."""
SKEW_WARN, SKEW_FAIL = 10.0, 900.0
"""Seconds; stores refuse requests that are signed with a clock 15 minutes off."""
ACCESS = "Look at the folder's owner and mode (ls -ld), or name another place with --bank"
CREDENTIALS = (
    "Credentials come from the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_REGION, "
    "AWS_ENDPOINT_URL) or AWS_PROFILE, and must be allowed to list, read, write and delete below the URL"
)


def place_findings(location: str, *, quick: bool) -> list[Finding]:
    """Every check of a bank's place; only the first where nothing can be written there."""
    access = run_check("access", lambda: allowed(location))
    if any(finding.status == "FAIL" for finding in access):
        return access
    return [
        *access,
        *run_check("room", lambda: room(location)),
        *run_check("disk rate", lambda: disk(location, quick=quick)),
        *run_check("clocks", lambda: clock(location)),
    ]


def is_bucket(location: str) -> bool:
    """Whether a bank's location is a URL of an object store."""
    return "://" in location and not location.startswith("file://")


def allowed(location: str) -> list[Finding]:
    """Whether a bank can be kept there: write, read back, exchange under a condition, delete."""
    try:
        with probe_place(location) as place:
            wrong = misdeeds(place)
    except (OSError, BankError) as error:
        said = " ".join(str(error).split())
        return [failed("access", said, CREDENTIALS if is_bucket(location) else ACCESS)]
    if wrong:
        mend = "Keep the bank where conditional exchanges hold: another store or version, or a local folder"
        return [failed("access", f"{location}: {wrong}", mend)]
    return [passed("access", f"{location} can be written, read, exchanged under a condition and deleted")]


def misdeeds(place: Place) -> str:
    """The first thing that a place does wrong; empty where there is none."""
    place.write("probe", b"one")
    if place.read("probe") != b"one":
        return "what was written is not what is read back"
    if not place.swap("probe", b"one", b"two") or place.read("probe") != b"two":
        return "a conditional exchange was refused although its condition held"
    if place.swap("probe", b"one", b"three") or place.read("probe") != b"two":
        return "a conditional exchange was made although its condition did not hold"
    place.remove(["probe"])
    if place.entries():
        return "a deleted file is still there"
    return ""


def disk(location: str, *, quick: bool) -> list[Finding]:
    """How fast the bank's place takes and gives bytes."""
    with probe_place(location) as place:
        rate = measure_disk(place, QUICK_BYTES if quick else PROBE_BYTES)
    cold = "" if rate.cold else " (from a cache, as it seems)"
    fact = (
        f"write {rate.write / 1e6:.0f} MB/s synced, read {rate.read / 1e6:.0f} MB/s{cold}: "
        f"{rate.read / CLIP:.0f} clips/s of ViT-B/16 with 8 frames (14 MB)"
    )
    mend = (
        "Take a local SSD for the bank, or smaller rows (--dtype int8); `framebank estimate` says if it pays"
    )
    return [judged("disk rate", fact, mend, fail=False, warn=min(rate.write, rate.read) < SLOW)]


def room(location: str) -> list[Finding]:
    """Free space where the bank lies; a bucket has no bound."""
    place = open_place(location)
    free = place.free_bytes()
    if free is None:
        return [passed("room", f"{place} has no bound")]
    fact = f"{free / 1e9:.1f} GB free at {place}, {free / CLIP:,.0f} clips of ViT-B/16 with 8 frames"
    mend = "Make room or name another disk with --bank; `framebank estimate` says how much is needed"
    return [judged("room", fact, mend, fail=free < ROOM_FAIL, warn=free < ROOM_WARN)]


def clock(location: str) -> list[Finding]:
    """This machine's clock against the one that stamps files at the bank's place."""
    with probe_place(location) as place:
        before = time.time()
        place.write("clock", b"")
        after = time.time()
        stamped = place.entries()[0].modified
    skew = max(before - 1 - stamped, stamped - after - 1, 0.0)  # a bucket's times are whole seconds
    fact = f"{skew:.0f} s between this machine's clock and that of the bank's place" if skew else "agree"
    mend = "Set the clock by NTP: timedatectl set-ntp true"
    return [judged("clocks", fact, mend, fail=skew >= SKEW_FAIL, warn=skew >= SKEW_WARN)]
