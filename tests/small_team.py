"""A team of processes joined by gloo, without Ray, that trains heads for the tests.

They are forked from a server that has imported everything once: starting Python and torch for each would take
longer than what they do.
"""

import multiprocessing
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from decoders.heads import Entry, open_banks, open_runs
from decoders.part import take_part
from decoders.result import TrainResult
from training.interrupt import StopRequest, TrainingStopped
from training.team import Team

CPU = torch.device("cpu")
Said = list[TrainResult] | str


def train_as_team(entries: Sequence[Entry], *, bank: Path, size: int, stop_at: int = 0) -> list[Said]:
    """Train as so many processes; what each says in the end: its results, or how to go on. With `stop_at` the
    last one is asked to stop once it has seen the losses of this step.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.small_team"])
    with ExitStack() as stack:
        data = open_banks(entries, bank=bank, eval_bank=None, device=CPU)
        session = {"bank": str(bank), "eval_bank": str(bank), "workers": size}
        stack.enter_context(open_runs(entries, data, session))
        meet = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "meet"
        pool = stack.enter_context(ProcessPoolExecutor(size, mp_context=server))
        teams = [Team(rank=rank, size=size) for rank in range(size)]
        tasks = [pool.submit(member, entries, str(bank), team, meet, stop_at) for team in teams]
        return [task.result(timeout=240) for task in tasks]


def member(entries: Sequence[Entry], bank: str, team: Team, meet: Path, stop_at: int) -> Said:
    """One of them."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=team.rank, world_size=team.size)
    stop = StopRequest()

    def watch(done, values):
        stop.requested = stop.requested or (team.rank == team.size - 1 and done == stop_at)

    try:
        watched = [replace(entry, watch=watch) for entry in entries]
        return take_part(watched, banks=(bank, None), device=CPU, team=team, stop=stop)
    except TrainingStopped as stopped:
        return str(stopped)
    finally:
        dist.destroy_process_group()
