"""How far a training is, on the terminal."""

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Display:
    """Progress bar with the newest loss and accuracy."""

    def __init__(self, console: Console, total: int | None, first: str) -> None:
        self._progress = Progress(
            TextColumn("step"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
        )
        self._task = self._progress.add_task(first, total=total)
        self._newest: dict[str, float] = {}

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def announce(self, total: int) -> None:
        """Take over how many steps there are in all."""
        self._progress.update(self._task, total=total)

    def show(self, done: int, values: Mapping[str, float]) -> None:
        """Take over a line of the log."""
        self._newest.update(values)
        text = "  ".join(f"{name} {value:.4g}" for name, value in self._newest.items())
        self._progress.update(self._task, completed=done, description=text)
