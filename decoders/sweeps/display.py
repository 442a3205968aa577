"""What a person sees while a sweep runs: which round, which heads, the newest validation scores.

On a terminal a live bar over the steps of the round; elsewhere (a log file) a line every ten seconds. After
each round its best settings and how many go on.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from decoders.sweeps.jobs import Job
from decoders.sweeps.rounds import ranked
from decoders.sweeps.standing import Standing, saved_steps
from decoders.sweeps.trials import Setting

LOG_SECONDS = 10.0
SHOWN = 3


class SweepDisplay:
    """Told of rounds and of logged lines; a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Progress(
            TextColumn("{task.fields[round]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", round="", total=None)
        self._title, self._logged = "", time.monotonic()
        self._goals: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._scores: dict[str, float] = {}
        self._newest: list[str] = []

    def __enter__(self) -> "SweepDisplay":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Tell a person something beside the bar."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def begin_round(self, title: str, jobs: Sequence[Job], folder: Path) -> None:
        """A round of these jobs; their heads stand where their newest checkpoints do."""
        self._title = title
        self._goals = {name: steps for job in jobs for name, steps in job.until.items()}
        self._done = {name: saved_steps(folder / name) for name in self._goals}
        self._scores, self._newest = {}, []
        self.say(f"{title}: {len(self._goals)} trainings on {len(jobs)} reads of the bank")
        self._show()

    def watch(self, name: str, done: int, values: Mapping[str, float]) -> None:
        """Take over a line of a trial's log."""
        self._done[name] = max(done, self._done.get(name, 0))
        self._newest = [name, *(other for other in self._newest if other != name)][:SHOWN]
        if "eval_top1" in values:
            self._scores[name] = values["eval_top1"]
        self.tick()

    def tick(self) -> None:
        """Show what is new, if it is time."""
        if self.console.is_terminal:
            self._show()
        elif time.monotonic() - self._logged >= LOG_SECONDS:
            self._logged = time.monotonic()
            done, goal = sum(self._done.values()), sum(self._goals.values())
            self.say(f"{self._title}: {done} of {goal} steps; {self._text()}")

    def end_round(self, standings: Mapping[int, Standing], settings: Sequence[Setting], going: int) -> None:
        """The best of a round, and how many go on (0: it was the last)."""
        by_number = {setting.number: setting for setting in settings}
        for number in ranked(standings)[:SHOWN]:
            score = standings[number].score
            text = "diverged" if score is None else f"{score:.3f}"
            self.say(f"  {text}  {number:03} {by_number[number].text}")
        if going:
            self.say(f"  {going} of {len(standings)} settings go on")

    def _show(self) -> None:
        done, goal = sum(self._done.values()), sum(self._goals.values())
        self._bar.update(self._task, round=self._title, completed=done, total=goal, description=self._text())

    def _text(self) -> str:
        """The heads that were heard of last, and the newest scores, best first."""
        best = sorted(self._scores.items(), key=lambda item: -item[1])[:SHOWN]
        scores = ", ".join(f"{name} {score:.3f}" for name, score in best)
        heads = ", ".join(f"{name} at {self._done[name]}" for name in self._newest) or "getting ready"
        return f"{heads}; validation top-1: {scores}" if scores else heads
