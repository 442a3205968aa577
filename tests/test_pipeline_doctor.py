"""The doctor: it comes to its end whatever a check stumbles on, and its exit code says whether one failed."""

import json
import sys

import pytest

import framebank
from pipeline import checkup, doctor
from pipeline.checkup import failed, passed, run_check, warned
from tests.told_findings import only, told


def test_a_check_that_fails_itself_is_a_finding():
    found = only(run_check("thing", lambda: [checkup.passed("thing", str(1 // 0))]))
    told(found, "FAIL", "the check itself failed: ZeroDivisionError")
    assert found.check == "thing"


def test_a_broken_package_is_a_finding(monkeypatch):
    monkeypatch.setitem(sys.modules, "pipeline.place_checks", None)
    found = only(run_check("place", lambda: doctor.bank_place(doctor.DoctorCommand())))
    told(found, "FAIL", "ModuleNotFoundError")


GOOD, POOR, BAD = passed("a", "fine"), warned("b", "slow", "buy"), failed("c", "gone", "fetch")


@pytest.mark.parametrize(
    ("findings", "code", "verdict"),
    [
        ([GOOD, POOR], 0, "1 passed, 1 warned, 0 failed: framebank will work here"),
        ([GOOD, POOR, BAD], 1, "1 passed, 1 warned, 1 failed: mend what FAILs first"),
    ],
)
def test_the_command(monkeypatch, capsys, findings, code, verdict):
    monkeypatch.setattr(doctor, "checks", lambda command: [("all", lambda: findings)])
    assert framebank.dispatch(["doctor"]) == code
    said = capsys.readouterr().out
    assert verdict in said
    assert said.count("→") == len(findings) - 1
    assert framebank.dispatch(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["findings"][1]["mend"] == "buy"


def test_every_check_of_the_command_ends_in_findings(tmp_path):
    command = doctor.DoctorCommand(bank=str(tmp_path), quick=True)
    names = [name for name, _ in doctor.checks(command)]
    assert names == [
        "python",
        "torch",
        "codecs",
        "memory",
        "shared memory",
        "open files",
        "ray",
        "the bank's place",
    ]


def test_an_unknown_kind_of_place_is_a_wrong_request(capsys):
    assert framebank.dispatch(["doctor", "--bank", "ftp://there/bank"]) == framebank.MISUSED
    assert "expected a folder or a URL" in capsys.readouterr().err
