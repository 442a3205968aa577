"""What fits, and what is drawn of the rest."""

import pytest
import torch

from decoders.omnivl.pretraining.negatives import NOBODY, fits, hard_negatives
from decoders.omnivl.pretraining.samples import NO_CLASS


def test_what_fits_what():
    found = fits(
        ids=torch.tensor([10, 11, 12, 13, 20, 20, 21, 14]),
        classes=torch.tensor([0, 1, NO_CLASS, 1, 0, 0, 1, 2]),
        prompts=torch.tensor([False, False, False, False, True, True, True, False]),
        texts=torch.tensor([0, 1, 2, 1, 5, 5, 6, 7]),
    )
    expected = torch.tensor([
        # captions of class 0, 1, none, 1 (the second one's text), prompts of 0, 0, 1, a caption of 2
        [1, 0, 0, 0, 1, 1, 0, 0],
        [0, 1, 0, 1, 0, 0, 1, 0],
        [0, 0, 1, 0, 1, 1, 1, 0],
        [0, 1, 0, 1, 0, 0, 1, 0],
        [1, 0, 1, 0, 1, 1, 0, 0],
        [1, 0, 1, 0, 1, 1, 0, 0],
        [0, 1, 1, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 1],
    ])  # fmt: skip
    assert torch.equal(found, expected.bool())


def test_prompts_of_one_class_fit_whatever_their_words_and_ids():
    found = fits(
        ids=torch.tensor([1, 2]),
        classes=torch.tensor([4, 4]),
        prompts=torch.tensor([True, True]),
        texts=torch.tensor([0, 1]),
    )
    assert found.all()


def test_what_fits_is_never_drawn_and_the_rest_by_its_likeness():
    logits = torch.tensor([[9.0, 2.0, 0.0, 1.0]]).expand(20_000, 4)
    taboo = torch.tensor([[True, False, False, False]]).expand(20_000, 4)
    uniform = torch.arange(20_000) / 20_000
    drawn = hard_negatives(logits, taboo, uniform)
    expected = logits[0, 1:].softmax(dim=0) + 1e-4
    shares = torch.bincount(drawn, minlength=4) / 20_000
    assert shares[0] == 0
    torch.testing.assert_close(shares[1:], expected / expected.sum(), atol=2e-4, rtol=0.0)


def test_the_unlikely_can_be_drawn_and_the_ends_are_legal():
    logits = torch.tensor([[50.0, -50.0, 0.0]]).expand(3, 3)
    taboo = torch.tensor([[False, False, True]]).expand(3, 3)
    uniform = torch.tensor([0.0, 0.99999, 1 - 2.0**-24])
    assert hard_negatives(logits, taboo, uniform).tolist() == [0, 1, 1]
    first_taboo = torch.tensor([[True, False, True]])
    assert hard_negatives(logits[:1], first_taboo, torch.zeros(1)).tolist() == [1]


@pytest.mark.parametrize("number", [0.0, 0.5, 1 - 2.0**-24])
def test_rows_where_all_fits_have_none(number):
    taboo = torch.tensor([[True, True], [False, True], [True, False]])
    drawn = hard_negatives(torch.zeros(3, 2), taboo, torch.full((3,), number))
    assert drawn.tolist() == [NOBODY, 0, 1]


def test_a_row_is_drawn_alike_in_any_company():
    stream = torch.Generator().manual_seed(0)
    logits, uniform = torch.randn(8, 8, generator=stream), torch.rand(8, generator=stream)
    taboo = torch.eye(8, dtype=torch.bool)
    whole = hard_negatives(logits, taboo, uniform)
    parts = [hard_negatives(logits[part], taboo[part], uniform[part]) for part in (slice(0, 3), slice(3, 8))]
    assert torch.equal(torch.cat(parts), whole)
    assert (whole != torch.arange(8)).all()
