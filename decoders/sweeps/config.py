"""What a sweep is asked to do: a base training, what varies, how it is searched.

A search has to be the same whenever and wherever it is run: its settings are listed before anything is
trained, from the description alone.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from decoders.config import TrainConfig
from decoders.recipes import RECIPES
from decoders.sweeps.choices import Varied, check_varied
from decoders.sweeps.fields import field_type
from training.services import TrackerName


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchPlan:
    """How the settings are searched."""

    search: Literal["grid", "random"] = "grid"
    """`grid` takes every combination of the values, `random` draws `trials` of them."""
    trials: int = 16
    """Settings that a random search draws; equal ones are drawn again."""
    search_seed: int = 0
    """Decides what is drawn."""
    seeds: int = 1
    """Seeds that each setting is trained with, the base's and those after it; their mean is compared."""
    halving: int = 0
    """Successive halving (synchronous; the idea of ASHA and Hyperband): at each rung the best 1 in so many
    settings goes on. 0 trains all of them to the end."""
    rungs: int = 3
    """Rungs of the halving, the end included: with 3 rungs and 1 in 3, they are a ninth, a third and all of
    the steps."""
    test_split: str = "test"
    """Split that the winner is tested on in the end; empty tests nothing."""

    def __post_init__(self) -> None:
        for name in ("trials", "seeds", "rungs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.halving != 0 and self.halving < 2:
            raise ValueError(f"halving must be 0 (off) or at least 2, found {self.halving}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepConfig:
    """Everything that decides a sweep's outcome, and not where things lie or on what they run."""

    recipe: str
    """Name of the training recipe that `base` comes from, for the command that repeats the winner."""
    base: TrainConfig
    """What every trial is but for what varies."""
    vary: Mapping[str, Varied] = field(default_factory=dict)
    """Dotted name of a field of TrainConfig to what it may be."""
    plan: SearchPlan = field(default_factory=SearchPlan)
    """How that is searched."""

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise ValueError(f"expected a training recipe ({', '.join(RECIPES)}), found {self.recipe!r}")
        for name, varied in self.vary.items():
            hint = field_type(TrainConfig, name)
            try:
                check_varied(hint, varied)
                if self.plan.search == "grid":
                    varied.grid()
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        vary = {name: varied.text for name, varied in self.vary.items()}
        return {"recipe": self.recipe, "base": self.base.to_json(), "vary": vary, "plan": asdict(self.plan)}


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPlaces:
    """Where a sweep reads and writes, and on what it runs; may change from one start to the next."""

    bank: str
    """The bank to train from: folder or URL."""
    folder: str
    """Folder of the sweep; made if new, gone on with if it holds the same sweep."""
    eval_bank: str = ""
    """Bank of the eval split, if another."""
    test_bank: str = ""
    """Bank of the test split, if another than that of the eval split."""
    device: str = "auto"
    """auto, cpu or cuda."""
    log_to: tuple[TrackerName, ...] = ()
    """Services that get every trial's log as well: wandb, mlflow."""
    heads: int = 8
    """Decoders that train on one read of the bank at a time; more take more memory and read less."""

    def __post_init__(self) -> None:
        if self.heads < 1:
            raise ValueError(f"heads must be at least 1, found {self.heads}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RayOptions:
    """Whether and how Ray Tune trains the groups of heads."""

    ray: bool = False
    """Let Ray Tune train the groups of heads, on all machines of a cluster. They must see the bank and the
    folder under the same path. RAY_ADDRESS names the cluster; else one that runs here, or is started."""
    ray_cpus: int = 1
    """CPU cores, and threads, of a group of heads."""
    ray_gpus: float = 0.0
    """GPUs of a group of heads; several may share one (0.5)."""
    ray_retries: int = 3
    """How often a group is begun again where its worker or machine was lost; it goes on from checkpoints."""

    def __post_init__(self) -> None:
        if self.ray_cpus < 1 or self.ray_gpus < 0 or self.ray_retries < 0:
            raise ValueError(
                "expected ray_cpus of at least 1, ray_gpus and ray_retries of at least 0, found "
                f"{self.ray_cpus}, {self.ray_gpus} and {self.ray_retries}"
            )
