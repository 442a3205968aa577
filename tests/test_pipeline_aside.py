"""What is asked of a process of its own answers, raises and ends as if it had been called."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from pipeline import aside
from pipeline.aside import Aside
from pipeline.errors import ExtractionError
from video import DecodeError


@pytest.fixture
def apart(monkeypatch):
    """The module that must not be loaded here is one that never is."""
    monkeypatch.setattr(aside, "HEAVY", "no_such_module")


def number(of: int) -> tuple[int, int]:
    return of, os.getpid()


def refuse() -> None:
    raise DecodeError("no frames", "a.mp4")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stay() -> None:
    signal.pause()


def test_where_the_libraries_are_loaded_it_is_called_here():
    with Aside(number, 3) as asked:
        assert asked.result() == (3, os.getpid())


@pytest.mark.usefixtures("apart")
def test_elsewhere_it_answers_from_another_process():
    with Aside(number, 3) as asked:
        answer, process = asked.result()
    assert answer == 3
    assert process != os.getpid()
    assert not psutil.pid_exists(process)


@pytest.mark.usefixtures("apart")
def test_what_it_raises_is_raised():
    with Aside(refuse) as asked, pytest.raises(DecodeError, match="no frames"):
        asked.result()


@pytest.mark.usefixtures("apart")
def test_its_death_is_said():
    with Aside(die) as asked, pytest.raises(ExtractionError, match=r"died \(exit code -9\)"):
        asked.result()


@pytest.mark.usefixtures("apart")
def test_it_ends_with_who_asked(tmp_path):
    asked = Aside(stay)
    with pytest.raises(FileNotFoundError), asked:
        (tmp_path / "videos").rmdir()
    assert asked.process is not None
    assert asked.process.exitcode == -signal.SIGTERM


def test_the_driver_of_an_extraction_needs_no_torch():
    """Its memory is for the plan, and it starts at once."""
    code = "import sys, pipeline.extract, pipeline.recipes; print({'torch', 'open_clip'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
