"""Class matrices and zero-shot scores."""

import open_clip
import pytest
import torch
from torch.nn import functional as F

from backbones.config import BackboneConfig
from backbones.errors import BackboneError
from backbones.text import (
    ACTION_TEMPLATES,
    PHOTO_TEMPLATES,
    class_matrix,
    text_embeddings,
    zero_shot_scores,
)
from backbones.weights import load_clip
from tests.small_clips import write_config

NAMES = ["apply lipstick", "archery", "yo-yo"]


@pytest.fixture
def clip(tmp_path):
    return load_clip(BackboneConfig(name=str(write_config(tmp_path / "small.json")), weights="random:0"))


@pytest.mark.parametrize("batch", [1, 5, 256])
@pytest.mark.parametrize("templates", [PHOTO_TEMPLATES, ACTION_TEMPLATES])
def test_equals_open_clips_classifier(clip, templates, batch):
    expected = open_clip.build_zero_shot_classifier(clip.model, clip.tokenizer, NAMES, templates).T
    found = class_matrix(clip, NAMES, templates, batch=batch)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(3))


def test_texts_as_they_are(clip):
    batches = list(text_embeddings(clip, NAMES, batch=2))
    assert [len(batch) for batch in batches] == [2, 1]
    torch.testing.assert_close(torch.cat(batches), class_matrix(clip, NAMES, ("{}",)))


def test_action_templates_are_openvclips_28():
    assert len(set(ACTION_TEMPLATES)) == 28
    assert {"a photo of {}.", "a example of a person {}.", "a video of a person practicing {}."} <= set(
        ACTION_TEMPLATES
    )


def test_score_is_the_mean_of_scaled_cosines():
    frames, classes = torch.randn(2, 3, 8), torch.randn(4, 8)
    classes = F.normalize(classes, dim=-1)
    expected = torch.stack(
        [
            torch.stack([50.0 * F.cosine_similarity(frame, classes) for frame in video]).mean(0)
            for video in frames
        ]
    )
    torch.testing.assert_close(zero_shot_scores(frames, classes, logit_scale=50.0), expected)


def test_mistakes(clip):
    with pytest.raises(BackboneError, match="expected class names"):
        class_matrix(clip, [])
    with pytest.raises(BackboneError, match="expected prompt templates"):
        class_matrix(clip, NAMES, ())
    with pytest.raises(BackboneError, match="expected a place"):
        class_matrix(clip, NAMES, ["a photo"])
