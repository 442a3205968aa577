"""The shelf as a user sees it: a narrow table, the damaged apart, or JSON."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

import framebank
from storage import BankWriter, Standing, standings
from storage.banks import ago, shelf_table
from tests.small_banks import small_spec, write_bank


@pytest.fixture
def shelf(tmp_path):
    write_bank(tmp_path / "shelf/k400-val", 70, small_spec(views=2), failed=(2, 4))
    write_bank(tmp_path / "shelf/a-name-that-is-rather-long/and-a-folder", 1)
    return tmp_path / "shelf"


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits(shelf, width):
    console = Console(file=StringIO(), width=width)
    found = [one for one in standings(shelf) if isinstance(one, Standing)]
    console.print(shelf_table(found, datetime.now(UTC)))
    said = console.file.getvalue()
    assert max(map(len, said.splitlines())) <= width
    for text in ("k400-val", "136", "4 failed", "written", "read never", found[0].manifest.made["user"]):
        assert text in said, text
    assert "and-a-folder" in said.replace("\n", "") or width == 80


def test_the_command_as_json(shelf, capsys):
    with BankWriter(shelf / "k400-val", small_spec(views=2)) as writer:
        assert framebank.dispatch(["banks", str(shelf), "--json"]) == 0
    long, short = json.loads(capsys.readouterr().out)
    assert (long["name"], short["name"]) == ("a-name-that-is-rather-long/and-a-folder", "k400-val")
    assert (short["rows"], short["outcomes"]) == (136, {"failed": 4, "written": 136})
    assert (short["writing"], long["writing"]) == (writer.run, None)
    assert datetime.fromisoformat(short["written"]) > datetime.now(UTC) - timedelta(minutes=10)


def test_a_damaged_bank_is_a_line_and_an_exit_code(shelf, capsys):
    (shelf / "k400-val/shards/00001.json").write_text("{}")
    assert framebank.dispatch(["banks", str(shelf)]) == framebank.FAILED
    said = capsys.readouterr().out
    assert "a-name-that-is" in said
    assert f"{shelf}/k400-val/shards/00001.json is not a commit record" in said
    assert framebank.dispatch(["banks", str(shelf), "--json"]) == framebank.FAILED
    assert "not a commit record" in json.loads(capsys.readouterr().out)[1]["error"]


def test_no_bank_is_a_wrong_request(tmp_path, capsys):
    assert framebank.dispatch(["banks", str(tmp_path)]) == framebank.MISUSED
    assert f"expected banks at or below {tmp_path}, found none" in capsys.readouterr().err


def test_one_bank_is_a_shelf_as_well(shelf, capsys):
    assert framebank.dispatch(["banks", str(shelf / "k400-val")]) == 0
    assert "k400-val" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (259_200, "3 d"), (7e7, "2 y"), (-5, "0 s")],
)
def test_ages(seconds, text):
    now = datetime.now(UTC)
    assert ago(now - timedelta(seconds=seconds), now) == f"{text} ago"
    assert ago(None, now) == "never"
