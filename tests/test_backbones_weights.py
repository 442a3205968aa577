"""Loading CLIP: every source, the activation, digests, precisions, randomness."""

import hashlib

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from backbones.config import BackboneConfig
from backbones.errors import BackboneError
from backbones.weights import image_digest, load_clip
from tests.small_clips import small_model, tensors_of, write_config, write_folder, write_openai_archive


def embed(model, images):
    with torch.inference_mode():
        return model.encode_image(images)


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def config_file(tmp_path):
    return str(write_config(tmp_path / "small.json"))


def test_folder_gives_the_model_it_holds(tmp_path, images):
    model = small_model(3)
    clip = load_clip(
        BackboneConfig(name=str(write_folder(tmp_path / "tiny", model, preprocess={"mean": (0.1, 0.2, 0.3)})))
    )
    torch.testing.assert_close(embed(clip.model, images), embed(model, images), rtol=0, atol=0)
    assert (clip.name, clip.size, clip.quick_gelu) == ("tiny", (64, 64), False)
    assert clip.mean == (0.1, 0.2, 0.3)
    assert clip.std == open_clip.OPENAI_DATASET_STD
    assert not clip.model.training
    assert not any(parameter.requires_grad for parameter in clip.model.parameters())
    assert clip.logit_scale == pytest.approx(float(model.logit_scale.exp()))


def test_open_clip_reads_the_same_folder_alike(tmp_path, images):
    folder = write_folder(tmp_path, small_model(3, quick_gelu=True), quick_gelu=True)
    theirs = open_clip.create_model(f"local-dir:{folder}").eval()
    ours = load_clip(BackboneConfig(name=str(folder))).model
    torch.testing.assert_close(embed(ours, images), embed(theirs, images))


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state"])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_state_dicts(tmp_path, config_file, images, wrapper, prefix):
    model = small_model(4)
    tensors = {prefix + name: tensor for name, tensor in tensors_of(model).items()}
    torch.save({wrapper: tensors} if wrapper else tensors, tmp_path / "weights.pth")
    clip = load_clip(BackboneConfig(name=config_file, weights=str(tmp_path / "weights.pth")))
    torch.testing.assert_close(embed(clip.model, images), embed(model, images), rtol=0, atol=0)


def test_openai_archive_runs_quick_gelu(tmp_path, config_file, images):
    model = small_model(5, quick_gelu=True).half().float()
    archive = write_openai_archive(tmp_path / "clip.pt", model)
    clip = load_clip(BackboneConfig(name=config_file, weights=str(archive)))
    assert clip.quick_gelu
    torch.testing.assert_close(embed(clip.model, images), embed(model, images), rtol=0, atol=0)


def test_silent_weights_take_what_the_name_or_the_option_says(tmp_path, config_file):
    save_file(tensors_of(small_model()), tmp_path / "w.safetensors")
    weights = str(tmp_path / "w.safetensors")
    assert not load_clip(BackboneConfig(name=config_file, weights=weights)).quick_gelu
    assert load_clip(BackboneConfig(name=config_file, weights=weights, quick_gelu=True)).quick_gelu
    said = str(write_config(tmp_path / "said.json", quick_gelu=True))
    assert load_clip(BackboneConfig(name=said, weights=weights)).quick_gelu


@pytest.mark.parametrize("said", [True, False])
def test_a_contradicting_activation_is_refused(tmp_path, said):
    name = str(write_config(tmp_path / "said.json", quick_gelu=said))
    with pytest.raises(BackboneError, match=r"the activation does not fit .*the option quick_gelu"):
        load_clip(BackboneConfig(name=name, weights="random:0", quick_gelu=not said))


def test_openai_weights_refuse_gelu(tmp_path, config_file):
    archive = str(write_openai_archive(tmp_path / "clip.pt", small_model()))
    with pytest.raises(BackboneError, match="the weight file: QuickGELU; the option quick_gelu: GELU"):
        load_clip(BackboneConfig(name=config_file, weights=archive, quick_gelu=False))
    gelu = str(write_config(tmp_path / "gelu.json", quick_gelu=False))
    with pytest.raises(BackboneError, match="the model gelu: GELU"):
        load_clip(BackboneConfig(name=gelu, weights=archive))


@pytest.mark.parametrize(
    ("name", "tag", "quick_gelu"),
    [
        ("ViT-B-16", "openai", False),
        ("ViT-B-16", "laion2b_s34b_b88k", True),
        ("ViT-B-16-quickgelu", "laion400m_e32", None),
    ],
)
def test_tags_refuse_another_activation_before_any_download(name, tag, quick_gelu):
    with pytest.raises(BackboneError, match=f"the activation does not fit .the weights {tag}: "):
        load_clip(BackboneConfig(name=name, weights=tag, quick_gelu=quick_gelu))


def test_folder_weights_refuse_another_activation(tmp_path):
    folder = str(write_folder(tmp_path, small_model()))
    with pytest.raises(BackboneError, match="the description beside the weights: GELU"):
        load_clip(BackboneConfig(name=folder, quick_gelu=True))


def test_digest_is_that_of_the_image_tower_in_fp32(tmp_path, config_file):
    model = small_model(6, quick_gelu=True).half().float()
    archive = str(write_openai_archive(tmp_path / "clip.pt", model))
    (tmp_path / "flat").mkdir()
    save_file(tensors_of(model), tmp_path / "flat" / "w.safetensors")
    expected = hashlib.sha256()
    for name, tensor in sorted(model.visual.state_dict().items()):
        expected.update(f"{name} {tuple(tensor.shape)}\n".encode() + tensor.numpy().tobytes())
    configs = [
        BackboneConfig(name=config_file, weights=archive, precision="bf16"),
        BackboneConfig(name=config_file, weights=archive),
        BackboneConfig(name=config_file, weights=str(tmp_path / "flat" / "w.safetensors")),
    ]
    assert {load_clip(config).digest for config in configs} == {expected.hexdigest()}
    model.visual.proj.data[0, 0] += 1
    assert image_digest(model.visual) != expected.hexdigest()


def test_random_weights_depend_on_the_seed_only(config_file):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = load_clip(BackboneConfig(name=config_file, weights="random:7"))
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(100)
    assert load_clip(BackboneConfig(name=config_file, weights="random:7")).digest == first.digest
    assert load_clip(BackboneConfig(name=config_file, weights="random:8")).digest != first.digest


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_precisions(tmp_path, images, precision, dtype):
    model = small_model(2)
    clip = load_clip(BackboneConfig(name=str(write_folder(tmp_path, model)), precision=precision))
    assert {parameter.dtype for parameter in clip.model.parameters()} == {dtype}
    found = embed(clip.model, images.to(dtype)).float()
    torch.testing.assert_close(found, embed(model, images), rtol=0.05, atol=0.1)
    with torch.inference_mode():
        assert clip.model.encode_text(clip.tokenizer(["a cat"])).isfinite().all()


def test_non_square_tower(tmp_path):
    name = str(write_config(tmp_path / "wide.json", image_size=[64, 96]))
    clip = load_clip(BackboneConfig(name=name, weights="random:0"))
    assert clip.size == (64, 96)
    assert clip.model.visual.grid_size == (4, 6)


def test_built_in_name_with_openvclip_layout_runs_quick_gelu(tmp_path):
    """Open-VCLIP's releases say nothing of the activation; all of them come from OpenAI's weights."""
    clip = load_clip(BackboneConfig(name="ViT-S-32", weights="random:0"))
    tensors = {f"model.{name}": tensor for name, tensor in tensors_of(clip.model).items()}
    torch.save({"model_state": tensors}, tmp_path / "swa.pth")
    loaded = load_clip(BackboneConfig(name="ViT-S-32", weights=str(tmp_path / "swa.pth")))
    assert loaded.quick_gelu
    assert loaded.digest == clip.digest


def test_impossible_description(tmp_path):
    name = str(write_config(tmp_path / "odd.json", no_such_option=3))
    with pytest.raises(BackboneError, match=r"open_clip cannot build this model.*no_such_option"):
        load_clip(BackboneConfig(name=name, weights="random:0"))


def test_config_is_checked():
    with pytest.raises(BackboneError, match="name: expected"):
        BackboneConfig(name="")
