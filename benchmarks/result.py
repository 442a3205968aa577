"""How every benchmark reports: one JSON line last on the screen, the same in `benchmarks/results/` with its
setting.

Figures without date, hardware and versions cannot be compared with later ones, so they are always written
beside them.
"""

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "open_clip_torch", "zarr", "ray", "numpy")


def write_result(name: str, figures: Mapping[str, Any], *, folder: Path = RESULTS) -> None:
    """Write `figures` to NAME.json in `folder` with the setting, and print them as one JSON line."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**figures, "setting": setting()}, indent=2) + "\n")
    print(json.dumps(dict(figures)))


def print_figures(title: str, figures: Mapping[str, Any]) -> None:
    """A line per figure, for people, on the error stream."""
    table = Table("figure", "value", title=title)
    for name, value in figures.items():
        table.add_row(name, str(value))
    Console(stderr=True).print(table)


def setting() -> dict[str, Any]:
    """When, on what and with which versions."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count(logical=False),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
