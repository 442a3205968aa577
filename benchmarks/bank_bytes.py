"""What int8 saves in a bank, and what it costs a decoder: logits and accuracy against float16.

    python -m benchmarks.bank_bytes [--quick]

Bytes are those of a ViT-B/16 row of 8 frames and 4 blocks. The cost is measured on the demo's drawn clips
under its tiny CLIP (`benchmarks.drawn_features`): decoders trained on float16 read the same held-out clips
from int8, and their logits and top-1 are compared; then decoders of the same seeds are trained on int8, and
their accuracy is. All but the latter is done twice, on the tokens as they are and with a large CLIP's
outliers injected (3 channels times 100, CLS times 50), on which other decoders are trained. The same decoders
judge other ways to store a byte (`benchmarks.rival_scales`).

Keys: `mb_per_clip`, `mb_per_clip_fp16` (tokens, q and k); `logit_rel_l2` and `top1_agreement`, the worst of
both tokens and both tasks (mean over seeds); `accuracy_difference`, in points, the larger of both tasks (mean
over seeds); `decoders`, `accuracy`, `schemes` and `maps` with what is behind them.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import rival_scales as rivals
from benchmarks.drawn_features import LABELS, Change, Features, World, draw_world, fit, logits, with_outliers
from benchmarks.result import write_result
from benchmarks.sample_rows import SampleRows, bank_spec
from decoders.evl import EVLDecoder
from storage import BankSpec, row_bytes
from storage.quantize import fine_channels

BARS = {"mb_per_clip": 7.4, "logit_rel_l2": 0.02, "top1_agreement": 0.995, "accuracy_difference": 0.5}
OURS = "token, channel, second digits"
Extra = Callable[[int, int], float]
"""Bytes of scales and the like that go with the levels of one block, by T · L and C."""
SCHEMES: dict[str, tuple[Change, Extra]] = {
    OURS: (rivals.two_digits, lambda n, c: 4 * (n + c) + n * fine_channels(c)),
    "token, channel": (rivals.one_digit, lambda n, c: 4 * (n + c)),
    "token, channel, balanced": (rivals.balanced, lambda n, c: 4 * (n + c)),
    "token": (rivals.per_token, lambda n, c: 4 * n),
    "channel": (rivals.per_channel, lambda n, c: 4 * c),
    "64 channels of a token": (lambda values: rivals.per_group(values, 64), lambda n, c: n * c / 16),
    "32 channels of a token": (lambda values: rivals.per_group(values, 32), lambda n, c: n * c / 8),
}
MAPS: dict[str, Change] = {
    "root": rivals.root_map,
    "linear": rivals.linear_map,
    "logarithm, 12 octaves": rivals.logarithmic_map,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """How much is drawn, trained and compared."""

    train: int = 600
    """Clips to learn from."""
    test: int = 1000
    """Clips held out; even."""
    steps: int = 240
    """Of each decoder."""
    seeds: int = 3
    """Decoders of each kind; of those for injected tokens there is one."""
    compared: int = 600
    """Held-out clips that the rivals are judged on."""


QUICK = Extent(train=160, test=160, steps=60, seeds=1, compared=160)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A decoder, and its logits (n, K) of the held-out clips from what it was trained on."""

    model: EVLDecoder
    logits: NDArray[np.float32]


Groups = Mapping[tuple[str, str], Sequence[Trained]]
"""By kind of tokens and task, the decoders of each seed."""


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description="Bytes of an int8 bank, and what they cost a decoder.")
    parser.add_argument("--quick", action="store_true", help="fewer clips, steps and seeds")
    quick: bool = parser.parse_args().quick
    torch.set_num_threads(1)  # of decoders this small, two threads do no more, and less on a busy machine
    figures = measure(QUICK if quick else Extent())
    print_table(figures)
    write_result("bank_bytes-quick" if quick else "bank_bytes", figures)


def measure(extent: Extent) -> dict[str, Any]:
    """All figures."""
    world = draw_world(extent.train, extent.test)
    worlds = {"real": world, "injected": replace(world, features=with_outliers(world.features))}
    seeds = {"real": range(extent.seeds), "injected": range(1)}
    groups = {
        (tokens, label): train_group(seen, label, extent.steps, seeds[tokens])
        for tokens, seen in worlds.items()
        for label in LABELS
    }
    stored = {tokens: int8(seen) for tokens, seen in worlds.items()}
    decoders = {
        f"{tokens} {label}": judge(group, stored[tokens].features, world.held_out)
        for (tokens, label), group in groups.items()
    }
    others = {label: train_group(stored["real"], label, extent.steps, seeds["real"]) for label in LABELS}
    accuracy = {label: accuracies(world, label, groups["real", label], others[label]) for label in LABELS}
    return {
        **sizes(),
        **worst(decoders.values()),
        "accuracy_difference": max((each["difference"] for each in accuracy.values()), key=abs),
        "decoders": decoders,
        "accuracy": accuracy,
        **compare_rivals(groups, worlds, world.held_out[: extent.compared]),
        "bars": BARS,
    }


def train_group(world: World, label: str, steps: int, seeds: Iterable[int]) -> list[Trained]:
    """A decoder for each seed."""
    models = [fit(world, label, steps=steps, seed=seed) for seed in seeds]
    return [Trained(model=model, logits=logits(model, world.features, world.held_out)) for model in models]


def int8(world: World) -> World:
    """The same from a bank of int8."""
    return replace(world, features=world.features.changed(tokens=rivals.two_digits, maps=rivals.root_map))


def judge(group: Sequence[Trained], features: Features, rows: NDArray[np.int64]) -> dict[str, float]:
    """How far the logits of `rows`, the first held-out clips, move when their features are these instead."""
    distances, agreements = [], []
    for trained in group:
        before, after = trained.logits[: len(rows)], logits(trained.model, features, rows)
        distances.append(float(np.linalg.norm(after - before) / np.linalg.norm(before)))
        agreements.append(float((after.argmax(1) == before.argmax(1)).mean()))
    return {"logit_rel_l2": round(fmean(distances), 6), "top1_agreement": round(fmean(agreements), 5)}


def worst(judged: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The largest distance and the least agreement."""
    found = list(judged)
    return {
        "logit_rel_l2": max(each["logit_rel_l2"] for each in found),
        "top1_agreement": min(each["top1_agreement"] for each in found),
    }


def accuracies(
    world: World, label: str, float16: Sequence[Trained], int8: Sequence[Trained]
) -> dict[str, Any]:
    """Accuracy, in percent and seed by seed, of decoders trained and tested on float16 and on int8."""
    targets = world.targets[label][world.held_out]
    found = {
        name: [round(100 * float((one.logits.argmax(1) == targets).mean()), 2) for one in trained]
        for name, trained in (("float16", float16), ("int8", int8))
    }
    return found | {"difference": round(fmean(found["int8"]) - fmean(found["float16"]), 2)}


def compare_rivals(
    groups: Groups, worlds: Mapping[str, World], rows: NDArray[np.int64]
) -> dict[str, dict[str, Any]]:
    """Every scheme for tokens before the first seed's decoders, every one for maps before those of motion."""
    chosen = {tokens: world.features.part(rows) for tokens, world in worlds.items()}
    every = np.arange(len(rows))
    schemes: dict[str, Any] = {}
    for name, (change, extra) in SCHEMES.items():
        changed = {tokens: features.changed(tokens=change) for tokens, features in chosen.items()}
        judged = {f"{t} {label}": judge(group[:1], changed[t], every) for (t, label), group in groups.items()}
        schemes[name] = {"mb_per_clip": megabytes(extra), **worst(judged.values()), **judged}
    maps = {
        name: judge(groups["real", "motion"][:1], chosen["real"].changed(maps=change), every)
        for name, change in MAPS.items()
    }
    return {"schemes": schemes, "maps": maps}


def spec_of(attention: str, dtype: str) -> BankSpec:
    """ViT-B/16, 8 frames, 4 blocks."""
    return bank_spec(SampleRows(clips=8), attention=attention, dtype=dtype)


def sizes() -> dict[str, float]:
    """Megabytes of a clip."""
    int8, float16 = row_bytes(spec_of("maps", "int8")), row_bytes(spec_of("qk", "float16"))
    return {"mb_per_clip": round(int8 / 1e6, 3), "mb_per_clip_fp16": round(float16 / 1e6, 3)}


def megabytes(extra: Extra) -> float:
    """A clip's, if its tokens were kept in another way."""
    spec = spec_of("maps", "int8")
    tokens, width = spec.frames * spec.tokens, spec.backbone.width
    more = extra(tokens, width) - SCHEMES[OURS][1](tokens, width)
    return round((row_bytes(spec) + len(spec.blocks) * more) / 1e6, 3)


def print_table(figures: Mapping[str, Any]) -> None:
    """The schemes beside each other, and the figures."""
    table = Table("a byte a value, scales per", "MB a clip", "logits off by", "same top-1")
    for name, found in figures["schemes"].items():
        table.add_row(
            name,
            f"{found['mb_per_clip']:.2f}",
            f"{100 * found['logit_rel_l2']:.2f} %",
            f"{100 * found['top1_agreement']:.2f} %",
        )
    console = Console()
    console.print(table)
    console.print({name: figures[name] for name in BARS} | {"accuracy": figures["accuracy"]})


if __name__ == "__main__":
    main()
