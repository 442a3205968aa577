"""Settings of OmniVL's pre-training; the sizes that the paper names where it names any.

What is not known of the paper (momentum, queue, widths of the sphere) is BLIP's, which it says it follows.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from decoders.omnivl.language.vocabulary import MERGES, Words
from decoders.omnivl.schedule import ScheduleConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadsConfig:
    """Text encoder, alignment decoder and generation decoder: what moves between the tiers."""

    width: int = 512
    """D, channels of texts and of the visual tokens that are looked at."""
    heads: int = 8
    """Attention heads of every block."""
    embed: int = 256
    """E, width of the sphere on which images, clips and texts are compared."""
    text_layers: int = 6
    """Blocks of the text encoder."""
    align_layers: int = 6
    """Blocks of the alignment decoder, each with a look at the visual tokens."""
    generate_layers: int = 6
    """Blocks of the generation decoder, likewise."""
    context: int = 32
    """Most tokens of a text, with those that begin and end it; longer ones are cut."""
    merges: int = MERGES
    """Byte pairs of CLIP's vocabulary that texts are made of, the most frequent first; fewer make a smaller
    table of tokens and longer texts."""
    temperature: float = 0.07
    """What cosines are divided by when training begins; it is learned."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"expected a width that {self.heads} heads share, found {self.width}")
        if min(self.text_layers, self.align_layers, self.generate_layers, self.embed) < 1 or self.context < 4:
            raise ValueError(f"expected layers and embed from 1 and a context from 4, found {self}")
        if not 0 <= self.merges <= MERGES:
            raise ValueError(f"expected merges from 0 to {MERGES}, found {self.merges}")
        if not TEMPERATURES[0] <= self.temperature <= TEMPERATURES[1]:
            raise ValueError(f"expected a temperature within {TEMPERATURES}, found {self.temperature}")

    @property
    def words(self) -> Words:
        """The vocabulary."""
        return Words(merges=self.merges)


TEMPERATURES = (0.001, 0.5)
"""Bounds of the learned temperature, as BLIP's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterConfig:
    """What turns a bank's frozen tokens into what heads see."""

    blocks: int = 1
    """How many of the bank's last blocks are read."""
    layers: int = 2
    """Divided space-time blocks on top of them, of the heads' width."""
    heads: int = 8
    """Attention heads of these."""
    pool: int = 1
    """Side of the squares of patches that are averaged to one token first; 1 keeps every patch."""
    frames: int = 8
    """T of videos, as in the bank; positions in time are as many."""

    def __post_init__(self) -> None:
        if min(self.blocks, self.pool, self.frames, self.heads) < 1 or self.layers < 0:
            raise ValueError(f"expected blocks, pool, frames and heads from 1, layers from 0, found {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveConfig:
    """UniVLC + matching + language modelling."""

    positives: Literal["mean", "sum"] = "mean"
    """How the positives of a sample count: as one, shared evenly (UniCL, ALBEF), or each as one."""
    queue: int = 57_600
    """Past embeddings that are negatives (and positives of equal id) beside the batch; 0 keeps none."""
    momentum: float = 0.995
    """Of the copies that embed for the queue: their share of themselves at each step."""
    matching: float = 1.0
    """Weight of the matching loss; 0 leaves it and its pass out."""
    generation: float = 1.0
    """Weight of the captions' loss; 0 leaves it and its pass out."""
    smoothing: float = 0.1
    """Label smoothing of captions."""
    negatives_from: int = 0
    """Samples side by side that find hard negatives among each other; 0 takes the whole batch. They
    go through together: name a number that divides a process's piece where batches are shared or split."""
    caption_prompts: bool = False
    """Whether prompts of class names are learned as captions, too."""
    label_share: float = 0.25
    """Of samples with both a class and a caption: how often the class is taken, as a prompt."""

    def __post_init__(self) -> None:
        if not (0 <= self.momentum < 1 and 0 <= self.smoothing < 1 and 0 <= self.label_share <= 1):
            raise ValueError(f"expected momentum, smoothing and label_share within [0, 1), found {self}")
        if min(self.queue, self.matching, self.generation, self.negatives_from) < 0:
            raise ValueError(f"expected queue, weights and negatives_from from 0, found {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig:
    """One pre-training: everything that decides the losses, and not where things lie or on what they run."""

    heads: HeadsConfig = field(default_factory=HeadsConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    split: str = "train"
    """Clips to learn from; empty takes all."""
    label: str = "label"
    """Set of labels whose classes are made prompts: `label`, an attribute of the clips, or empty for none."""
    image_prompts: tuple[str, ...] = ("a photo of a {}.", "a picture of a {}.", "{}.")
    """Prompts of an image's class."""
    video_prompts: tuple[str, ...] = ("a video of {}.", "a video of a {}.", "{}.")
    """Prompts of a video's class."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """What the passes compute in, by autocast; weights, contrast and sums stay fp32."""
    clip_norm: float = 1.0
    """Largest norm of all gradients together; 0 leaves them."""
    batch_split: int = 1
    """Pieces a process cuts its part of a batch into to save memory."""
    seed: int = 0
    """Of initial weights, order and draws."""
    log_every: int = 20
    """Steps between two writes of the log."""
    save_every: int = 1000
    """Steps between two checkpoints."""
    keep: int = 2
    """Checkpoints that stay."""

    def __post_init__(self) -> None:
        if min(self.log_every, self.save_every, self.keep, self.batch_split) < 1:
            raise ValueError(f"expected log_every, save_every, keep and batch_split from 1, found {self}")
        for prompt in (*self.image_prompts, *self.video_prompts):
            if "{}" not in prompt:
                raise ValueError(f"expected a place {{}} for the class in every prompt, found {prompt!r}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` turns them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "PretrainConfig":
        """The config that `to_json` turned into plain values."""
        kinds = {"heads": HeadsConfig, "adapter": AdapterConfig, "objective": ObjectiveConfig}
        parts: dict[str, Any] = {name: kind(**values[name]) for name, kind in kinds.items()}
        parts["schedule"] = ScheduleConfig.from_json(values["schedule"])
        prompts: dict[str, Any] = {name: tuple(values[name]) for name in ("image_prompts", "video_prompts")}
        return cls(**(values | parts | prompts))
