"""The demo does what it claims: its figures, their margins over three seeds, its report."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from demo.command import APPEARANCE, NO_TEMPORAL, TEMPORAL, DemoConfig, decoder_config, run_demo
from demo.report import result_lines, show_table

FIGURES = {
    "appearance": {"top1": 0.9, "chance": 0.03, "clips": 10},
    "motion": {
        "top1_temporal": 0.8,
        "top1_no_temporal": 0.4,
        "top1_temporal_seen_pairs": 0.85,
        "top1_no_temporal_seen_pairs": 0.45,
        "chance": 0.08,
        "clips": 10,
    },
    "rows": 5,
    "bytes_per_row": 1_000_000,
    "seconds": {"draw": 1.0, "total": 1.0},
}


def quiet() -> Console:
    return Console(file=StringIO(), width=160)


def test_the_decoders_differ_only_in_what_is_compared():
    config = DemoConfig()
    look, move, blind = (decoder_config(config, name) for name in (APPEARANCE, TEMPORAL, NO_TEMPORAL))
    assert replace(look, label="motion") == blind
    assert replace(move, decoder=move.decoder.without_temporal()) == blind
    assert not any((blind.decoder.temporal_conv, blind.decoder.temporal_position, blind.decoder.cross_frame))
    assert look.split == "train"


def test_the_table_names_every_figure():
    console = quiet()
    show_table(console, FIGURES)
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    for _, _, _, top1, chance in result_lines(FIGURES):
        assert f"{top1:.3f}" in text
        assert f"{chance:.3f}" in text
    assert "5 rows of 1.00 MB" in text


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_the_demo_shows_holds_over_three_seeds(ray_cluster, tmp_path):
    found = [run_demo(DemoConfig(folder=tmp_path / str(seed), seed=seed), quiet()) for seed in range(3)]
    margins = [one["motion"]["top1_temporal"] - one["motion"]["top1_no_temporal"] for one in found]
    assert sum(margins) / 3 >= 0.15
    assert all(one["appearance"]["top1"] >= 0.9 for one in found)
    check_folder(tmp_path / "0", found[0])


def check_folder(folder: Path, figures: dict) -> None:
    """demo.json is what was returned, and the report's pictures are there."""
    assert json.loads((folder / "demo.json").read_text()) == json.loads(json.dumps(figures))
    report = (folder / "report.md").read_text()
    for picture in ("videos.png", "curves.png", "confusion.png"):
        assert picture in report
        assert (folder / picture).stat().st_size > 5000
