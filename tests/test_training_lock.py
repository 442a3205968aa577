"""One process at a time in a run directory, whatever became of the one before."""

import os
import signal
import subprocess
import sys

import pytest

from training.lock import RunBusy, RunLock

HOLD = """
import sys, time
from pathlib import Path
from training.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_held_once_and_free_again(tmp_path):
    with RunLock(tmp_path), pytest.raises(RunBusy, match=f"in use by process {os.getpid()} on"):
        RunLock(tmp_path)
    RunLock(tmp_path).release()


def test_another_process_is_named_and_its_death_frees(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(RunBusy, match=f"process {child.pid} on .*, since 20"):
            RunLock(tmp_path)
        child.send_signal(signal.SIGKILL)
    RunLock(tmp_path).release()


def test_a_holder_that_has_not_signed_yet(tmp_path):
    with RunLock(tmp_path):
        (tmp_path / "lock.json").write_text("")
        with pytest.raises(RunBusy, match="a process that began just now"):
            RunLock(tmp_path)
