"""A sweep from its description to a tested winner.

    settings ─▶ rounds of (groups of heads, each on one read of the bank) ─▶ winner ─▶ test ─▶ report

    FOLDER/
      config.json                          what the sweep is: base, what varies, the search, the bank's clips
      trials/NAME/                         a run directory a trial, as `framebank train` makes it
      sweep.json                           all settings and scores, the winner, its test, its commands
      table.csv, report.md, sweep.png      the same for people

What has been done is read from the run directories alone, so a sweep that was interrupted or killed goes on
with the same command, and ends with the same curves and the same winner. Where settings learn or are
validated on different labels, their scores cannot be compared, and there is a winner for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from decoders.sweeps.config import SweepConfig, SweepPlaces
from decoders.sweeps.display import SweepDisplay
from decoders.sweeps.jobs import Job, JobRunner, run_here, trials_folder
from decoders.sweeps.outcome import Outcome
from decoders.sweeps.report import finished_report, write_report
from decoders.sweeps.rounds import groups, promoted, rungs
from decoders.sweeps.sources import Sources, open_sources
from decoders.sweeps.standing import Standing, has_arrived, standing
from decoders.sweeps.trials import Setting, contests, settings
from decoders.sweeps.winner import described_winner
from training.interrupt import TrainingStopped
from training.run import open_run


class SweepFailed(ArithmeticError):
    """No setting could be trained to the end."""


def sweep(
    config: SweepConfig,
    places: SweepPlaces,
    *,
    display: SweepDisplay | None = None,
    run_jobs: JobRunner = run_here,
) -> dict[str, Any]:
    """Train, compare and test; what sweep.json says.

    Called again, it goes on; one that is finished returns at once. SIGINT and SIGTERM end the current step,
    save every head and raise TrainingStopped.

    Raises:
        ValueError: the description, or a bank that cannot serve it; `folder` holds another sweep, or another
            process is at it.
        SweepFailed: every setting diverged.
    """
    listed = settings(config)
    sources = open_sources(listed, places, config.plan.test_split)
    document = {"sweep": config.to_json(), "data": sources.document}
    session = {"bank": places.bank, "eval_bank": places.eval_bank, "device": places.device}
    with open_run(Path(places.folder), document, session), display or SweepDisplay(Console()) as shown:
        if report := finished_report(Path(places.folder)):
            return report
        shown.say(f"{len(listed)} settings, {len(listed) * config.plan.seeds} trainings at most")
        work = _Work(config=config, places=places, sources=sources, display=shown, run_jobs=run_jobs)
        try:
            outcome = work.train(listed)
        except TrainingStopped as stopped:
            raise TrainingStopped(
                f"stopped, everything saved in {places.folder}; the same command goes on"
            ) from stopped
        return write_report(outcome, places, _winners(outcome, places))


def _winners(outcome: Outcome, places: SweepPlaces) -> list[dict[str, Any]]:
    """All winners, tested."""
    found, last = outcome.winners(), outcome.rounds[-1]
    if not found:
        write_report(outcome, places, [])
        raise SweepFailed(
            f"every setting diverged; {places.folder}/table.csv says where. Vary lower rates or a warm-up"
        )
    return [
        described_winner(setting, last[setting.number], outcome.config, places) for setting in found.values()
    ]


@dataclass(kw_only=True, slots=True)
class _Work:
    """The rounds of a sweep, one after the other."""

    config: SweepConfig
    places: SweepPlaces
    sources: Sources
    display: SweepDisplay
    run_jobs: JobRunner
    rounds: list[dict[int, Standing]] = field(default_factory=list)

    def train(self, listed: Sequence[Setting]) -> Outcome:
        """All rounds."""
        going = list(listed)
        total = self.config.plan.rungs if self.config.plan.halving else 1
        outcome = Outcome(config=self.config, settings=listed, rounds=self.rounds)
        for place in range(total):
            self._round(going, place, f"round {place + 1}/{total}")
            standings = self.rounds[-1]
            if place + 1 < total:
                going = self._going_on(going, standings)
            self.display.end_round(standings, listed, 0 if place + 1 == total else len(going))
            write_report(outcome, self.places, None)
        return outcome

    def _round(self, going: Sequence[Setting], place: int, title: str) -> None:
        """Train all that go on to their next rung, and see how they stand there."""
        folder = trials_folder(self.places)
        goals = {
            trial.name: rungs(trial.config, self.config.plan)[place] for s in going for trial in s.trials
        }
        if jobs := self._jobs(going, goals):
            self.display.begin_round(title, jobs, folder)
            self.run_jobs(jobs, self.places, self.display.watch)
        self.rounds.append(
            {s.number: standing(s, folder, rungs(s.config, self.config.plan)[place]) for s in going}
        )

    def _jobs(self, going: Sequence[Setting], goals: dict[str, int]) -> list[Job]:
        """What is left to do to come there."""
        folder = trials_folder(self.places)
        trials = [trial for setting in going for trial in setting.trials]
        left = [trial for trial in trials if not has_arrived(folder / trial.name, goals[trial.name])]
        return [
            Job(
                heads={trial.name: trial.config for trial in group},
                until={trial.name: goals[trial.name] for trial in group},
            )
            for group in groups(left, self.sources.reads, self.places.heads)
        ]

    def _going_on(self, going: Sequence[Setting], standings: dict[int, Standing]) -> list[Setting]:
        """The best of each contest."""
        kept: set[int] = set()
        for some in contests(going).values():
            own = {setting.number: standings[setting.number] for setting in some}
            kept |= set(promoted(own, self.config.plan.halving))
        return [setting for setting in going if setting.number in kept]
