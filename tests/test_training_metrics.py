"""Scores against hand-worked ones; the log and its cut on resume."""

import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.metrics import ClassificationScores, MetricsLog, drop_lines_after, read_metrics


def test_scores_by_hand():
    scores = ClassificationScores(["a", "b", "c"])
    scores.update(torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1]]), torch.tensor([0, 1]))
    scores.update(torch.tensor([[0.1, 0.8, 0.1], [0.2, 0.5, 0.3]]), torch.tensor([1, 1]))
    found = scores.compute()
    assert found["top1"] == pytest.approx(0.75)
    assert found["top5"] == 1.0
    assert found["confusion"] == [[1, 0, 0], [1, 2, 0], [0, 0, 0]]
    assert found["per_class"]["b"] == {"accuracy": pytest.approx(2 / 3), "items": 3}
    assert found["per_class"]["c"] == {"accuracy": None, "items": 0}
    assert found["mean_class"] == pytest.approx((1 + 2 / 3) / 2)
    json.dumps(found)


def test_top5_of_many_classes():
    scores = ClassificationScores([str(i) for i in range(10)])
    scores.update(torch.arange(10.0).expand(10, 10), torch.arange(10))
    found = scores.compute()
    assert found["top1"] == pytest.approx(0.1)
    assert found["top5"] == pytest.approx(0.5)


def test_one_class_is_no_task():
    with pytest.raises(ValueError, match="at least 2 classes"):
        ClassificationScores(["only"])


def test_log_goes_on_where_the_checkpoint_stood(tmp_path):
    log = MetricsLog(tmp_path)
    for step in range(1, 6):
        log.write(step, {"loss": 1 / step})
    log.close()
    log = MetricsLog(tmp_path, done=3)
    log.write(4, {"loss": 9.0})
    log.close()
    assert [(line["step"], line["loss"]) for line in read_metrics(tmp_path / "metrics.jsonl")] == [
        (1, 1.0),
        (2, 0.5),
        (3, 1 / 3),
        (4, 9.0),
    ]
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(point.step, round(point.value, 3)) for point in board.Scalars("loss")][-1] == (4, 9.0)
    assert len(board.Scalars("loss")) == 4


def test_a_line_cut_short_is_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 1.0}\n{"step": 2, "lo')
    drop_lines_after(path, 5)
    assert path.read_text() == '{"step": 1, "loss": 1.0}\n'
    assert read_metrics(tmp_path / "none.jsonl") == []
