"""On what a training from videos runs."""

from dataclasses import dataclass

from training.services import TrackerName


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """On what a training from videos runs; may change from session to session."""

    device: str = "auto"
    """auto, cpu or cuda."""
    workers: int = 0
    """Processes that train, through Ray; 0 trains in this one. Need not be as many as before."""
    gpus_per_worker: int | None = None
    """GPUs of each worker; 0 trains on CPUs, None takes one where the cluster has any."""
    decode_processes: int = 2
    """Processes that decode videos, for each one that trains."""
    log_to: tuple[TrackerName, ...] = ()
    """Services that get the log as well: wandb, mlflow."""

    def __post_init__(self) -> None:
        if self.gpus_per_worker is not None and not self.workers:
            raise ValueError("expected --workers beside --gpus-per-worker, found none; say how many")
