"""What takes long is announced, and timed, stage by stage."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from rich.console import Console


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """How long each stage took, in seconds, in order."""

    console: Console
    """Where the stages are announced."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Stage to wall time."""

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Announce and time a stage."""
        self.console.print(f"[bold]{name}[/bold]: {what}")
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 1)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
