"""The EVL decoder against reference numbers, against the textbook form, and its checkpoints."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange

from backbones.maps import cross_frame_maps
from benchmarks.textbook_evl import displacement_index, textbook_logits
from decoders.config import DecoderConfig
from decoders.evl import BlockFeatures, EVLDecoder, TokenShape, load_evl_weights
from decoders.temporal import shift_and_add
from decoders.tokens import Tokens
from training.checkpoint import CheckpointError

GOLDEN = Path(__file__).parent / "golden" / "evl_tiny_full.npz"
TINY = DecoderConfig(layers=3, qkv_width=96, heads=6)
TINY_SHAPE = TokenShape(width=64, frames=4, grid=(4, 4))


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return {
            name: torch.from_numpy(arrays[name]) for name in arrays.files if arrays[name].dtype != np.uint8
        }


def golden_state(golden):
    return {name[3:]: tensor for name, tensor in golden.items() if name.startswith("sd/")}


def golden_features(golden):
    features = []
    for i in range(3):
        maps = cross_frame_maps(golden[f"dec_in/{i}/q"], golden[f"dec_in/{i}/k"])
        features.append(BlockFeatures(out=golden[f"dec_in/{i}/out"], map_prev=maps[0], map_next=maps[1]))
    return features


def golden_model(golden, config=TINY):
    model = EVLDecoder(config, TINY_SHAPE, 7).eval()
    model.load_state_dict({k: v for k, v in golden_state(golden).items() if k in model.state_dict()})
    return model


def near(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_names_and_shapes_are_the_published_ones(golden):
    own = {name: tensor.shape for name, tensor in EVLDecoder(TINY, TINY_SHAPE, 7).state_dict().items()}
    assert own == {name: tensor.shape for name, tensor in golden_state(golden).items()}


def test_b16_has_the_published_number_of_parameters():
    with torch.device("meta"):
        shape = TokenShape(width=768, frames=8, grid=(14, 14))
        model = EVLDecoder(DecoderConfig(layers=4, qkv_width=768, heads=12), shape, 400)
    assert sum(p.numel() for p in model.parameters()) == 33_183_376
    assert len(model.state_dict()) == 97


@torch.no_grad()
def build_tokens(parts):
    """All tokens of a layer before the norm, (N,T,L,C), put together from their pieces."""
    tokens, built = Tokens(parts, torch.float32), torch.full_like(parts.out, torch.nan)
    for piece in tokens.pieces():
        built[:, :, piece] = rearrange(tokens.build(piece), "p t n c -> n t p c")
    return built


def test_golden_traces_of_every_branch(golden):
    model, features = golden_model(golden), golden_features(golden)
    query = model.decoder.cls_token.expand(2, -1)
    for i, block in enumerate(features):
        parts = model.decoder.parts(i, block)
        conv = model.decoder.temporal_conv[i]
        mixed = shift_and_add(rearrange(block.out, "n t l c -> l t n c"), conv.taps) + conv.bias
        near(rearrange(mixed, "l t n c -> (n l) c t"), golden[f"trace/conv_out_NLxCxT/{i}"])
        nothing = replace(parts, out=torch.zeros_like(block.out), taps=None, added=None)
        near(build_tokens(nothing), golden[f"trace/cross_out/{i}"])
        near(rearrange(build_tokens(parts), "n t l c -> n (t l) c"), golden[f"trace/kv_in/{i}"])
        query = model.decoder.decoder_layers[i](query, parts)
        near(query, golden[f"trace/query_out/{i}"][:, 0])


def test_golden_logits_loss_and_gradients(golden):
    model = golden_model(golden)
    logits = model(golden_features(golden))
    near(logits, golden["logits"])
    loss = torch.nn.functional.cross_entropy(logits, golden["labels"])
    near(loss, golden["loss"])
    loss.backward()
    for name, parameter in model.named_parameters():
        near(parameter.grad.norm(), golden[f"grad_norm/{name}"])
        if f"grad/{name}" in golden:
            near(parameter.grad, golden[f"grad/{name}"])


@pytest.mark.parametrize("only", ["none", "conv", "pos", "cross"])
def test_golden_logits_with_single_modules(golden, only):
    flags = {
        "temporal_conv": only == "conv",
        "temporal_position": only == "pos",
        "cross_frame": only == "cross",
    }
    near(golden_model(golden, replace(TINY, **flags))(golden_features(golden)), golden[f"logits_only/{only}"])


def test_golden_displacement_index(golden):
    assert torch.equal(displacement_index((4, 4)), golden["idx_tensor"].long())


def random_case(seed):
    draw = np.random.default_rng(seed)
    frames, heads = int(draw.choice([1, 2, 3, 8, draw.integers(9, 34)])), int(draw.choice([1, 2, 4]))
    side = 6 if frames < 9 else 4
    grid = (int(draw.integers(1, side)), int(draw.integers(1, side)))
    flags = {name: bool(draw.integers(2)) for name in ("temporal_conv", "temporal_position", "cross_frame")}
    config = DecoderConfig(layers=2, qkv_width=heads * int(draw.choice([4, 12])), heads=heads, **flags)
    return (
        config,
        TokenShape(width=int(draw.choice([8, 24])), frames=frames, grid=grid),
        int(draw.integers(1, 4)),
    )


def random_features(shape, batch, layers, generator):
    patches = shape.grid[0] * shape.grid[1]
    features = []
    for _ in range(layers):
        out = torch.randn(batch, shape.frames, patches + 1, shape.width, generator=generator)
        maps = torch.randn(2, batch, shape.frames - 1, patches, patches, generator=generator).softmax(dim=-1)
        features.append(BlockFeatures(out=out, map_prev=maps[0], map_next=maps[1]))
    return features


@pytest.mark.parametrize("seed", range(200))
def test_equals_the_textbook_forward_and_backward(seed):
    config, shape, batch = random_case(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = EVLDecoder(config, shape, 5).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    features = random_features(shape, batch, config.layers, generator)
    before = [block.out.clone() for block in features]
    state = {name: p.detach().double().requires_grad_() for name, p in model.named_parameters()}
    exact = [(b.out.double(), b.map_prev.double(), b.map_next.double()) for b in features]
    expected = textbook_logits(state, exact, heads=config.heads, grid=shape.grid)
    found = model(features)
    near(found, expected.float())
    weights = torch.randn(found.shape, generator=generator)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for name, parameter in model.named_parameters():
        if state[name].grad is None:
            assert parameter.grad is None
            continue
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(
            gradient, state[name].grad.float(), atol=1e-4, rtol=1e-4, msg=lambda m, n=name: n + m
        )
    assert all(torch.equal(block.out, kept) for block, kept in zip(features, before, strict=True))


def test_bias_of_the_keys_gets_a_zero_gradient(golden):
    model = golden_model(golden)
    model(golden_features(golden)).sum().backward()
    assert model.decoder.decoder_layers[0].attn.k_proj.bias.grad.abs().max() == 0


def reverse(features):
    """The clip played backwards: the map of t to t - 1 becomes one of t to t + 1."""
    return [
        BlockFeatures(out=b.out.flip(1), map_prev=b.map_next.flip(1), map_next=b.map_prev.flip(1))
        for b in features
    ]


def test_order_of_frames_matters_only_to_the_temporal_modules(golden):
    features = golden_features(golden)
    model, blind = golden_model(golden), golden_model(golden, TINY.without_temporal())
    assert (model(features) - model(reverse(features))).abs().max() > 1e-2
    torch.testing.assert_close(blind(features), blind(reverse(features)), atol=1e-5, rtol=0)


def test_start_of_the_query_token():
    zeros = EVLDecoder(replace(TINY, cls_init="zeros"), TINY_SHAPE, 7)
    normal = EVLDecoder(TINY, TINY_SHAPE, 7)
    assert zeros.decoder.cls_token.abs().max() == 0
    assert 0.01 < normal.decoder.cls_token.std() < 0.03
    generator = torch.Generator().manual_seed(0)
    for model, silent in ((zeros, True), (normal, False)):
        model(random_features(TINY_SHAPE, 2, 3, generator)).sum().backward()
        gradient = model.decoder.decoder_layers[0].attn.q_proj.weight.grad
        assert (gradient.abs().max() == 0) == silent


def test_a_new_decoder_starts_as_the_paper_says():
    model = EVLDecoder(TINY, TINY_SHAPE, 7)
    assert all(
        table.w1.abs().max() == 0 and table.w2.abs().max() == 0 for table in model.decoder.cross_attention
    )
    assert all(position.abs().max() == 0 for position in model.decoder.temporal_pos_embed)
    assert 0.4 < model.decoder.temporal_conv[0].weight.abs().max() <= 3**-0.5
    layer = model.decoder.decoder_layers[0]
    assert layer.attn.q_proj.bias.abs().max() == 0
    assert 0 < layer.mlp.fc1.bias.abs().max() < 1e-5
    assert layer.mlp.fc1.weight.abs().max() <= (6 / (64 + 256)) ** 0.5


@pytest.mark.parametrize("prefix", ["", "module."])
def test_loads_checkpoints_of_the_reference(golden, tmp_path, prefix):
    path = tmp_path / "k400.pth"
    torch.save({"model": {prefix + k: v for k, v in golden_state(golden).items()}, "next_step": 50_000}, path)
    model = EVLDecoder(TINY, TINY_SHAPE, 7).eval()
    load_evl_weights(model, path)
    near(model(golden_features(golden)), golden["logits"])


def test_refuses_a_checkpoint_that_does_not_fit(golden, tmp_path):
    path = tmp_path / "k400.pth"
    torch.save({"model": golden_state(golden)}, path)
    with pytest.raises(CheckpointError, match=r"proj\.2\.weight is \(7, 64\), the decoder's is \(9, 64\)"):
        load_evl_weights(EVLDecoder(TINY, TINY_SHAPE, 9), path)
    with pytest.raises(CheckpointError, match="not part of this decoder"):
        load_evl_weights(EVLDecoder(TINY.without_temporal(), TINY_SHAPE, 7), path)
    with pytest.raises(CheckpointError, match="is missing"):
        load_evl_weights(EVLDecoder(replace(TINY, layers=4), TINY_SHAPE, 7), path)
    torch.save(golden_state(golden), path)
    with pytest.raises(CheckpointError, match="not an EVL checkpoint"):
        load_evl_weights(EVLDecoder(TINY, TINY_SHAPE, 7), path)


def test_says_which_features_it_misses():
    model = EVLDecoder(TINY, TINY_SHAPE, 7)
    features = random_features(TINY_SHAPE, 1, 3, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="3 blocks, one per decoder layer, found 2"):
        model(features[:2])
    with pytest.raises(ValueError, match="without them"):
        model([BlockFeatures(out=block.out) for block in features])
    short = random_features(replace(TINY_SHAPE, frames=3), 1, 3, torch.Generator().manual_seed(0))
    with pytest.raises(
        ValueError, match="expected clips of 4 frames, as the position embedding has, found 3"
    ):
        model(short)
    with pytest.raises(ValueError, match="heads must divide"):
        EVLDecoder(DecoderConfig(heads=5), TINY_SHAPE, 7)


def test_one_frame_needs_no_maps():
    model = EVLDecoder(TINY, replace(TINY_SHAPE, frames=1), 7)
    features = random_features(replace(TINY_SHAPE, frames=1), 2, 3, torch.Generator().manual_seed(0))
    assert torch.equal(model.eval()(features), model([BlockFeatures(out=block.out) for block in features]))


def test_one_frame_passes_every_temporal_module_by(golden):
    model, bare = golden_model(golden), golden_model(golden, TINY.without_temporal())
    for head in (model, bare):
        torch.nn.init.normal_(head.proj[1].weight, generator=torch.Generator().manual_seed(1))
    stills = [
        BlockFeatures(out=block.out[:, :1], map_prev=block.map_prev[:, :0], map_next=block.map_next[:, :0])
        for block in golden_features(golden)
    ]
    logits = model(stills)
    assert torch.equal(logits, bare([BlockFeatures(out=block.out) for block in stills]))
    logits.sum().backward()
    temporal = {name for name in model.state_dict() if name not in bare.state_dict()}
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert {name for name, gradient in found.items() if gradient is None} == temporal
    assert len(temporal) == 3 * 5
