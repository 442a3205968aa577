"""What the command line calls a run: fine-tuned weights before they are mixed, and what they began from.

A finished run of `framebank finetune` knows its network, CLIP's weights, its prompts and, beside its weights,
the temporal view. Of a weight file, such as Open-VCLIP's releases, the command line has to say the first two.
"""

from dataclasses import dataclass
from pathlib import Path

from backbones.config import BackboneConfig, TemporalView
from backbones.sidecar import read_sidecar
from finetune.evaluation.config import Templates
from finetune.final import view_of
from finetune.tradeoff.config import TradeoffConfig
from finetune.tuning.config import TuneConfig
from finetune.tuning.session import WEIGHTS
from training.run import RunDirectory, RunError
from video import ViewPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """Weights that a curve begins at."""

    label: str
    """What the curve is called."""
    path: Path
    """The weight file."""
    name: str
    """The network."""
    clip: str
    """CLIP's weights, where the curve ends."""
    view: TemporalView | None
    """The temporal view, of the whole curve."""
    templates: Templates
    """What class names are put into."""
    clip_digest: str = ""
    """The image tower that training began from; empty where nobody noted it."""


def tuned_of(config: TradeoffConfig) -> list[Tuned]:
    """The weights of each curve, looked at but not read.

    Raises:
        RunError: no run, a run of something else, one that is not finished.
        BackboneError: a weight file whose settings are gone or damaged.
        ValueError: a weight file of which nobody says the network or the temporal view, weights that are
            mixed already, settings of weight files where there are none, two curves of one name.
    """
    labels = config.labels or tuple(_label(path) for path in config.runs)
    if len(set(labels)) < len(labels):
        raise ValueError(f"expected curves of different names, found {', '.join(labels)}; give --labels")
    if all(path.is_dir() for path in config.runs):
        _refuse_settings_of_files(config)
    return [
        _of_run(path, label, config) if path.is_dir() else _of_file(path, label, config)
        for path, label in zip(config.runs, labels, strict=True)
    ]


def exam_views_of(run: Path) -> ViewPlan | None:
    """The views that a run was tested on; None of a weight file."""
    return _config_of(run).test_views if run.is_dir() else None


def _of_run(run: Path, label: str, config: TradeoffConfig) -> Tuned:
    tuning, weights = _config_of(run), run / WEIGHTS
    if not weights.exists():
        raise RunError(
            f"expected a finished run at {run}, found none of its result, {WEIGHTS}; finish it with "
            f"`framebank finetune resume --run {run}`"
        )
    return Tuned(
        label=label,
        path=weights,
        name=tuning.name,
        clip=tuning.weights,
        view=view_of((weights,), BackboneConfig(name=tuning.name, weights=tuning.weights)),
        templates=config.templates or tuning.templates,
        clip_digest=_began_from(weights),
    )


def _of_file(path: Path, label: str, config: TradeoffConfig) -> Tuned:
    if not config.name:
        raise ValueError(f"expected the network of {path}, found none; name it with --name, as for extract")
    clip = config.clip or "openai"
    asked = BackboneConfig(name=config.name, weights=clip, window=config.window, boundary=config.boundary)
    return Tuned(
        label=label,
        path=path,
        name=config.name,
        clip=clip,
        view=view_of((path,), asked),
        templates=config.templates or "action",
        clip_digest=_began_from(path),
    )


def _config_of(run: Path) -> TuneConfig:
    found = RunDirectory.read(run).config
    if "regulariser" not in found:
        raise RunError(
            f"expected a run of framebank finetune at {run}, found one of another training; decoders have "
            "no weights that could be mixed with CLIP's"
        )
    return TuneConfig.from_json(found)


def _began_from(weights: Path) -> str:
    """The digest of the CLIP that is noted beside tuned weights. Raises ValueError where it is mixed in."""
    sidecar = read_sidecar(weights)
    made = {} if sidecar is None else sidecar.made
    if made.get("share"):
        raise ValueError(
            f"expected tuned weights before they are mixed, found {weights} with {made['share']:g} of CLIP "
            f"in it; give what it was mixed from: {', '.join(made.get('tuned', ()))}"
        )
    return str(made.get("clip_digest", ""))


def _label(path: Path) -> str:
    return path.name if path.is_dir() else path.parent.name if path.name == WEIGHTS else path.stem


def _refuse_settings_of_files(config: TradeoffConfig) -> None:
    given = [
        name for name in ("name", "clip", "window", "boundary") if getattr(config, name) not in ("", None)
    ]
    if given:
        raise ValueError(
            f"expected {given[0]} beside a weight file, found runs alone, which say it themselves; leave it "
            f"out, or name RUN/{WEIGHTS}"
        )
