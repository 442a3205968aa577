"""Stages are announced and timed; torch's threads are as before afterwards."""

from io import StringIO

import torch
from rich.console import Console

from demo.stages import Stages, torch_threads


def test_stages_are_announced_and_timed_in_order():
    console = Console(file=StringIO(), width=80)
    stages = Stages(console=console)
    for name in ("draw", "train"):
        with stages.stage(name, f"something to {name}"):
            pass
    assert list(stages.seconds) == ["draw", "train"]
    assert "train: something to train" in console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
