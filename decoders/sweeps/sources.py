"""What the trials of a sweep read: checked before the first is trained, and which of them read alike.

A sweep runs for hours; that a bank cannot serve its last setting, or has no clips to test on, is to be known
at the start.
"""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from decoders.clips import labelled_clips
from decoders.config import TrainConfig
from decoders.heads import agreed
from decoders.precision import pick_device
from decoders.run_data import RunData, open_data
from decoders.sweeps.config import SweepPlaces
from decoders.sweeps.trials import Setting, Trial
from decoders.task import check_bank
from storage import Bank


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """What each trial reads."""

    digests: Mapping[str, str]
    """Trial's name to the digest of its training clips' rows."""
    document: dict[str, Any]
    """What of it makes the sweep what it is: the bank's fingerprint, and the clips."""

    def reads(self, trial: Trial) -> Hashable:
        """Equal for trials that can learn from one read."""
        return (*agreed(trial.config).values(), self.digests[trial.name])


def open_sources(settings: Sequence[Setting], places: SweepPlaces, test_split: str) -> Sources:
    """Look at everything that the settings will read. Raises ValueError where a bank cannot serve one."""
    bank, eval_bank = Bank.open(places.bank), Bank.open(places.eval_bank or places.bank)
    test_bank = Bank.open(places.test_bank) if places.test_bank else eval_bank
    device, opened = pick_device(places.device), {}
    for setting in settings:
        if (key := _reading(setting.config)) not in opened:
            opened[key] = open_data(setting.config, bank, eval_bank, device)
            if test_split:
                _check_test(test_bank, opened[key], setting.config, test_split)
    found = {trial.name: opened[_reading(s.config)] for s in settings for trial in s.trials}
    return Sources(
        digests={name: _sha(data.clips.rows.tobytes()) for name, data in found.items()},
        document={"fingerprint": bank.fingerprint, **_clips_of(list(found.values()))},
    )


def _reading(config: TrainConfig) -> Hashable:
    """What of a config decides what is read."""
    return config.decoder, config.label, config.eval_split, *agreed(config).values()


def _check_test(bank: Bank, data: RunData, config: TrainConfig, split: str) -> None:
    check_bank(data.task, bank, config)
    labelled_clips(bank, split=split, label=config.label, classes=data.task.classes)


def _clips_of(found: Sequence[RunData]) -> dict[str, Any]:
    tests = [data.held_out.clips for data in found if data.held_out is not None]
    together = "".join(clips.digest for clips in [*(data.clips for data in found), *tests])
    return {
        "clips": sorted({len(data.clips) for data in found}),
        "validation_clips": sorted({len(clips) for clips in tests}),
        "digest": _sha(together.encode()),
    }


def _sha(values: bytes) -> str:
    return hashlib.sha256(values).hexdigest()
