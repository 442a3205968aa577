"""Which fine-tunings are compared, on which videos, at which mixtures with CLIP."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from backbones.config import Boundary, Precision
from finetune.evaluation.config import OPENVCLIP_TEST, Templates
from video import ViewPlan

SHARES = tuple(tenths / 10 for tenths in range(11))


@dataclass(frozen=True, kw_only=True, slots=True)
class SetConfig:
    """A set of labelled videos."""

    source: str
    """List, folder of class folders, or tars."""
    root: str = ""
    """Folder that a list's paths are relative to; empty takes its own."""
    classes: str = ""
    """File of class names; empty takes the list's own, or *index2cls.json beside it."""
    split: str = ""
    """Only clips of this split, or of several (train,test); empty takes all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TradeoffConfig:
    """Accuracy on the classes of the training against that on new ones, from tuned weights to CLIP's own."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Finished runs of `framebank finetune`, or weight files, such as Open-VCLIP's swa_2_22.pth, that are
    not mixed with CLIP yet; a curve each."""
    closed: str
    """Videos of the classes that were trained on: a list, a folder of class folders, or tars."""
    open: tuple[str, ...]
    """Videos of other classes, likewise; the mean over several sets is what the curve shows."""
    out: Path
    """Folder for the report, and for what is known so far of videos."""
    shares: tuple[float, ...] = SHARES
    """Shares of CLIP's own weights; 0 is the tuned weights, 1 CLIP with the temporal view on."""
    labels: tuple[str, ...] = ()
    """Names of the curves; by default those of folders or files."""
    roots: tuple[str, ...] = ()
    """Folders that the lists' paths are relative to: one for all, or one each, the closed set's first; by
    default each list's own."""
    classes: tuple[str, ...] = ()
    """Files of class names, likewise; by default the lists' own, or *index2cls.json beside them."""
    splits: tuple[str, ...] = ()
    """Splits that are taken, likewise; by default all."""
    limit: int = 0
    """Only so many clips of each set, spread over it, to try things out; 0 takes all."""
    name: str = ""
    """The network of weight files; runs say theirs."""
    clip: str = ""
    """CLIP's weights that weight files were tuned from, by default openai; runs say theirs."""
    window: int | None = None
    """Frames before and after that blocks of weight files see; by default as for interpolate."""
    boundary: Boundary | None = None
    """What the ends of a clip see beyond it; likewise."""
    templates: Templates | None = None
    """Prompts for all curves; by default those that a run was trained with, action for weight files."""
    precision: Precision = "fp32"
    """What the towers compute in."""
    views: ViewPlan = OPENVCLIP_TEST
    """Frames and crops of each video; on the command line by default those that the first run was tested
    on."""
    device: str = "auto"
    """auto, cpu or cuda."""
    decode_processes: int = 2
    """Processes that decode videos."""

    def __post_init__(self) -> None:
        if not self.runs or not self.open:
            raise ValueError(
                f"expected runs to compare and sets of new classes, found {len(self.runs)} and "
                f"{len(self.open)}; name both"
            )
        for name in ("roots", "classes", "splits"):
            if len(getattr(self, name)) not in (0, 1, 1 + len(self.open)):
                raise ValueError(
                    f"expected one of {name}, or one for each of {1 + len(self.open)} sets with the closed "
                    f"one first, found {len(getattr(self, name))}"
                )
        if self.limit < 0 or self.decode_processes < 1:
            raise ValueError(
                f"expected limit from 0 and decode_processes from 1, found {self.limit} and "
                f"{self.decode_processes}"
            )
        if self.labels and len(self.labels) != len(self.runs):
            raise ValueError(
                f"expected a label for each of {len(self.runs)} runs, found {len(self.labels)}; name all"
            )
        self._check_shares()

    def _check_shares(self) -> None:
        if not self.shares or len(set(self.shares)) < len(self.shares):
            raise ValueError(f"expected shares, each once, found {self.shares}")
        if wrong := [share for share in self.shares if not 0 <= share <= 1]:
            raise ValueError(f"expected shares of CLIP's weights from 0 to 1, found {wrong[0]}")

    @property
    def sets(self) -> tuple[SetConfig, ...]:
        """All sets, the closed one first."""
        sources = (self.closed, *self.open)
        columns = [
            found * (len(sources) if len(found) == 1 else 1) or ("",) * len(sources)
            for found in (self.roots, self.classes, self.splits)
        ]
        return tuple(
            SetConfig(source=source, root=root, classes=classes, split=split)
            for source, root, classes, split in zip(sources, *columns, strict=True)
        )
