"""A pre-training opened, as its run directory left it or new, and taken to its end by one process of a team.

The run directory is that of every training (`training/run.py`). Its newest checkpoint has the visual module
under `visual` and the heads under `heads`, which load strictly into those of the other tier.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoders.draws import seeded
from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.language.heads import OmniVLHeads
from decoders.omnivl.language.vocabulary import text_tokenizer
from decoders.omnivl.pretraining.loop import Pretraining
from decoders.omnivl.pretraining.order import SampleOrder
from decoders.omnivl.pretraining.samples import Samples
from decoders.omnivl.pretraining.tier import Tier
from decoders.omnivl.pretraining.trainer import Pretrainer
from decoders.omnivl.pretraining.wording import Wording
from decoders.omnivl.schedule import Kind
from training.run import RunDirectory
from training.session import Part, lines_of, refuse_diverged, restored
from training.team import Team


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainResult:
    """What a call of pre-training came to."""

    run: Path
    steps: int
    """Steps done in all."""
    resumed_at: int
    """Steps done before this call."""
    seconds: float
    """Wall time of this call."""


def samples_by_kind(tier: Tier, config: PretrainConfig) -> dict[Kind, Samples]:
    """What the schedule takes. Raises ValueError where the tier has none of a kind that it needs."""
    return {kind: tier.samples(kind) for kind in sorted(config.schedule.kinds())}


def orders_of(samples: dict[Kind, Samples], config: PretrainConfig, team: Team) -> dict[Kind, SampleOrder]:
    """The order of each kind."""
    return {kind: SampleOrder(some, config, team) for kind, some in samples.items()}


def document(config: PretrainConfig, tier: Tier, samples: dict[Kind, Samples]) -> dict[str, Any]:
    """What the run is, for its directory."""
    found = {kind: some.describe() for kind, some in samples.items()}
    return {"config": config.to_json(), "tier": tier.describe(), "samples": found}


def pretrain(
    config: PretrainConfig, tier: Tier, samples: dict[Kind, Samples], directory: RunDirectory, part: Part
) -> PretrainResult:
    """Take the steps that are left, as one process of a team.

    Args:
        samples: as `samples_by_kind` gives them.

    Raises:
        TrainingStopped, Diverged: as `Pretraining.run`.
        ValueError: the processes cannot share a batch.
    """
    start = time.perf_counter()
    refuse_diverged(directory)
    orders = orders_of(samples, config, part.team)
    trainer = new_trainer(config, tier, part)
    done = restored(trainer.restore, directory, part.team)
    tokenise = text_tokenizer(config.heads.context, config.heads.words)
    lines = lines_of(directory, done, part)
    pretraining = Pretraining(
        trainer=trainer,
        tier=tier,
        orders=orders,
        wordings={kind: Wording(some, config, tokenise) for kind, some in samples.items()},
        directory=directory,
        lines=lines,
        done=done,
    )
    complete = False
    try:
        pretraining.run(part.stop)
        complete = True
    finally:
        lines.close(complete=complete)
    return PretrainResult(
        run=directory.path,
        steps=pretraining.done,
        resumed_at=done,
        seconds=time.perf_counter() - start,
    )


def new_trainer(config: PretrainConfig, tier: Tier, part: Part) -> Pretrainer:
    """Weights as the seed draws them: of the visual module first, then of the heads."""
    with seeded(config.seed):
        visual = tier.visual()
        heads = OmniVLHeads(config.heads)
    return Pretrainer(config, visual.to(part.device), heads.to(part.device), team=part.team)
