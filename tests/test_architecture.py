"""The house's arrows: which room may import which, and which room owns which third-party package."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ROOMS: dict[str, set[str]] = {
    "storage": set(),
    "video": set(),
    "backbones": set(),
    "training": set(),
    "pipeline": {"video", "backbones", "storage", "training"},
    "decoders": {"storage", "training", "backbones"},
    "finetune": {"video", "storage", "backbones", "training", "decoders"},
    "demo": {"storage", "video", "backbones", "training", "pipeline", "decoders", "finetune"},
    "ablations": {"storage", "video", "backbones", "training", "pipeline", "decoders", "finetune", "demo"},
}

OWNERS: dict[str, set[str]] = {
    "boto3": {"storage"},
    "botocore": {"storage"},
    "obstore": {"storage"},
    "zarr": {"storage"},
    "numcodecs": {"storage"},
    "pyarrow": {"storage"},
    "google_crc32c": {"storage"},
    "blake3": {"storage"},
    "array_api_compat": {"storage"},
    "decord": {"video"},
    "av": {"video", "demo"},
    "webdataset": {"video"},
    "timm": {"video"},
    "open_clip": {"backbones", "decoders", "demo"},
    "xformers": {"backbones"},
    "torchmetrics": {"training"},
    "tensorboard": {"training"},
    "wandb": {"training"},
    "mlflow": {"training"},
    "ray": {"pipeline", "training", "decoders"},
    "matplotlib": {"demo", "ablations", "decoders", "finetune"},
}

RAY_FILES = {
    "decoders/sweeps/tune.py",
    "pipeline/engine.py",
    "pipeline/ray_probe.py",
    "training/cluster.py",
    "training/post.py",
    "training/workers.py",
}
NO_TORCH = {"storage"}


def imports_of(path: Path) -> set[str]:
    """Full names of every module that a file imports, at the top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def files() -> list[tuple[str, Path]]:
    return [(room, path) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)}


def test_there_is_something_to_walk():
    assert all(list((ROOT / room).glob("*.py")) for room in ROOMS)
    assert len(files()) > 30


@pytest.mark.parametrize(("room", "path"), files(), ids=lambda value: getattr(value, "name", value))
def test_arrows(room, path):
    others = (tops(path) & ROOMS.keys()) - {room}
    assert others <= ROOMS[room], f"{path}: {room} may not import {sorted(others - ROOMS[room])}"


@pytest.mark.parametrize(("room", "path"), files(), ids=lambda value: getattr(value, "name", value))
def test_owners(room, path):
    for package in tops(path) & OWNERS.keys():
        assert room in OWNERS[package], f"{path}: {package} belongs to {sorted(OWNERS[package])}"
    if room in NO_TORCH:
        assert "torch" not in tops(path)


def test_ray_is_imported_only_where_a_stage_is_wired():
    found = {str(path.relative_to(ROOT)) for _, path in files() if "ray" in tops(path)}
    assert found == RAY_FILES


def test_no_cycles_between_files():
    graph = {name_of(path): internal_imports(path) for _, path in files()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name in done:
            return
        for other in graph.get(name, ()):
            visit(other, (*trail, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def internal_imports(path: Path) -> set[str]:
    """Modules of the house that a file imports, as deep as they exist, its own package left out."""
    known = {name_of(other) for _, other in files()}
    found = {name for name in imports_of(path) if name in known and name != name_of(path)}
    return {name for name in found if not name_of(path).startswith(f"{name}.")}


def test_no_room_hides_a_standard_module():
    assert not sys.stdlib_module_names & (ROOMS.keys() | {"framebank"})
