"""Runs a small sweep and dies at a chosen moment; a script, so that the death is a process's own.

    python -m tests.killed_sweep BANK FOLDER LINES

After so many logged lines, counted over all trials, it kills itself with SIGKILL.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from decoders.heads import HeadsWatch
from decoders.sweeps.config import SweepPlaces
from decoders.sweeps.jobs import Job, run_here
from decoders.sweeps.sweep import sweep
from tests.small_sweeps import places, quiet, sweep_config


def main(bank: Path, folder: Path, lines: int) -> None:
    """See the module's docstring."""
    left = lines

    def dying(jobs: Sequence[Job], where: SweepPlaces, watch: HeadsWatch) -> None:
        def counted(name: str, done: int, values: Mapping[str, float]) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            watch(name, done, values)

        run_here(jobs, where, counted)

    torch.set_num_threads(1)
    sweep(sweep_config(), places(bank, folder), display=quiet(), run_jobs=dying)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
