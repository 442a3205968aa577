"""Processes joined by gloo, without Ray, that fine-tune together."""

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import torch
import torch.distributed as dist

from finetune.tuning.config import TuneConfig
from finetune.tuning.data import Sources
from finetune.tuning.session import TunePart, TuneResult, clip_of, materials_of, tune
from training.interrupt import StopRequest
from training.run import RunDirectory, open_run
from training.team import Team


def tune_as_team(config: TuneConfig, sources: Sources, *, run: Path, size: int) -> list[TuneResult]:
    """Fine-tune as so many processes; what each found."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.small_tuning_team"])
    with ExitStack() as stack:
        document = {"config": config.to_json(), "data": materials_of(config, sources).describe()}
        stack.enter_context(open_run(run, document, {}))
        meet = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "meet"
        pool = stack.enter_context(ProcessPoolExecutor(size, mp_context=server))
        teams = [Team(rank=rank, size=size) for rank in range(size)]
        tasks = [pool.submit(member, config, sources, run, team, meet) for team in teams]
        return [task.result(timeout=240) for task in tasks]


def member(config: TuneConfig, sources: Sources, run: Path, team: Team, meet: Path) -> TuneResult:
    """One of them."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=team.rank, world_size=team.size)
    part = TunePart(device=torch.device("cpu"), decode_processes=1, stop=StopRequest(), team=team)
    try:
        return tune(config, clip_of(config), materials_of(config, sources), RunDirectory.read(run), part)
    finally:
        dist.destroy_process_group()
