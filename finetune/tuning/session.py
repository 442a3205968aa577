"""A fine-tuning opened: as its run directory left it, or new; and its result written.

The run directory is that of every training (`training/run.py`), with

    failed.jsonl           clips that could not be decoded, and why
    weights.safetensors    the result: the average of the weights, with CLIP's text tower, before it is mixed
    weights.safetensors.json   with CLIP (`framebank interpolate`); its temporal view beside it
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbones.save import save_clip
from backbones.text import class_matrix
from backbones.weights import LoadedClip, load_clip
from finetune.decoding import Decoders
from finetune.evaluation.class_names import TEMPLATES
from finetune.evaluation.encoding import refuse_size
from finetune.tuning.batches import ClipStream
from finetune.tuning.config import TuneConfig
from finetune.tuning.data import Material, Sources, test_material, training_material
from finetune.tuning.loop import Tuning
from finetune.tuning.tuner import Tuner
from finetune.video_clip import trainable
from training.metrics import METRICS, read_metrics
from training.run import RunDirectory
from training.session import Part, lines_of, refuse_diverged, restored
from training.team import Team

WEIGHTS = "weights.safetensors"
"""The result in a run directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneResult:
    """What a call did for a run."""

    run: Path
    """Run directory."""
    steps: int
    """Steps done in all."""
    resumed_at: int
    """Steps done before this call."""
    seconds: float
    """Wall time of this call."""
    scores: dict[str, float]
    """The newest evaluation: eval_top1 and eval_top5; empty where there was none."""
    weights: Path
    """The result: an open_clip weight file, with its temporal view beside it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Materials:
    """What a run reads."""

    train: Material
    test: Material | None

    def describe(self) -> dict[str, Any]:
        """As part of what the run is."""
        test = None if self.test is None else self.test.describe()
        return {"train": self.train.describe(), "test": test, "classes": list(self.train.labels.classes)}


@dataclass(frozen=True, kw_only=True, slots=True)
class TunePart(Part):
    """How one process takes part in a fine-tuning."""

    decode_processes: int
    """Children that decode for it."""


def materials_of(config: TuneConfig, sources: Sources) -> Materials:
    """The clips that are named. Raises InputError as `finetune.tuning.data`."""
    train = training_material(config, sources)
    return Materials(train=train, test=test_material(config, sources, train.labels.classes))


def clip_of(config: TuneConfig) -> LoadedClip:
    """The CLIP that training begins from.

    Raises:
        BackboneError: it cannot be had. ValueError: it sees frames of another size than the views.
    """
    clip = load_clip(config.backbone)
    refuse_size(clip, config.views)
    refuse_size(clip, config.test_views, option="test-views")
    return clip


def tune(
    config: TuneConfig, clip: LoadedClip, materials: Materials, directory: RunDirectory, part: TunePart
) -> TuneResult:
    """Take the steps that are left, as one process of a team; the leading one writes the result.

    Args:
        clip: as `clip_of` gives it; its weights are trained.

    Raises:
        TrainingStopped, Diverged: as `Tuning.run`.
    """
    start = time.perf_counter()
    refuse_diverged(directory)
    tuner = _tuner_of(config, clip, materials.train, part)
    done = restored(tuner.restore, directory, part.team)
    lines = lines_of(directory, done, part)
    tuning = Tuning(
        tuner=tuner,
        stream=_stream_of(config, materials.train, part.team),
        held_out=materials.test,
        directory=directory,
        lines=lines,
        done=done,
    )
    complete = False
    try:
        with Decoders(part.decode_processes) as decoders:
            tuning.run(decoders, part.stop)
        complete = True
    finally:
        lines.close(complete=complete)
    weights = directory.path / WEIGHTS
    if part.team.leads and not weights.exists():
        _write_result(weights, tuning, clip)
    return TuneResult(
        run=directory.path,
        steps=tuning.done,
        resumed_at=done,
        seconds=time.perf_counter() - start,
        scores=_newest_scores(directory.path / METRICS),
        weights=weights,
    )


def _tuner_of(config: TuneConfig, clip: LoadedClip, train: Material, part: TunePart) -> Tuner:
    """A new one, with CLIP's own weights."""
    clip.model.to(part.device)
    return Tuner(
        config,
        trainable(clip),
        class_matrix(clip, train.labels.classes, TEMPLATES[config.templates]),
        steps=config.steps_until(config.epochs, len(train.clips)),
        schedule=config.schedule(len(train.clips)),
        team=part.team,
    )


def _stream_of(config: TuneConfig, train: Material, team: Team) -> ClipStream:
    return ClipStream(
        clips=train.clips,
        targets=train.labels.targets,
        plan=config.views,
        seed=config.seed,
        size=config.batch_size,
        team=team,
    )


def _write_result(path: Path, tuning: Tuning, clip: LoadedClip) -> None:
    """The whole CLIP with the tuned image tower and scale."""
    tuned = tuning.tuner.tensors()
    whole = clip.model.state_dict()
    clip.model.load_state_dict({name: tuned.get(name, values) for name, values in whole.items()})
    made = {
        "tuned": tuning.tuner.config.to_json(),
        "clip_digest": clip.digest,
        "averaged": tuning.tuner.average.count,
        "steps": tuning.done,
    }
    save_clip(path, clip.model, view=clip.view, made=made)


def _newest_scores(path: Path) -> dict[str, float]:
    lines = [line for line in read_metrics(path) if "eval_top1" in line]
    return {name: lines[-1][name] for name in ("eval_top1", "eval_top5")} if lines else {}
