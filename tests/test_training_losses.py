"""A loss that is no number: what is written, what is raised, and that it survives the way from a worker."""

import json
import pickle

import pytest
import torch

from training.losses import Diverged, LossLines
from training.metrics import MetricsLog, read_metrics


def test_all_lines_up_to_the_first_that_is_no_number(tmp_path):
    seen = []
    lines = LossLines(MetricsLog(tmp_path), lambda done, values: seen.append(done))
    for step, other in enumerate([1.0, 2.0, float("nan"), 3.0], start=1):
        lines.add(step, {"loss": torch.tensor(0.5), "other": torch.tensor(other)}, 1e-3)
    with pytest.raises(Diverged, match="the loss is nan at step 3") as found:
        lines.flush()
    lines.close(complete=False)
    assert found.value.step == 3
    assert seen == [1, 2, 3]
    written = read_metrics(tmp_path / "metrics.jsonl")
    assert written[:2] == [
        {"step": 1, "loss": 0.5, "other": 1.0, "lr": 1e-3},
        {"step": 2, "loss": 0.5, "other": 2.0, "lr": 1e-3},
    ]
    assert json.dumps(written[2]["other"]) == "NaN"


def test_diverged_survives_pickling():
    found = pickle.loads(pickle.dumps(Diverged("the loss is nan", 7)))
    assert (str(found), found.step) == ("the loss is nan", 7)
