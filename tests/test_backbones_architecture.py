"""Names, folders and files that describe a network."""

import json

import pytest

from backbones.architecture import find_architecture, vit_names
from backbones.errors import BackboneError
from tests.small_clips import small_config, small_model, write_config, write_folder


@pytest.mark.parametrize("name", ["ViT-B-16", "ViT-B/16", "ViT-L/14@336px", "ViT-L-14-336"])
def test_openai_and_open_clip_spelling(name):
    architecture = find_architecture(name)
    assert architecture.built_in
    assert architecture.name == name.replace("/", "-").replace("@336px", "-336")
    assert architecture.quick_gelu is None


def test_quickgelu_names_say_so():
    assert find_architecture("ViT-B-32-quickgelu").quick_gelu is True


def test_config_file(tmp_path):
    architecture = find_architecture(str(write_config(tmp_path / "small.json", quick_gelu=True)))
    assert (architecture.name, architecture.quick_gelu, architecture.built_in) == ("small", True, False)
    assert architecture.model_cfg == small_config(quick_gelu=True)


@pytest.mark.parametrize("prefix", ["", "local-dir:"])
def test_folder(tmp_path, prefix):
    folder = write_folder(tmp_path / "mine", small_model(), preprocess={"mean": [0.5, 0.5, 0.5]})
    architecture = find_architecture(prefix + str(folder))
    assert architecture.name == "mine"
    assert architecture.folder == folder
    assert architecture.preprocess_cfg == {"mean": [0.5, 0.5, 0.5]}


def test_a_stray_folder_does_not_shadow_a_name(tmp_path, monkeypatch):
    (tmp_path / "ViT-B-16").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_architecture("ViT-B-16").built_in
    with pytest.raises(BackboneError, match=r"open_clip_config\.json"):
        find_architecture("./ViT-B-16")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ViT-B-61", "near names: ViT-B-16"),
        ("vit-b-16-quickglu", "ViT-B-16-quickgelu"),
        ("nothing like it", "names look like ViT-B-16"),
        ("RN50", "found a ResNet"),
        ("ViT-B-16-SigLIP", "the timm tower vit_base_patch16_siglip_224"),
    ],
)
def test_unknown_and_tapless_names(name, said):
    with pytest.raises(BackboneError, match=said) as refusal:
        find_architecture(name)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "JSON"), ("[]", "found a list"), ('{"embed_dim": 3}', "without vision_cfg, text_cfg")],
)
def test_broken_descriptions(tmp_path, text, said):
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(BackboneError, match=said):
        find_architecture(str(tmp_path / "broken.json"))


def test_folder_with_a_timm_tower(tmp_path):
    config = small_config() | {"vision_cfg": {"timm_model_name": "vit_small_patch16_224"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    with pytest.raises(BackboneError, match="timm tower"):
        find_architecture(str(tmp_path))


def test_vit_names_hold_the_usual_ones():
    assert {"ViT-B-16", "ViT-B-32-quickgelu", "ViT-L-14-336", "ViT-bigG-14"} <= set(vit_names())
    assert not {"RN50", "ViT-B-16-SigLIP"} & set(vit_names())
