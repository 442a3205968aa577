"""What an extraction is asked to do. Recipes that fill it in stand in `pipeline.recipes`."""

import os
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from backbones.config import BackboneConfig
from pipeline.decode_worker import DecodeLimits
from storage import Attention, Dtype, Kept
from video import ViewPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractConfig:
    """One extraction: which videos, seen by which tower, how often, kept where."""

    source: str
    """Folder of class folders, list file (txt or csv), captions as COCO, Flickr30K, MSR-VTT and DiDeMo
    distribute them, or webdataset tar pattern."""
    bank: str = ""
    """Folder or URL (s3://...) of the bank; made if it does not exist, completed if it does."""
    shelf: str = ""
    """In place of a bank: a folder or URL with many. The bank there with this spec is completed; if there is
    none, one is made.
    """
    grow: bool = False
    """Add to the bank what it does not keep so far (blocks, another attention); all else stays as it is."""
    redo: str = ""
    """Text file with a clip's key on each line: these clips are extracted anew."""
    root: str = ""
    """Folder that the paths of a list file are relative to, or below which what captions name is found; by
    default the list's own."""
    split: str = ""
    """Name of the split for clips whose listing names none, e.g. train or val."""
    limit: int = 0
    """Take only the first so many clips of the listing; 0 takes all."""
    backbone: BackboneConfig
    """The frozen tower."""
    last_blocks: int = 4
    """Keep the taps of the last so many blocks."""
    attention: Attention = "maps"
    """Beside the tokens keep: maps (head-averaged, of neighbouring frames), qk (per head), derived (the
    tokens and weights that q and k are computed from when read) or none.
    """
    dtype: Dtype = "float16"
    """Type of tokens: float16, or int8 with scales, which keeps maps as uint8 and is half the size."""
    views: ViewPlan
    """Which frames and crops of each clip."""
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    """What one video may cost."""
    attempts: int = 3
    """Failed videos are tried again by later runs, so often in all; then they are quarantined."""
    encoders: int = 0
    """Encoder workers; 0 means one per GPU, or one per CPU core where there is no GPU."""
    gpus_per_encoder: float = 1.0
    """Share of a GPU that an encoder takes, where there are GPUs."""
    shard_rows: int = 0
    """Rows of a shard, the unit of work and commit, fixed when the bank is made; 0 suits files of about 64
    MiB.
    """
    batch_rows: int = 8
    """Rows (of the plan's T frames each) that go through the tower at once; of images as many frames."""

    def __post_init__(self) -> None:
        for name in ("last_blocks", "attempts", "batch_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, not {getattr(self, name)}")
        for name in ("limit", "encoders", "shard_rows"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is at least 0, not {getattr(self, name)}")
        Kept(blocks=(1,), attention=self.attention, dtype=self.dtype)  # refuses what it does not know


def origin(config: ExtractConfig) -> dict[str, str]:
    """What a new bank says of its making, so that rows can be encoded again and compared."""
    backbone = anchored(config.backbone)
    return {"framebank": version("framebank"), "backbone": backbone.name, "weights": backbone.weights}


def anchored(backbone: BackboneConfig) -> BackboneConfig:
    """The backbone with its files named from the root, since workers may have another working folder."""
    name, weights = (
        os.path.abspath(given) if os.path.isabs(given) or os.path.exists(given) else given
        for given in (backbone.name, backbone.weights)
    )
    return replace(backbone, name=name if "/" in backbone.name else backbone.name, weights=weights)
