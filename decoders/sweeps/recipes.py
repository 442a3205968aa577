"""Sweeps by name. The base of each is the training recipe of the same name."""

from collections.abc import Callable

from decoders.recipes import RECIPES
from decoders.sweeps.choices import Choices, Range
from decoders.sweeps.config import SearchPlan, SweepConfig


def shapes() -> SweepConfig:
    """Rate and depth of the demo's decoder, every combination.

    Command: framebank sweep shapes --bank BANK --folder FOLDER --label motion --seeds 2
    --test-split test_pairs

    Hardware: 2 CPU cores, no GPU; minutes.

    Expected: two layers at the highest rate win with 0.78 on validation clips and 0.76 on unseen shape-colour
    pairs (2 seeds), where the recipe itself, one layer at half that rate, has 0.69.
    """
    return SweepConfig(
        recipe="shapes",
        base=RECIPES["shapes"](),
        vary={"optim.lr": Choices((1e-3, 2e-3, 4e-3)), "decoder.layers": Choices((1, 2))},
        plan=SearchPlan(search="grid", halving=3, rungs=3),
    )


def k400_b16_8f() -> SweepConfig:
    """Rate, decay and dropout of EVL on Kinetics-400, ViT-B/16, 8 frames: 16 random settings, halved.

    Command: framebank sweep k400-b16-8f --bank BANK --eval-bank VAL --folder FOLDER --ray --ray-gpus 1

    Hardware: not run by us, for want of a GPU and of Kinetics. By the arithmetic of halving, 16 settings with
    3 rungs of 1 in 3 cost 16/9 + 5 (2/9) + 1 (2/3) = 3.6 full trainings; the bank is read twice to the first
    rung and once beyond.

    Expected: the published setting (lr 4e-4, decay 0.05, dropout 0.5) reaches 82.8 top-1; whether another
    does better from a bank is what this asks. Kinetics' test split has no public labels, so nothing
    is tested: the winner's validation score is that of the best of 16, and a little too good.
    """
    return SweepConfig(
        recipe="k400-b16-8f",
        base=RECIPES["k400-b16-8f"](),
        vary={
            "optim.lr": Range("log", 1e-4, 1e-3),
            "optim.weight_decay": Range("log", 1e-2, 2e-1),
            "decoder.head_dropout": Choices((0.0, 0.25, 0.5)),
        },
        plan=SearchPlan(search="random", trials=16, halving=3, rungs=3, test_split=""),
    )


SWEEPS: dict[str, Callable[[], SweepConfig]] = {"shapes": shapes, "k400-b16-8f": k400_b16_8f}
