"""The processes that train one run together, seen from one of them: its rows, and what all agree on.

Each process holds the whole model and learns from its part of every batch; then gradients are averaged, and
all take the same step. Part r of W is the r-th W-th of the batch's rows, and random numbers belong to rows
(`decoders/draws.py`), so a run is the same on any number of processes, but for the rounding of sums.

Gradients are averaged in one piece when the step's last backward pass is over, and not by torch's
DistributedDataParallel, which sends them in buckets while it runs. Two reasons: it orders its buckets anew
after the first step, so a run that goes on from a checkpoint would add in another order than one that was not
interrupted, where here both end in the same bits; and parameters that no clip reaches (tables of cross-frame
maps with a single frame) need a search of its own each step. The price is that nothing hides the sending: of
B/16 with 4 layers 133 MB a step, some ms between GPUs of a machine, 0.2 s over a network of 10 Gbit/s.

What is agreed beside (losses when they are logged, whether to stop) is small. All processes come to it at the
same steps, or they would wait for each other for ever.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """One process and how many they are. With more than one, torch's default process group is theirs; it must
    serve tensors on the CPU and on the device that trains.
    """

    rank: int = 0
    """Of this process."""
    size: int = 1
    """How many train together."""

    @property
    def leads(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """This process's part of so many things: all parts, one after the other, are all of them."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of everybody's values."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.size

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of everybody's values."""
        return self.mean(values) * self.size

    def gather(self, values: torch.Tensor) -> torch.Tensor:
        """Everybody's values, of one shape, one process's after the other's along the first dimension; no
        gradient flows back.
        """
        if self.size == 1:
            return values
        found = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(found, values.contiguous())
        return torch.cat(found)

    def any(self, flag: bool) -> bool:
        """Whether anybody's flag is up. On the CPU: no accelerator is waited for."""
        return bool(self.mean(torch.tensor(float(flag))))

    def same(self, number: int) -> bool:
        """Whether everybody has the same number."""
        found = self.mean(torch.tensor([number, number**2], dtype=torch.float64))
        return found.tolist() == [number, number**2]

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by the mean of everybody's."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        means = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = means.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def follow(self, tensors: Iterable[torch.Tensor]) -> None:
        """Take over the values of the process that leads."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)


ALONE = Team()


@dataclass(frozen=True, kw_only=True, slots=True)
class Crew:
    """Who trains."""

    workers: int
    """Processes, each with a part of every batch; together they take batch_size clips a step."""
    gpus_per_worker: int | None = None
    """GPUs of each; 0 trains on CPUs. None gives one where the cluster has any, as `device` says."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, found {self.workers}")
        if self.gpus_per_worker is not None and self.gpus_per_worker < 0:
            raise ValueError(f"gpus_per_worker must be at least 0, found {self.gpus_per_worker}")
