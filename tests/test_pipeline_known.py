"""A bank that is completed knows its tower; whatever else is asked for is asked of the tower."""

from dataclasses import replace

import pytest

from backbones.config import BackboneConfig
from pipeline.known import known_request
from pipeline.request import bank_request, load_tower
from tests.encoded_banks import draw_videos, encode_bank


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("known")
    draw_videos(folder / "videos", 2)
    return encode_bank(folder, attention="derived")


def test_the_bank_says_what_the_tower_would(config):
    spec, _ = bank_request(config, load_tower(config))
    known = known_request(config)
    assert known is not None
    assert (known.fingerprint, known.kept) == (spec.fingerprint, spec.kept)


@pytest.mark.parametrize(
    "change",
    [
        {"last_blocks": 1},
        {"attention": "none"},
        {"dtype": "int8"},
        {"last_blocks": 9},
        {"bank": ""},
    ],
    ids=str,
)
def test_what_the_bank_does_not_keep_is_asked_of_the_tower(config, change):
    assert known_request(replace(config, **change)) is None


@pytest.mark.parametrize(
    "change", [{"weights": "random:1"}, {"precision": "bf16"}, {"quick_gelu": True}], ids=str
)
def test_another_tower_is_asked_itself(config, change):
    backbone: BackboneConfig = replace(config.backbone, **change)
    assert known_request(replace(config, backbone=backbone)) is None


def test_where_there_is_no_bank_the_tower_is_asked(config, tmp_path):
    assert known_request(replace(config, bank=str(tmp_path / "new"))) is None
