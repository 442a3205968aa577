"""Token dropout and mixup: what they do, that a batch is not touched, and that pieces change nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from decoders.augment import augmented, mixed, own_shares, seen_tokens
from decoders.config import AugmentConfig, TrainConfig
from decoders.draws import Draws
from decoders.evl import BlockFeatures

N, T, P, C, K = 8, 3, 6, 4, 5
CPU = torch.device("cpu")
BOTH = AugmentConfig(token_dropout=0.5, mixup=0.4)


def draws(rows=slice(0, N), *, step=3, seed=1):
    return Draws(seed=seed, step=step, rows=rows, total=N, device=CPU)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(N, T - 1, P, P, generator=generator).softmax(dim=-1) for _ in range(4)]
    out = [torch.randn(N, T, P + 1, C, generator=generator) for _ in range(2)]
    features = [
        BlockFeatures(out=one, map_prev=maps[2 * i], map_next=maps[2 * i + 1]) for i, one in enumerate(out)
    ]
    return features, torch.arange(N) % K


def test_all_off_hands_on_what_came(batch):
    features, targets = augmented(*batch, AugmentConfig(), draws(), K)
    assert all(found is given for found, given in zip(features, batch[0], strict=True))
    assert targets is batch[1]


def test_an_exact_share_of_patches_is_unseen_and_never_cls():
    for share in (0.1, 0.5, 0.99):
        seen = seen_tokens(torch.zeros(N, T, P + 1, C), share, draws())
        assert seen[:, :, 0].all()
        assert (~seen).sum(dim=(1, 2)).tolist() == [round(share * T * P)] * N
    assert not torch.equal(
        seen_tokens(torch.zeros(N, T, P + 1, C), 0.5, draws(step=4)),
        seen_tokens(torch.zeros(N, T, P + 1, C), 0.5, draws()),
    )


def test_every_patch_is_dropped_about_as_often():
    out = torch.zeros(N, T, P + 1, C)
    seen = torch.cat([seen_tokens(out, 0.5, draws(step=step)) for step in range(200)])
    assert (seen[:, :, 1:].float().mean(dim=0) - 0.5).abs().max() < 0.06


def test_mixup_by_hand(batch):
    features, targets = augmented(*batch, AugmentConfig(mixup=0.4), draws(), K)
    own = own_shares(0.4, draws())
    assert torch.equal(own[0::2], own[1::2])
    for i, j in ((0, 1), (1, 0), (6, 7)):
        s = own[i]
        for found, given in zip(features, batch[0], strict=True):
            for name in ("out", "map_prev", "map_next"):
                one, other = getattr(given, name)[i], getattr(given, name)[j]
                torch.testing.assert_close(getattr(found, name)[i], s * one + (1 - s) * other)
        expected = s * F.one_hot(batch[1][i], K) + (1 - s) * F.one_hot(batch[1][j], K)
        torch.testing.assert_close(targets[i], expected)
    torch.testing.assert_close(features[0].map_prev.sum(dim=-1), torch.ones(N, T - 1, P))


def test_the_loss_of_mixed_targets_is_the_mixture_of_losses(batch):
    logits, own = torch.randn(N, K, generator=torch.Generator().manual_seed(1)), own_shares(0.4, draws())
    _, targets = augmented(*batch, AugmentConfig(mixup=0.4), draws(), K)
    partners = batch[1].unflatten(0, (-1, 2)).flip(1).flatten()
    losses = [F.cross_entropy(logits, y, label_smoothing=0.1, reduction="none") for y in (batch[1], partners)]
    found = F.cross_entropy(logits, targets, label_smoothing=0.1)
    torch.testing.assert_close(found, (own * losses[0] + (1 - own) * losses[1]).mean())


def test_shares_follow_their_beta_distribution():
    shares = np.concatenate([own_shares(0.4, draws(step=step))[::2].numpy() for step in range(300)])
    assert abs(shares.mean() - 0.5) < 0.03
    assert abs(shares.var() - 1 / (4 * (2 * 0.4 + 1))) < 0.01


def test_pieces_draw_what_the_whole_batch_draws(batch):
    whole, targets = augmented(*batch, BOTH, draws(), K)
    for rows in (slice(0, 2), slice(2, 8)):
        piece = [
            replace(b, out=b.out[rows], map_prev=b.map_prev[rows], map_next=b.map_next[rows])
            for b in batch[0]
        ]
        found, soft = augmented(piece, batch[1][rows], BOTH, draws(rows), K)
        assert torch.equal(soft, targets[rows])
        for left, right in zip(found, whole, strict=True):
            for name in ("out", "map_prev", "map_next", "seen"):
                assert torch.equal(getattr(left, name), getattr(right, name)[rows])


def test_the_batch_is_left_as_it_was(batch):
    before = [block.out.clone() for block in batch[0]]
    augmented(*batch, BOTH, draws(), K)
    assert all(torch.equal(block.out, copy) for block, copy in zip(batch[0], before, strict=True))
    assert all(block.seen is None for block in batch[0])


def test_without_maps_and_in_half_precision(batch):
    blocks = [BlockFeatures(out=block.out.bfloat16()) for block in batch[0]]
    features, _ = augmented(blocks, batch[1], BOTH, draws(), K)
    assert features[0].out.dtype == torch.bfloat16
    assert features[0].map_prev is None
    expected = mixed(batch[0][0].out, own_shares(0.4, draws()))
    torch.testing.assert_close(features[0].out.float(), expected, atol=0.05, rtol=0.05)


def test_layers_that_share_a_block_share_its_mixture(batch):
    blocks = [batch[0][0], batch[0][1], batch[0][0]]
    features, _ = augmented(blocks, batch[1], AugmentConfig(mixup=0.4), draws(), K)
    assert features[0].out is features[2].out
    assert not torch.equal(features[0].out, features[1].out)


def test_odd_pieces_are_refused(batch):
    with pytest.raises(ValueError, match="expected pieces of whole pairs, found rows 0 to 2"):
        augmented(*batch, BOTH, draws(slice(0, 3)), K)
    with pytest.raises(ValueError, match=r"pieces of an even number, found 3 \(batch_size 6 in 2\)"):
        TrainConfig(batch_size=6, batch_split=2, augment=BOTH)
    for wrong in ({"token_dropout": 1.0}, {"mixup": -0.1}, {"token_dropout": -0.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            AugmentConfig(**wrong)
