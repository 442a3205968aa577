"""Trackers: each line once, whatever happens to the service or the process."""

import json

import pytest

from training.metrics import MetricsLog
from training.trackers import LINES, Tracker


class Notebook:
    """A service that remembers, and refuses when told to."""

    def __init__(self) -> None:
        self.identity = "run-1"
        self.lines: list = []
        self.ends: list[bool] = []
        self.refuses = False
        self.dies = False

    def send(self, lines) -> None:
        if self.dies:
            raise KeyboardInterrupt
        if self.refuses:
            raise ConnectionError("no answer")
        self.lines += lines

    def end(self, *, complete: bool) -> None:
        self.ends.append(complete)


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


def tracker(tmp_path, notebook) -> Tracker:
    return Tracker(tmp_path / "notebook.json", lambda identity: notebook)


def losses(notebook) -> list[int]:
    return [step for step, values in notebook.lines if "loss" in values]


def test_repeated_steps_are_not_sent_again(tmp_path, notebook):
    first = tracker(tmp_path, notebook)
    for step in range(1, 6):
        first.write(step, {"loss": 0.5})
    first.close(complete=False)
    second = tracker(tmp_path, notebook)
    for step in range(3, 8):  # from the checkpoint after step 2
        second.write(step, {"loss": 0.4})
    second.write(5, {"eval_top1": 0.9})  # the session before did not come to it
    second.close(complete=True)
    assert losses(notebook) == [1, 2, 3, 4, 5, 6, 7]
    assert (5, {"eval_top1": 0.9}) in notebook.lines
    assert notebook.ends == [False, True]


def test_the_service_is_asked_for_the_same_run(tmp_path, notebook):
    asked = []

    def begin(identity):
        asked.append(identity)
        return notebook

    for _ in range(2):
        Tracker(tmp_path / "notebook.json", begin).close(complete=True)
    assert asked == [None, "run-1"]


def test_what_died_while_sending_is_not_sent_twice(tmp_path, notebook):
    first = tracker(tmp_path, notebook)
    first.write(1, {"loss": 0.5})
    notebook.dies = True
    with pytest.raises(KeyboardInterrupt):
        first.flush()
    notebook.dies = False
    second = tracker(tmp_path, notebook)
    second.write(1, {"loss": 0.4})
    second.write(2, {"loss": 0.3})
    second.close(complete=True)
    assert losses(notebook) == [2]


def test_a_service_that_fails_gets_its_lines_later(tmp_path, notebook):
    open_one = tracker(tmp_path, notebook)
    for step in range(1, LINES + 50):
        open_one.write(step, {"loss": 0.5})
    notebook.refuses = True
    with pytest.warns(RuntimeWarning, match=f"no answer.*{LINES + 49} lines wait"):
        open_one.flush()
    assert json.loads((tmp_path / "notebook.json").read_text())["sent"] == {}
    notebook.refuses = False
    open_one.close(complete=True)
    assert losses(notebook) == list(range(1, LINES + 50))


def test_after_a_failure_it_is_left_alone_for_a_while(tmp_path, notebook, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("training.trackers.time.monotonic", lambda: clock[0])
    notebook.send, calls = slow_refusal(clock), []
    one = tracker(tmp_path, notebook)
    one.write(1, {"loss": 0.5})
    with pytest.warns(RuntimeWarning):
        one.flush()
    notebook.send = calls.append
    for clock[0] in (30.0, 59.0):  # it took 5 s to fail
        one.flush()
        assert bool(calls) == (clock[0] > 55)


def slow_refusal(clock):
    def send(lines) -> None:
        clock[0] += 5
        raise ConnectionError("no answer")

    return send


def test_a_log_sends_what_was_written_before_it_had_a_tracker(tmp_path, notebook):
    log = MetricsLog(tmp_path)
    for step in (1, 2, 3):
        log.write(step, {"loss": step / 10})
    log.close()
    log = MetricsLog(tmp_path, done=2, trackers=[tracker(tmp_path, notebook)])
    log.write(3, {"loss": 0.5})
    log.flush()
    assert notebook.lines == [(1, {"loss": 0.1}), (2, {"loss": 0.2}), (3, {"loss": 0.5})]
    log.close(complete=False)
    assert notebook.ends == [False]
