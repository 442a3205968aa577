"""What tests of the doctor's checks ask of a finding."""

from pipeline.checkup import Finding


def only(findings: list[Finding]) -> Finding:
    """The one finding."""
    assert len(findings) == 1
    return findings[0]


def told(finding: Finding, status: str, *words: str) -> None:
    """The finding has this status, and these words in its fact or its remedy."""
    assert finding.status == status, finding
    for word in words:
        assert word in f"{finding.fact}\n{finding.mend}", finding
