"""The command finds the ablation and its settings."""

from pathlib import Path

import pytest

from ablations import command
from ablations.command import main


def test_the_named_ablation_runs_with_its_settings(monkeypatch):
    seen = []
    settings, _ = command.COMMANDS["evl"]
    monkeypatch.setitem(command.COMMANDS, "evl", (settings, lambda config, console: seen.append(config)))
    assert main(["evl", "--folder", "here", "--labels", "motion", "--short"]) == 0
    [config] = seen
    assert (config.folder, config.labels, config.short) == (Path("here"), ("motion",), True)


def test_help_names_the_ablations(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    assert "evl" in capsys.readouterr().out
