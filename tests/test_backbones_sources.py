"""Where weights come from: tags, files, folders, seeds."""

import json
import os
import subprocess
import sys

import pytest

from backbones.architecture import find_architecture
from backbones.errors import BackboneError
from backbones.sources import find_weights
from tests.small_clips import small_model, write_config, write_folder

VIT = find_architecture("ViT-B-16")


def test_random_needs_a_seed():
    assert find_weights(VIT, "random:17").seed == 17
    for wrong in ("random:", "random:-1", "random:1.5", "random:one", "random:99999999999999999999"):
        with pytest.raises(BackboneError, match="random:SEED"):
            find_weights(VIT, wrong)


def test_no_weights_is_refused_for_a_name():
    with pytest.raises(BackboneError, match=r"no weights given; expected a tag .openai, .*random:SEED"):
        find_weights(VIT, "")


@pytest.mark.parametrize(
    ("tag", "said"), [("opanai", "near tags: openai"), ("/no/such/file.pt", "nor a file")]
)
def test_unknown_tag_or_missing_file(tag, said):
    with pytest.raises(BackboneError, match=said):
        find_weights(VIT, tag)


def test_tags_know_their_activation_and_are_not_downloaded_yet():
    openai, laion = find_weights(VIT, "openai"), find_weights(VIT, "laion2b_s34b_b88k")
    assert (openai.tag, openai.path, openai.quick_gelu) == ("openai", None, True)
    assert laion.quick_gelu is False
    assert laion.preprocess_cfg["mean"]


def test_folder_brings_its_own(tmp_path):
    folder = write_folder(tmp_path, small_model(), quick_gelu=True, preprocess={"std": [1, 1, 1]})
    source = find_weights(find_architecture(str(folder)), "")
    assert source.path == folder / "open_clip_model.safetensors"
    assert source.quick_gelu is True
    assert source.preprocess_cfg == {"std": [1, 1, 1]}


def test_folder_without_weights(tmp_path):
    folder = write_folder(tmp_path, small_model())
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(BackboneError, match=r"expected weights in open_clip_model\.safetensors"):
        find_weights(find_architecture(str(folder)), "")


def test_config_file_needs_weights(tmp_path):
    with pytest.raises(BackboneError, match=r"no weights given"):
        find_weights(find_architecture(str(write_config(tmp_path / "small.json"))), "")


@pytest.mark.parametrize(
    ("config", "activation"),
    [
        ({"model_type": "clip", "vision_config": {"hidden_act": "gelu"}}, False),
        ({"model_type": "clip", "vision_config": {}}, True),
        ({"model_type": "bert"}, None),
    ],
)
def test_transformers_config_beside_the_file_tells_the_activation(tmp_path, config, activation):
    (tmp_path / "model.safetensors").write_bytes(b"-")
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert find_weights(VIT, str(tmp_path / "model.safetensors")).quick_gelu is activation


def test_failed_download_is_one_line(tmp_path):
    """The hub's client, forbidden to use the network, with an empty cache."""
    code = (
        "from backbones.weights import *\n"
        "try: load_clip(BackboneConfig(name='ViT-B-16', weights='laion2b_s34b_b88k'))\n"
        "except ValueError as error: print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=240
    )
    assert run.stdout.startswith("could not download the weights 'laion2b_s34b_b88k' of ViT-B-16:")
    assert run.stdout.strip().endswith("download them elsewhere and give the file as weights")
    assert run.stdout.count("\n") == 1
