"""The picture has a row for every decoder and a dot for every seed."""

import pytest
from matplotlib.image import imread

from ablations import plots
from ablations.plots import places_of, plot_accuracies
from tests.test_ablations_table import figures_of


def test_questions_stand_apart_and_rows_follow_each_other():
    questions = [{"name": "a", "rows": {"x": {}, "y": {}}}, {"name": "b", "rows": {"x": {}}}]
    places = places_of(questions)
    assert list(places) == [("a", "x"), ("a", "y"), ("b", "x")]
    first, second, third = places.values()
    assert second - first == 1
    assert third - second == pytest.approx(plots.GAP)


def test_every_seed_is_drawn(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        plots.Figure, "savefig", lambda figure, path, **_: drawn.append([axes.lines for axes in figure.axes])
    )
    plot_accuracies(tmp_path / "none.png", figures_of(missing={("two", 2)}))
    assert len(drawn[0]) == 2
    for lines in drawn[0]:
        dots = [line for line in lines if line.get_marker() == "o"]
        assert [len(line.get_xdata()) for line in dots] == [3, 2]
        assert max(dots[0].get_xdata()) == 54


def test_the_picture_is_written(tmp_path):
    plot_accuracies(tmp_path / "some.png", figures_of())
    height, width, _ = imread(tmp_path / "some.png").shape
    assert width > height > 150
