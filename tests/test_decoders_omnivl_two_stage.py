"""Two stages: exact, tied, clamped; K = 1, K = N and everything between."""

import numpy as np
import pytest

from decoders.omnivl.finding import two_stage
from decoders.omnivl.finding.two_stage import Candidates, TwoStage, nearest, ranks_after


def unit(seed, count, width=8):
    values = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def drawn_judge(queries, gallery, seed=2):
    """A judge of its own mind, which counts what it is asked."""
    table = np.random.default_rng(seed).standard_normal((queries, gallery)).astype(np.float32)
    asked = []

    def judge(rows, places):
        asked.extend(zip(rows.tolist(), places.tolist(), strict=True))
        return table[rows, places]

    return judge, table, asked


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_stage_one_is_exact_in_pieces(dtype, monkeypatch):
    gallery, queries = unit(0, 50).astype(dtype), unit(1, 7)
    exact = (queries.astype(np.float64) @ gallery.astype(np.float64).T).astype(np.float32)
    whole = nearest(gallery, queries, 9)
    np.testing.assert_array_equal(whole.places, np.argsort(-exact, axis=1, kind="stable")[:, :9])
    np.testing.assert_array_equal(whole.cosines, np.take_along_axis(exact, whole.places, axis=1))
    monkeypatch.setattr(two_stage, "SCORES", 150)
    monkeypatch.setattr(two_stage, "ROWS", 7)
    pieces = nearest(gallery, queries, 9)
    np.testing.assert_array_equal(pieces.places, whole.places)
    np.testing.assert_array_equal(pieces.cosines, whole.cosines)


def test_equal_vectors_keep_their_order_and_score():
    gallery = np.concatenate([unit(0, 3)] * 40)
    found = nearest(gallery, unit(1, 1), 45)
    assert found.places[0, :40].tolist() == list(range(int(found.places[0, 0]), 120, 3))
    assert found.places[0, 40:].tolist() == list(range(int(found.places[0, 40]), 15, 3))
    assert len(np.unique(found.cosines)) == 2


def test_more_candidates_than_there_are_take_all():
    assert nearest(unit(0, 4), unit(1, 2), 128).places.shape == (2, 4)


def test_nothing_and_no_numbers_are_refused():
    with pytest.raises(ValueError, match="found nothing"):
        nearest(unit(0, 0), unit(1, 1), 3)
    with pytest.raises(ValueError, match="query vectors"):
        nearest(unit(0, 4), np.full((1, 8), np.nan, np.float32), 3)
    with pytest.raises(ValueError, match="make the index again"):
        nearest(np.full((4, 8), np.nan, np.float32), unit(1, 1), 3)
    with pytest.raises(ValueError, match="a candidate at least"):
        TwoStage(candidates=0)


@pytest.mark.parametrize("score", ["itm", "itm+sim"])
def test_all_candidates_are_the_judge_alone(score):
    gallery, queries = unit(0, 30), unit(1, 5)
    judge, table, asked = drawn_judge(5, 30)
    order = TwoStage(score=score).order(nearest(gallery, queries, 30), judge, 0.1)
    brute = table + (queries @ gallery.T / 0.1 if score == "itm+sim" else 0)
    np.testing.assert_array_equal(order.places, np.argsort(-brute, axis=1))
    assert len(asked) == len(set(asked)) == 150


def test_one_candidate_is_stage_one():
    gallery, queries = unit(0, 30), unit(1, 5)
    judge, _, asked = drawn_judge(5, 30)
    order = TwoStage(score="itm").order(nearest(gallery, queries, 1), judge, 0.1)
    np.testing.assert_array_equal(order.places, nearest(gallery, queries, 30).places[:, :1])
    assert len(asked) == 5


def test_exactly_the_candidates_are_judged():
    gallery, queries = unit(0, 30), unit(1, 5)
    judge, _, asked = drawn_judge(5, 30)
    found = nearest(gallery, queries, 4)
    order = TwoStage(score="itm").order(found, judge, 0.1)
    pairs = {(query, place) for query, row in enumerate(found.places.tolist()) for place in row}
    assert len(asked) == 20
    assert set(asked) == pairs
    np.testing.assert_array_equal(np.sort(order.places), np.sort(found.places))
    TwoStage(score="sim").order(found, judge, 0.1)
    assert len(asked) == 20


def test_equal_scores_go_by_place():
    found = Candidates(np.array([[5, 2, 9]]), np.array([[0.9, 0.8, 0.7]], np.float32))
    order = found.reordered(np.array([[1.0, 1.0, 2.0]], np.float32))
    assert order.places.tolist() == [[9, 2, 5]]
    np.testing.assert_allclose(order.cosines, [[0.7, 0.8, 0.9]])


def test_ranks_by_hand():
    order = Candidates(
        np.array([[4, 1, 7], [0, 1, 2], [3, 5, 6], [8, 9, 2]]), np.zeros((4, 3), np.float32)
    ).reordered(np.array([[3, 2, 1], [1, 1, 1], [3, 2, 1], [3, 2, 1]], np.float32))
    right = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1]], bool)
    found = ranks_after(order, right, np.array([9.0, 9.0, 7.0, 1.0]))
    assert found.tolist() == [2, 2, 7, 1]


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_judge_cannot_find_what_stage_one_has_lost(count):
    gallery, queries = unit(0, 40), unit(1, 40)
    judge, _, _ = drawn_judge(40, 40)
    found = nearest(gallery, queries, count)
    right = found.places == np.arange(40)[:, None]
    before = 1 + np.argmax(nearest(gallery, queries, 40).places == np.arange(40)[:, None], axis=1).astype(
        float
    )
    order = TwoStage(candidates=count, score="itm").order(found, judge, 0.1)
    after = ranks_after(order, order.places == np.arange(40)[:, None], before)
    assert (after == 1).sum() <= right.any(axis=1).sum() == (before <= count).sum()
    assert ((after <= count) == (before <= count)).all()
