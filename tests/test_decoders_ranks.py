"""Ranks of captions and videos: by hand, with ties, in pieces, against counting one by one."""

import pytest
import torch
from torch import Tensor

from decoders.ranks import ranks, summary


def of_scores(scores, owners, **options):
    """The ranks of a table of scores, videos by captions."""
    table = torch.tensor(scores)
    return ranks(table, torch.eye(table.shape[1]), torch.tensor(owners), **options)


def test_three_by_three_by_hand():
    by_text, by_video = of_scores([[0.9, 0.5, 0.1], [0.95, 0.4, 0.3], [0.2, 0.6, 0.35]], [0, 1, 2])
    assert by_text.tolist() == [2, 3, 1]
    assert by_video.tolist() == [1, 2, 2]
    assert summary(by_text) == {
        "recall_at_1": pytest.approx(1 / 3),
        "recall_at_5": 1.0,
        "recall_at_10": 1.0,
        "median_rank": 2.0,
        "mean_rank": 2.0,
    }
    assert summary(by_video)["mean_rank"] == pytest.approx(5 / 3)


def test_several_captions_by_hand():
    scores = [[0.5, 0.9, 0.6, 0.1, 0.2], [0.85, 0.95, 0.8, 0.1, 0.4]]
    by_text, by_video = of_scores(scores, [0, 0, 1, 1, 1])
    assert by_text.tolist() == [
        2,
        2,
        1,
        1.5,
        1,
    ]  # the fourth caption scores both videos alike
    assert by_video.tolist() == [1, 3]  # the best of a video's own, and its own do not stand in its way
    assert summary(by_text)["recall_at_1"] == pytest.approx(2 / 5)
    assert summary(by_video)["median_rank"] == 2.0


def test_recalls_count_ranks_up_to_k():
    found = summary(torch.tensor([1.0, 5.0, 5.5, 10.0, 11.0], dtype=torch.float64))
    assert found == {
        "recall_at_1": pytest.approx(0.2),
        "recall_at_5": pytest.approx(0.4),
        "recall_at_10": pytest.approx(0.8),
        "median_rank": 5.5,
        "mean_rank": pytest.approx(6.5),
    }


def test_a_model_that_says_the_same_of_everything_is_at_chance():
    by_text, by_video = of_scores([[0.5] * 8] * 4, [0, 0, 1, 1, 2, 2, 3, 3])
    assert by_text.tolist() == [2.5] * 8
    assert by_video.tolist() == [4.0] * 4
    assert summary(by_text)["recall_at_1"] == 0.0


def test_equal_captions_tie_wherever_they_stand():
    generator = torch.Generator().manual_seed(0)
    videos, texts = torch.randn(13, 512, generator=generator), torch.randn(301, 512, generator=generator)
    owners = torch.arange(301) % 13
    texts[::7] = texts[0]
    videos[5] = videos[12]
    for piece in (13, 13 * 32, 1 << 20):
        by_text, by_video = ranks(videos, texts, owners, piece=piece)
        expected_text, expected_video = one_by_one(videos, texts, owners)
        assert by_text.tolist() == expected_text
        assert by_video.tolist() == expected_video
    assert any(rank % 1 for rank in expected_text)


@pytest.mark.parametrize("seed", range(5))
def test_pieces_give_what_the_whole_gives(seed):
    generator = torch.Generator().manual_seed(seed)
    videos = torch.randint(-2, 3, (7, 4), generator=generator).float()
    texts = torch.randint(-2, 3, (23, 4), generator=generator).float()
    owners = torch.cat([torch.arange(7), torch.randint(7, (16,), generator=generator)])
    expected = one_by_one(videos, texts, owners)
    for piece in (1, 7, 20, 70, 1 << 25):
        watched = []
        found = ranks(
            videos, texts, owners, piece=piece, watch=lambda parts, to=watched: to.extend(parts) or parts
        )
        assert (found[0].tolist(), found[1].tolist()) == expected
        assert len(watched) == -(-23 // max(1, piece // 7))


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match=r"expected finite vectors, found nan or inf"):
        of_scores([[float("nan"), 1.0], [0.5, 0.5]], [0, 1])


def one_by_one(videos: Tensor, texts: Tensor, owners: Tensor) -> tuple[list[float], list[float]]:
    """The same by counting."""
    scores = (videos.double() @ texts.double().T).float().tolist()
    videos_of = owners.tolist()

    def place(own: float, rivals: list[float]) -> float:
        return 1 + sum(1.0 for one in rivals if one > own) + sum(0.5 for one in rivals if one == own)

    by_text = [
        place(scores[own][text], [row[text] for video, row in enumerate(scores) if video != own])
        for text, own in enumerate(videos_of)
    ]
    by_video = [
        place(
            max(score for score, own in zip(row, videos_of, strict=True) if own == video),
            [score for score, own in zip(row, videos_of, strict=True) if own != video],
        )
        for video, row in enumerate(scores)
    ]
    return by_text, by_video
