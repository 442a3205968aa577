"""A ledger keeps what finished stages found, and nothing of what did not finish."""

import pytest

from ablations.ledger import Ledger

SETTINGS = {"seeds": 3, "views": (1, 2)}


def test_a_finished_stage_is_not_done_again(tmp_path):
    path, calls = tmp_path / "new" / "found.json", []

    def work():
        calls.append(1)
        return {"top1": (0.5, 0.25), "seconds": 1.5}

    first = Ledger(path, SETTINGS).once("train", work)
    again = Ledger(path, SETTINGS)
    assert again.once("train", work) == first == {"top1": [0.5, 0.25], "seconds": 1.5}
    assert again.found == {"train": first}
    assert len(calls) == 1


def test_a_stage_that_failed_is_done_again(tmp_path):
    def fail():
        raise OSError("the disk is full")

    ledger = Ledger(tmp_path / "found.json", SETTINGS)
    with pytest.raises(OSError, match="full"):
        ledger.once("train", fail)
    assert Ledger(tmp_path / "found.json", SETTINGS).once("train", lambda: {"top1": 1}) == {"top1": 1}


def test_results_of_other_settings_are_refused(tmp_path):
    Ledger(tmp_path / "found.json", SETTINGS).once("train", dict)
    with pytest.raises(ValueError, match=r"other settings.*\n  seeds: found 3, asked for 1"):
        Ledger(tmp_path / "found.json", SETTINGS | {"seeds": 1})
