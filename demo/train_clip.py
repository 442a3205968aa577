"""Trains the tiny CLIP of the demo: `python -m demo.train_clip`, about an hour on one busy core.

It sees stills and captions only, painted on the fly by the painter of the clips, never a clip and never the
same still twice; whatever a decoder later makes of motion it has to make of time. All 36 pairs of shape and
colour are among the stills; the pairs that the demo holds out, it holds out of the *decoders'* training.

Loss: CLIP's symmetric cross-entropy, with one change. Captions are partial, so a caption may be true of
several stills of the batch; the painter knows which (`demo.stills.fits`), and the target is spread evenly
over all of them. Where every caption is true of its own still only, this is CLIP's loss to the letter.

Speed: nearly all of the time goes into the image tower, and most patches show nothing but background. So
most steps of the first round see only a square of 5 x 5 of the 8 x 8 patches, near the object, which halves
the time of a step (as FLIP does by dropping random patches, arXiv 2212.00794; half of a small star is no
star). Patches keep their own position vectors. Stills start large, upright and plainly described and grow
harder: without that, 400 larger steps left shapes at chance. A second round goes on with whole pictures.
Rounds hand over the weights as saved, so that each can be run alone (`--first 2`).

What it learns: colours within 100 steps, sizes, then slowly shapes. What it does not: places and the side of
the dot stay at chance in its captions and its pooled embedding, though its patch tokens hold them (decoders
tell left from right). In a batch of 96, shape and colour nearly single a still out, and little is left for
a place to explain; captions that name fewer things, or larger batches, would be the way to teach it.

Words that no caption uses: their vectors get no gradient, and are excluded from weight decay, so that AdamW
leaves them at their small initial values. An unknown word in a prompt is a faint noise instead of a wild
vector.
"""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import PatchDropout
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from demo.stills import Stills, draw_stills, fits
from demo.zero_shot import ZeroShot, normalise, zero_shot

FOLDER = Path(__file__).parent / "tiny_clip"
WEIGHTS = "open_clip_model.safetensors"

MODEL = {
    "embed_dim": 128,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "patch_size": 8, "width": 128, "layers": 4, "head_width": 32},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
PREPROCESS = {"size": 64, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bicubic"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipTraining:
    """What decides a round's weights, beside those that it starts from."""

    seed: int = 0
    """Of the training stills, and of the weights that a first round starts from."""
    steps: int = 2400
    """Optimiser steps."""
    easy: int = 1400
    """Over so many first steps the stills' hardness rises from 0 to 1; at 0 it is 1 from the start."""
    whole: int = 600
    """How many of the last steps see all patches."""
    window: int = 5
    """Side, in patches, of the square around the object that the other steps see."""
    batch: int = 96
    """Stills a step, each with one caption."""
    learning_rate: float = 1.5e-3
    """At its peak, after the warm-up; falls to 0 along a cosine."""
    warmup: int = 100
    """Steps of linear warm-up."""
    weight_decay: float = 0.05
    """Of matrices only; none on biases, norms, positions and word vectors."""
    muon: bool = False
    """Muon instead of AdamW for the matrices inside the blocks (torch 2.9 or newer). In one short trial it
    reached the loss of 250 steps after 150, for a third more time a step."""
    test_seed: int = 1_000_003
    """Of the held-out stills."""
    test_stills: int = 3600
    """How many held-out stills the reported accuracy rests on."""

    def __post_init__(self) -> None:
        if not 0 <= self.whole <= self.steps:
            raise ValueError(f"whole must lie between 0 and steps={self.steps}, found {self.whole}")
        if self.test_seed == self.seed:
            raise ValueError("test_seed must differ from seed: held-out stills must not be training stills")


ROUNDS = (
    ClipTraining(),
    ClipTraining(seed=1, steps=1500, easy=0, whole=1500, muon=True, learning_rate=1e-3, warmup=50),
)
"""The first learns what there is to see, mostly through windows; the second goes on with whole pictures."""


class Window(PatchDropout):
    """A patch dropout that keeps the class token and a square of patches around a point of each picture."""

    def __init__(self, centres: torch.Tensor, *, grid: int, side: int) -> None:
        super().__init__(prob=0.0)
        self.centres, self.grid, self.side = centres, grid, side

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1 + grid², C) to (N, 1 + side², C), around `centres` (N, 2), x and y from 0 to 1."""
        corner = (self.centres * self.grid - self.side / 2).round().long().clamp(0, self.grid - self.side)
        steps = torch.arange(self.side)
        columns, rows = corner[:, 0, None, None] + steps, corner[:, 1, None, None] + steps[:, None]
        places = (1 + rows * self.grid + columns).flatten(1)
        places = torch.cat([torch.zeros(len(places), 1, dtype=torch.long), places], dim=1)
        return x[torch.arange(len(x))[:, None], places]


def look_around(batch: Stills, config: ClipTraining, rng: np.random.Generator) -> Window:
    """A window near each still's object, off by a little, so that it does not tell the object's place."""
    stray = rng.uniform(-0.08, 0.08, (config.batch, 2))
    centres = np.stack([batch.sprites.x, batch.sprites.y], axis=1) + stray
    grid = MODEL["vision_cfg"]["image_size"] // MODEL["vision_cfg"]["patch_size"]
    return Window(torch.from_numpy(centres), grid=grid, side=config.window)


def contrastive_loss(
    image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, true: torch.Tensor
) -> torch.Tensor:
    """CLIP's loss over unit vectors (N, E) with targets spread over every true (N, N) pair."""
    logits, true = scale * image @ text.T, true.float()
    by_image = functional.cross_entropy(logits, true / true.sum(dim=1, keepdim=True))
    by_text = functional.cross_entropy(logits.T, true.T / true.T.sum(dim=1, keepdim=True))
    return (by_image + by_text) / 2


def build_optimisers(model: nn.Module, config: ClipTraining) -> list[torch.optim.Optimizer]:
    """One optimiser, or Muon and one for what is not a matrix of a block."""
    plain = ("token_embedding.weight", "positional_embedding", "visual.positional_embedding")
    named = dict(model.named_parameters())
    inner = [p for name, p in named.items() if config.muon and "resblocks" in name and p.ndim == 2]
    outer = {name: p for name, p in named.items() if not any(p is matrix for matrix in inner)}
    decayed = [p for name, p in outer.items() if p.ndim >= 2 and name not in plain]
    spared = [p for name, p in outer.items() if p.ndim < 2 or name in plain]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
    if not inner:
        return [adamw]
    muon = torch.optim.Muon(
        inner, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return [adamw, muon]


def rate(step: int, config: ClipTraining) -> float:
    """The learning rate at a step, over its peak."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    return 0.5 * (1 + math.cos(math.pi * (step - config.warmup) / (config.steps - config.warmup)))


def train(config: ClipTraining, folder: Path, console: Console, *, resume: bool = False) -> CLIP:
    """One round, from the weights in `folder` (`resume`) or afresh; it saves to `folder` as it goes."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    model, tokenizer = CLIP(**MODEL), SimpleTokenizer(context_length=MODEL["text_cfg"]["context_length"])
    if resume:
        model.load_state_dict(load_file(folder / WEIGHTS))
    optimisers = build_optimisers(model, config)
    start = time.monotonic()
    for step in range(config.steps):
        hardness = min(1.0, step / config.easy) if config.easy else 1.0
        batch = draw_stills(config.batch, rng, hardness=hardness)
        narrow = step < config.steps - config.whole
        model.visual.patch_dropout = look_around(batch, config, rng) if narrow else nn.Identity()
        for group in [group for optimiser in optimisers for group in optimiser.param_groups]:
            group["lr"] = config.learning_rate * rate(step, config)
        loss = train_step(model, tokenizer, optimisers, batch)
        if step % 50 == 49:
            seconds = time.monotonic() - start
            console.print(f"step {step + 1}/{config.steps}  loss {loss:.3f}  {seconds:.0f} s")
        if step % 400 == 399:
            console.print(evaluate(model, tokenizer, stills=360, seed=config.test_seed + 1))
            save(model, folder)
    save(model, folder)
    return model


def train_step(
    model: CLIP, tokenizer: SimpleTokenizer, optimisers: list[torch.optim.Optimizer], batch: Stills
) -> float:
    true = torch.from_numpy(fits(batch.said, batch.codes))
    pictures = normalise(batch.pictures, PREPROCESS["mean"], PREPROCESS["std"])
    image = model.encode_image(pictures, normalize=True)
    text = model.encode_text(tokenizer(batch.captions), normalize=True)
    loss = contrastive_loss(image, text, model.logit_scale.exp(), true)
    model.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, math.log(100))
    return loss.item()


def evaluate(model: CLIP, tokenizer: SimpleTokenizer, *, stills: int, seed: int) -> ZeroShot:
    """Zero-shot accuracies over whole pictures."""
    model.visual.patch_dropout = nn.Identity()
    model.eval()
    result = zero_shot(model, tokenizer, stills=stills, seed=seed)
    model.train()
    return result


def save(model: CLIP, folder: Path) -> None:
    """open_clip's own folder format, weights rounded to fp16; load with `local-dir:FOLDER`."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")


def run_round(config: ClipTraining, folder: Path, console: Console, *, resume: bool) -> None:
    """Trains, saves and measures the weights as saved; adds the round to the folder's zero_shot.json."""
    start, report = time.monotonic(), folder / "zero_shot.json"
    model = train(config, folder, console, resume=resume)
    minutes = round((time.monotonic() - start) / 60, 1)
    model.load_state_dict(load_file(folder / WEIGHTS))
    tokenizer = SimpleTokenizer(context_length=MODEL["text_cfg"]["context_length"])
    result = asdict(evaluate(model, tokenizer, stills=config.test_stills, seed=config.test_seed))
    rounds = json.loads(report.read_text())["rounds"] if resume else []
    rounds.append({"training": asdict(config), "minutes": minutes, "pair": result["pair"]})
    report.write_text(json.dumps({"zero_shot": result, "rounds": rounds}, indent=2) + "\n")
    console.print(result)


def main(folder: Path = FOLDER, first: int = 1, threads: int = 1) -> None:
    """Runs the rounds from number `first` on; all but round 1 go on from the weights in `folder`."""
    torch.set_num_threads(threads)
    for number, config in enumerate(ROUNDS[first - 1 :], start=first):
        run_round(config, folder, Console(), resume=number > 1)


if __name__ == "__main__":
    tyro.cli(main)
