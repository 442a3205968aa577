"""What an evaluation without training is asked to do: which videos, which CLIP, and by which texts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backbones.config import Boundary, Precision
from video import Sampling, ViewPlan

Templates = Literal["action", "photo"]

OPENVCLIP_TEST = ViewPlan(
    sampling=Sampling(kind="dense", frames=8, stride=16, fps=30), temporal_views=3, resize="bilinear"
)
WHOLE_VIDEO = ViewPlan(sampling=Sampling(kind="tsn", frames=12))


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingConfig:
    """Which videos are evaluated, and which CLIP encodes them."""

    sources: tuple[str, ...] = ()
    """Lists (or a folder of class folders), each a set of its own; with a bank and none, the bank's clips."""
    root: str = ""
    """Folder that the lists' paths are relative to; by default each list's own."""
    bank: str = ""
    """Take the embeddings of this bank, whose backbone is the model; clips are matched by key."""
    split: str = ""
    """Only clips of this split, or of several (train,test: all that HMDB51's files use); empty takes all."""
    limit: int = 0
    """Only so many clips of each source, spread over it, to try things out; 0 takes all."""
    out: Path
    """Folder for the report, and for what is known so far of videos."""
    name: str = ""
    """The network, as for extract; with a bank, empty takes the bank's own."""
    weights: str = ""
    """Its weights, as for extract; with a bank, empty takes the bank's own."""
    precision: Precision = "fp32"
    """What the towers compute in."""
    window: int | None = None
    """Frames before and after that blocks see: None takes what stands beside the weights."""
    boundary: Boundary | None = None
    """What the ends of a clip see beyond it: None takes what stands beside the weights."""
    views: ViewPlan = OPENVCLIP_TEST
    """Frames and crops of each video; a bank has its own."""
    text_cache: Path | None = None
    """Folder that keeps what the text tower made of texts, for all evaluations that name it; by default
    OUT/texts."""
    device: str = "auto"
    """auto, cpu or cuda."""
    decode_processes: int = 2
    """Processes that decode videos."""

    def __post_init__(self) -> None:
        if not self.sources and not self.bank:
            raise ValueError("expected --sources, --bank or both, found neither; name the videos")
        if self.limit < 0 or self.decode_processes < 1:
            raise ValueError(
                f"expected limit from 0 and decode_processes from 1, found {self.limit} and "
                f"{self.decode_processes}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ZeroShotConfig(EncodingConfig):
    """Classify videos by the names of their classes, without any training on them."""

    classes: tuple[str, ...] = ()
    """Files of class names, one for all sources or one each; by default the lists' own or *index2cls.json."""
    protocol: Literal["each", "half", "base-novel"] = "each"
    """Every set as it is, ten draws of half of the classes, or a base and a novel set."""
    templates: Templates = "action"
    """Open-VCLIP's 28 prompts, or `a photo of a {}.` alone."""

    def __post_init__(self) -> None:
        EncodingConfig.__post_init__(self)  # super() knows the class as it was before it got slots
        if len(self.classes) not in (0, 1, len(self.sources)):
            raise ValueError(
                f"expected one file of classes, or one for each of {len(self.sources)} sources, found "
                f"{len(self.classes)}"
            )
        needed = {"half": 1, "base-novel": 2}.get(self.protocol, 0)
        found = max(1, len(self.sources))
        if needed and found != needed:
            raise ValueError(f"protocol {self.protocol} takes {needed} sources, found {found}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrievalConfig(EncodingConfig):
    """Find videos by their captions and captions by their videos, without any training on them."""

    sources: tuple[str, ...] = ()
    """Lists with captions, each a set of its own: the files of COCO, Flickr30K, MSR-VTT and DiDeMo, tables,
    tars, JSON pairs; with a bank and none, the bank's clips."""
    root: str = ""
    """Folder (or tars) where videos that a list names by id are, at any depth, and that paths of other lists
    are relative to; by default each list's own folder."""
    captions: str = ""
    """File whose captions are taken instead of the lists' own, all that it has of each video; needed where a
    list is of ids alone, such as MSRVTT_train.9k.csv."""
    paragraphs: bool = False
    """All captions of a video, in their list's order, are one text, as is usual for DiDeMo; else each is
    searched by itself."""
    scores: Literal["cosine", "mean"] = "cosine"
    """The cosine of a caption with the video, or the mean of its cosines with the video's frames."""
    views: ViewPlan = WHOLE_VIDEO
    """Frames and crops of each video, by default 12 frames spread over it, CLIP4Clip's number on MSR-VTT; a
    bank has its own."""
