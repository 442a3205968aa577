"""Checkpoints that are either whole or absent.

A checkpoint is written to a temporary name, synced to the disk, renamed over its final name, and the folder
is synced too: a crash at any moment leaves the previous checkpoint or the new one, never half of one. The
file is a plain dict of tensors, numbers and strings, so `torch.load(..., weights_only=True)` reads it and no
code is ever unpickled. Its names are those of EVL's own checkpoints (`model`, `optimizer`, `loss_scaler`,
`next_step`), which lets the two projects read each other's weights.

There is no generator state inside: training draws its random numbers from streams seeded by (seed, step), so
the step number says all.
"""

import os
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

# what torch and pickle raise on bytes that are no checkpoint, depending on where they stumble
_DAMAGE = (
    RuntimeError,
    EOFError,
    pickle.UnpicklingError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
)
_NAME = re.compile(r"checkpoint-(\d+)\.pth")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that does not fit the model."""


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint that goes on at `step` lives: EVL's own file name."""
    return folder / f"checkpoint-{step}.pth"


def save_checkpoint(folder: Path, state: Mapping[str, Any], *, keep: int) -> Path:
    """Write `state` (with its `next_step`) into `folder`, then drop all but the newest `keep` checkpoints."""
    path = checkpoint_path(folder, state["next_step"])
    write_atomically(path, state)
    for step in list_checkpoints(folder)[:-keep]:
        checkpoint_path(folder, step).unlink(missing_ok=True)
    return path


@runtime_checkable
class Stateful(Protocol):
    """A module, an optimiser, a loss scaler: what a checkpoint keeps a state of."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


def restore_parts(path: Path, parts: Mapping[str, Stateful], device: torch.device) -> int:
    """Take over a checkpoint of the same run into each of its parts; the steps it had done.

    Raises:
        CheckpointError: a damaged file, one that lacks a part, or one of another model.
    """
    state = load_checkpoint(path, device)
    if missing := {*parts, "next_step"} - state.keys():
        raise CheckpointError(
            f"expected a checkpoint to go on from at {path}, found one without {sorted(missing)}"
        )
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"expected a checkpoint of this run's model at {path}, found one of another model "
            f"({str(error).splitlines()[-1].strip()}); put back the run's own"
        ) from error
    return state["next_step"]


def write_atomically(path: Path, state: Mapping[str, Any]) -> None:
    """torch.save to a temporary file beside `path`, sync, rename, sync the folder."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def list_checkpoints(folder: Path) -> list[int]:
    """Steps of the whole checkpoints in `folder`, oldest first; left-over temporary files don't count."""
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(match.group(1)) for match in found if match)


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from, or None where there is none yet."""
    steps = list_checkpoints(folder)
    return checkpoint_path(folder, steps[-1]) if steps else None


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The dict of a checkpoint file, read without running any code from it. Raises CheckpointError."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"expected a checkpoint at {path}, found no such file") from None
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"expected a torch checkpoint of plain tensors at {path}, found one that cannot be read "
            f"({reason}); copy it again, or save it as a plain state dict"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"expected a dict in {path}, found {type(state).__name__}")
    return state
