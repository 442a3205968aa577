"""How far a run is, told from outside: while it runs, when it is done, and when it was killed."""

import json
from datetime import UTC, datetime

import pytest

import framebank
from pipeline.progress import ExtractionProgress
from pipeline.task import ShardReport
from storage import PROGRESS, BankWriter, open_place
from tests.small_banks import clip_line, small_spec, write_bank, write_shard
from tests.small_extractions import quiet


def status(capsys, *arguments) -> tuple[int, str]:
    code = framebank.dispatch(["status", *map(str, arguments)])
    return code, capsys.readouterr().out


def report(clips: int) -> ShardReport:
    return ShardReport(
        shard=0,
        outcomes={"written": clips},
        clips=clips,
        frames=8 * clips,
        bytes=10**6,
        encode_seconds=0.5,
        write_seconds=0.1,
    )


@pytest.fixture
def path(tmp_path):
    write_bank(tmp_path / "bank", 3, failed=(1,))
    return tmp_path / "bank"


def test_of_a_bank_without_a_run(path, capsys):
    code, said = status(capsys, path)
    assert code == 0
    assert "no run is writing" in said
    found = json.loads(status(capsys, path, "--json")[1])
    assert found["clips"] == {"written": 2, "failed": 1}
    assert (found["expected"], found["running"], found["last_run"]) == (3, None, None)


def test_of_a_run_under_way_and_then_done(path, capsys):
    with BankWriter(path, small_spec()) as writer:
        writer.enrol([clip_line(number) for number in range(70)])
        with ExtractionProgress(quiet(), writer, 67) as progress:
            progress.add(report(20), 2)
            progress.add(report(20), 2)
            progress.keep("running")
            said = status(capsys, path)[1]
            assert f"run {writer.run} on " in said
            assert "40 of 67 clips" in said
            assert "2 encoders" in said
            assert " left " in said
            found = json.loads(status(capsys, path, "--json")[1])
            assert found["running"] == writer.run
            assert found["last_run"]["outcomes"] == {"written": 40}
            assert (found["last_run"]["done"], found["expected"]) == (40, 70)
        write_shard(path, 1, writer=writer)
    said = status(capsys, path)[1]
    assert "no run is writing; the last one" in said
    assert "finished" in said


def test_of_a_run_that_failed_or_was_killed(path, capsys):
    with (
        BankWriter(path, small_spec()) as writer,
        pytest.raises(KeyboardInterrupt),
        ExtractionProgress(quiet(), writer, 1),
    ):
        raise KeyboardInterrupt
    assert "stopped: KeyboardInterrupt" in status(capsys, path)[1]
    values = json.loads(open_place(path).read(PROGRESS))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    open_place(path).write(PROGRESS, json.dumps(values | {"state": "running", "time": now}).encode())
    said = status(capsys, path)[1]
    assert "was killed, 0:00:0" in said
    assert "run the same command to go on" in said


def test_what_cannot_be_read_is_as_if_it_were_not_there(path, capsys):
    for data in (b"{", b"[]", b"{}"):
        open_place(path).write(PROGRESS, data)
        assert status(capsys, path)[1].rstrip().endswith("no run is writing")


def test_a_place_without_a_bank(tmp_path, capsys):
    assert status(capsys, tmp_path)[0] == framebank.MISUSED


def test_busy_is_the_share_of_the_encoders_time(path, monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("pipeline.progress.time.perf_counter", lambda: float(next(clock)))
    with BankWriter(path, small_spec()) as writer:
        progress = ExtractionProgress(quiet(), writer, 10)
        assert progress.busy() is None
        progress.add(report(1), 2)
        before = progress.encoder_seconds
        progress.add(report(1), 2)
        assert before == 0.0
        assert progress.busy() == pytest.approx(0.5 / progress.encoder_seconds, abs=1e-3)
