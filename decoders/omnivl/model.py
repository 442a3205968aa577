"""A pre-trained model as its run directory left it: what sees, what reads and writes, and who both are.

All that follows a pre-training (an index, a search, captions, answers, a probe) opens its run here. It asks
of vision only that something gives rows with their VisualOut (`Source`), so a live tower may stand where a
bank does.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from backbones.tokenizer import Tokenizer
from decoders.omnivl.adapter import BankVisual
from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.finding.coarse import Layout
from decoders.omnivl.items import Item
from decoders.omnivl.language.heads import OmniVLHeads
from decoders.omnivl.language.vocabulary import text_tokenizer
from decoders.omnivl.schedule import Kind
from decoders.omnivl.shown import Shown
from decoders.omnivl.visual import VisualOut
from storage import BackboneSpec
from training.checkpoint import CheckpointError, load_checkpoint
from training.run import RunDirectory, RunError


@dataclass(frozen=True, kw_only=True, slots=True)
class OmniVLModel:
    """A visual module and heads, frozen and in evaluation."""

    config: PretrainConfig
    visual: nn.Module
    """From a tier's inputs to VisualOut."""
    heads: OmniVLHeads
    tier: Mapping[str, Any]
    """What the visual module sees: kind of tier, backbone, blocks."""
    checkpoint: Path
    """Where the weights come from."""
    digest: str
    """sha256 over weights, sizes and tier: equal digests see, read and write alike."""
    tokenise: Tokenizer

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.heads.log_temperature.device

    @property
    def run(self) -> Path:
        """Its run directory."""
        return self.checkpoint.parent


@runtime_checkable
class Source(Protocol):
    """Images and clips, and how a model sees them."""

    shown: Shown
    """What and where they are."""
    fingerprint: str
    """Equal fingerprints mean that the same tower saw them."""
    digest: str
    """Equal digests mean the same rows with the same values."""
    failed: dict[str, str]
    """Key to reason of what could not be seen so far."""

    def items(self, kind: Kind) -> list[Item]:
        """All images, or all clips, rows ascending; none where there are none."""
        ...

    def layout(self, kind: Kind) -> Layout:
        """How the tokens of an image, or of a clip, are laid out."""
        ...

    def seen(
        self, items: Sequence[Item], batch: int
    ) -> Generator[tuple[Sequence[Item], VisualOut], None, None]:
        """Items of one kind in batches, each with what the model sees of it, on the model's device; without
        those that turn out to have failed.
        """
        ...


See = Callable[[PretrainConfig, Mapping[str, Any]], nn.Module]
"""A run's visual module, weights yet to be loaded, from its config and its tier. Raises RunError for a tier
that it does not know."""


def bank_visual(config: PretrainConfig, tier: Mapping[str, Any]) -> nn.Module:
    """What sees a bank's tokens."""
    if tier.get("tier") != "bank":
        raise RunError(
            f"expected a run that was trained from a bank, found one of the {tier.get('tier')!r} tier, which "
            "sees no rows of a bank"
        )
    tower = BackboneSpec.from_json(tier["backbone"])
    return BankVisual(config.adapter, config.heads, width=tower.width, grid=tower.grid)


def open_model(run: Path, device: torch.device, see: See = bank_visual) -> OmniVLModel:
    """The newest checkpoint of a pre-training.

    Args:
        see: makes its visual module; another tier than the bank's brings its own.

    Raises:
        RunError: no run, one of something else, or none with a checkpoint yet.
        CheckpointError: a checkpoint that is damaged, or of another model than the run's config says.
    """
    directory = RunDirectory.read(run)
    config, tier = config_of(directory)
    path = directory.checkpoint
    if path is None:
        raise RunError(f"expected a checkpoint in {run}, found none yet; let it train on")
    visual = see(config, tier)
    heads = OmniVLHeads(config.heads)
    state = load_checkpoint(path)
    for name, module in (("visual", visual), ("heads", heads)):
        load_part(module, state, name, path)
    return OmniVLModel(
        config=config,
        visual=visual.to(device).eval().requires_grad_(False),
        heads=heads.to(device).eval().requires_grad_(False),
        tier=tier,
        checkpoint=path.resolve(),
        digest=digest_of({"visual": visual, "heads": heads}, config, tier),
        tokenise=text_tokenizer(config.heads.context, config.heads.words),
    )


def config_of(directory: RunDirectory) -> tuple[PretrainConfig, dict[str, Any]]:
    """What a pre-training was asked to do, and its tier. Raises RunError for a run of something else."""
    document = directory.document
    tier = document.get("tier")
    if not isinstance(tier, dict) or "config" not in document:
        raise RunError(
            f"expected a run of `framebank pretrain` at {directory.path}, found one of something else; name "
            "its run directory"
        )
    return PretrainConfig.from_json(directory.config), tier


def load_part(module: nn.Module, state: Mapping[str, Any], name: str, path: Path) -> None:
    """The weights under a name of a checkpoint, strictly. Raises CheckpointError."""
    if name not in state:
        raise CheckpointError(
            f"expected the weights of a pre-trained model ({name}) in {path}, found "
            f"{', '.join(map(str, state))}"
        )
    try:
        module.load_state_dict(state[name], strict=True)
    except (RuntimeError, AttributeError) as error:
        raise CheckpointError(
            f"expected weights of the run's own model in {path}, found {name} of another one "
            f"({str(error).splitlines()[-1].strip()}); put back the run's checkpoint"
        ) from error


def digest_of(modules: Mapping[str, nn.Module], config: PretrainConfig, tier: Mapping[str, Any]) -> str:
    """sha256 of all that decides what a model sees and says."""
    sizes = {name: config.to_json()[name] for name in ("heads", "adapter")}
    found = hashlib.sha256(json.dumps({**sizes, "tier": tier}, sort_keys=True).encode())
    for part, module in sorted(modules.items()):
        for name, values in sorted(module.state_dict().items()):
            found.update(f"{part}.{name} {tuple(values.shape)}".encode())
            found.update(_bytes(values))
    return found.hexdigest()


def _bytes(values: Tensor) -> bytes:
    return values.detach().cpu().contiguous().float().numpy().tobytes()
