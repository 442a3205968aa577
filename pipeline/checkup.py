"""What a check of `framebank doctor` found, and running checks so that each ends in a finding."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Status = Literal["PASS", "WARN", "FAIL"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line of the doctor."""

    check: str
    """What was looked at."""
    status: Status
    """FAIL: something will not work; WARN: it works, worse than it could."""
    fact: str
    """What was measured."""
    mend: str = ""
    """What to do: a command or a sentence; never empty but for PASS."""

    def __post_init__(self) -> None:
        assert bool(self.mend) == (self.status != "PASS"), self


Check = Callable[[], list[Finding]]
"""Looks at one thing; several findings where there are several facts to judge."""


def passed(check: str, fact: str) -> Finding:
    """All is well."""
    return Finding(check=check, status="PASS", fact=fact)


def warned(check: str, fact: str, mend: str) -> Finding:
    """It works, worse than it could."""
    return Finding(check=check, status="WARN", fact=fact, mend=mend)


def failed(check: str, fact: str, mend: str) -> Finding:
    """It will not work."""
    return Finding(check=check, status="FAIL", fact=fact, mend=mend)


def judged(check: str, fact: str, mend: str, *, fail: bool, warn: bool) -> Finding:
    """The finding that a fact deserves."""
    return failed(check, fact, mend) if fail else warned(check, fact, mend) if warn else passed(check, fact)


def run_check(name: str, check: Check) -> list[Finding]:
    """A check's findings; a check that fails itself is a finding too, whatever it stumbled on."""
    try:
        return check()
    except Exception as error:  # the point of a doctor: no condition of the machine may end it
        said = " ".join(str(error).split()) or "no message"
        mend = "Mend what the message names; if that is nothing of yours, install anew: pip install -e ."
        return [failed(name, f"the check itself failed: {type(error).__name__}: {said}", mend)]
