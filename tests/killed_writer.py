"""Writes a small bank and dies at a chosen moment; a script, so that imports are paid for once.

    python -m tests.killed_writer FOLDER FIRST STEP TIMES LAST

For every STEP-th of its durable steps from FIRST on (up to LAST), a forked child begins a bank in FOLDER
and kills itself with SIGKILL just before that step; other forks then kill themselves TIMES more at random
later steps; a last fork completes the bank. Prints a line per bank: the step, whether the first child died,
and the digest.
"""

import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from storage import Bank, BankWriter
from tests.small_banks import clip_line, frozen_weights, small_spec, write_shard

SYSTEM_CALLS = ("fsync", "replace", "rename", "link", "unlink", "mkdir", "utime")


def write(path: Path) -> None:
    """A bank of two listings, one shard each, then a part more."""
    for spec, part in ((small_spec(dtype="int8"), 0), (grown_spec(), 1)):
        with BankWriter(path, spec, shard_rows=2, grow=True, weights=frozen_weights(spec)) as writer:
            writer.enrol([clip_line(number) for number in range(2)])
            writer.enrol([clip_line(number) for number in range(3)])
            done = writer.records
            for shard in sorted({row // 2 for row in writer.listing["row"].to_pylist()}):
                if (part, shard) not in done:
                    write_shard(path, shard, writer=writer, part=part)


def grown_spec():
    """What the second part is asked for with."""
    return small_spec(blocks=(2, 3), attention="derived", dtype="int8")


def forked(work: Callable[[], None]) -> bool:
    """Run in a child; whether it was killed."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) == signal.SIGKILL
    assert os.WEXITSTATUS(status) == 0
    return False


def dying(path: Path, step: int) -> bool:
    """Write and die before durable step number `step`, if there are so many."""

    def work() -> None:
        left = step

        def counted(real):
            def call(*arguments, **options):
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return call

        for name in SYSTEM_CALLS:
            setattr(os, name, counted(getattr(os, name)))
        write(path)

    return forked(work)


def main(folder: Path, first: int, step: int, times: int, last: int) -> None:
    """See the module's docstring."""
    for number in range(first, last, step):
        path, draw = folder / str(number), random.Random(number)
        died = dying(path, number)
        for _ in range(times):
            dying(path, draw.randrange(400))
        forked(lambda path=path: write(path))
        assert not list(path.rglob(".*.tmp")), path
        sys.stdout.write(f"{number} {died} {Bank(path).digest}\n")
        if not died:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
