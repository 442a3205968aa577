"""The benchmark of int8, run small: every figure is there, and bytes are those of the layout."""

import numpy as np
import pytest

from benchmarks.bank_bytes import BARS, MAPS, OURS, SCHEMES, Extent, Trained, judge, measure, megabytes, sizes
from benchmarks.drawn_features import LABELS, draw_world, fit, logits

SMALL = Extent(train=12, test=8, steps=2, seeds=2, compared=6)


def test_every_figure_is_there():
    figures = measure(SMALL)
    assert figures.keys() >= BARS.keys()
    decoders = figures["decoders"]
    assert decoders.keys() == {f"{tokens} {task}" for tokens in ("real", "injected") for task in LABELS}
    assert figures["logit_rel_l2"] == max(each["logit_rel_l2"] for each in decoders.values())
    assert figures["top1_agreement"] == min(each["top1_agreement"] for each in decoders.values())
    assert 0 < figures["logit_rel_l2"] < BARS["logit_rel_l2"]
    assert figures["schemes"].keys() == SCHEMES.keys()
    assert figures["schemes"][OURS]["logit_rel_l2"] < figures["schemes"]["channel"]["logit_rel_l2"]
    assert figures["maps"].keys() == MAPS.keys()
    for label in LABELS:
        found = figures["accuracy"][label]
        assert len(found["float16"]) == len(found["int8"]) == SMALL.seeds
        difference = np.mean(found["int8"]) - np.mean(found["float16"])
        assert found["difference"] == pytest.approx(difference, abs=0.01)


def test_megabytes_of_a_clip():
    tokens, maps, pooled = 4 * 8 * 197 * 768, 4 * 2 * 7 * 196 * 196, 8 * 512 * 2
    scales = 4 * 4 * (8 * 197 + 768 + 2 * 7 * 196)
    one_digit = tokens + maps + scales + pooled
    assert sizes()["mb_per_clip"] * 1e6 == pytest.approx(one_digit + 4 * 8 * 197 * 8, abs=1000)
    assert sizes()["mb_per_clip_fp16"] * 1e6 == pytest.approx(3 * 2 * tokens + pooled, abs=1000)
    assert megabytes(SCHEMES[OURS][1]) == sizes()["mb_per_clip"]
    assert megabytes(SCHEMES["token, channel"][1]) * 1e6 == pytest.approx(one_digit, abs=1000)
    per_group = one_digit + 4 * 4 * 8 * 197 * (768 // 32 - 1) - 4 * 4 * 768
    assert megabytes(SCHEMES["32 channels of a token"][1]) * 1e6 == pytest.approx(per_group, abs=1000)


def test_other_features_are_seen_and_the_same_are_not():
    world = draw_world(12, 8)
    model = fit(world, "motion", steps=2, seed=0)
    group = [Trained(model=model, logits=logits(model, world.features, world.held_out))]
    same = judge(group, world.features, world.held_out)
    assert same == {"logit_rel_l2": 0, "top1_agreement": 1}
    other = judge(group, world.features.changed(tokens=lambda values: values * 1.5), world.held_out)
    assert other["logit_rel_l2"] > 0.01
