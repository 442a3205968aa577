"""The benchmark of the decoder's step, run small."""

from dataclasses import replace

import torch

from benchmarks.decoder_step import QUICK, Case, measure, memory


def test_both_forms_learn_the_same():
    case = Case(QUICK)
    expected = case.textbook()
    gradients = {name: p.grad for name, p in case.model.named_parameters()}
    torch.testing.assert_close(case.ours(case.features(torch.float32)), expected, atol=1e-4, rtol=0)
    for name, parameter in case.model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-4, rtol=1e-4)


def test_measures_ratios_and_the_limit():
    figures = measure(replace(QUICK, rounds=1))
    assert figures["bf16_bytes_per_step"] * 2 == figures["bytes_per_step"]
    assert figures["bf16_logits_difference"] < 0.05
    assert figures["fp32_over_textbook"] > 0
    assert figures["step_over_limit"] > 1


def test_measures_peaks_in_children():
    assert memory(quick=True)["peak_memory_ratio"] > 0
