"""A bank of a tower with a temporal view, from the weights to a decoder: what it says, what refuses it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from backbones.config import BackboneConfig, TemporalView
from backbones.sidecar import Sidecar, write_sidecar
from backbones.weights import load_clip
from decoders.config import DecoderConfig, TrainConfig
from decoders.dataset import FeatureReader, wanted_by
from decoders.evaluate import evaluate
from decoders.evl import EVLDecoder, TokenShape
from decoders.train import train
from finetune.live import LiveEVL
from pipeline.encode import build_tower
from pipeline.known import known_request
from pipeline.recheck import Recheck, backbone_of
from pipeline.request import bank_request, load_tower
from storage import Bank, BankSpec, SpecMismatch, TemporalSpec
from storage.shelf import spec_line
from tests.encoded_banks import encode_bank
from tests.small_clips import small_model, tensors_of, write_config
from tests.small_extractions import draw_classes
from video import decode_views, list_clips

VIEW = TemporalView(window=1, boundary="zeros")


def write_weights(folder, view):
    """A weight file with settings beside it, as a config of the small network."""
    name, path = str(write_config(folder / "small.json")), folder / "w.safetensors"
    save_file(tensors_of(small_model(3)), path)
    plain = load_clip(BackboneConfig(name=name, weights=str(path)))
    write_sidecar(path, Sidecar(digest=plain.digest, quick_gelu=plain.quick_gelu, view=view))
    return BackboneConfig(name=name, weights=str(path))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Settings of an extraction whose bank is there."""
    folder = tmp_path_factory.mktemp("temporal")
    (folder / "videos").mkdir()
    draw_classes(folder / "videos", 4)
    return encode_bank(folder, backbone=write_weights(folder, VIEW), attention="derived")


def test_the_spec_says_it_and_no_other_bank_is_like_it(made):
    spec = Bank(made.bank).spec
    assert spec.backbone.temporal == TemporalSpec(window=1, boundary="zeros")
    assert BankSpec.from_json(spec.to_json()) == spec
    assert "window 1 zeros" in spec_line(spec)
    towers = [None, TemporalSpec(window=1, boundary="masked"), TemporalSpec(window=2, boundary="zeros")]
    others = [replace(spec, backbone=replace(spec.backbone, temporal=tower)) for tower in towers]
    assert len({other.fingerprint for other in (spec, *others)}) == 4
    assert "temporal" not in others[0].to_json()["backbone"]
    assert BankSpec.from_json(others[0].to_json()) == others[0]


@pytest.mark.parametrize("temporal", [{"window": 0, "boundary": "zeros"}, {"window": 1, "boundary": "x"}, 3])
def test_a_spec_with_another_view_than_there_is_is_refused(made, temporal):
    values = Bank(made.bank).spec.to_json()
    values["backbone"]["temporal"] = temporal
    with pytest.raises((ValueError, TypeError)):
        BankSpec.from_json(values)


def test_rows_encoded_again_are_the_same(made):
    bank = Bank(made.bank)
    recheck = Recheck(bank, backbone_of(bank))
    checks = list(recheck.rows(recheck.draw(3, 0)))
    assert [(check.wrong, check.unchecked) for check in checks] == [("", "")] * 3


def test_live_and_banked_decoders_agree(made):
    bank, tower = Bank(made.bank), load_clip(made.backbone).tower((2, 3))
    torch.manual_seed(0)
    shape = TokenShape(width=64, frames=3, grid=(4, 4))
    decoder = EVLDecoder(DecoderConfig(layers=2, qkv_width=32, heads=2), shape, 5).eval()
    clip = decode_views(list_clips(made.source)[1], made.views)
    first = next(line["row"] for line in bank.table.to_pylist() if line["key"].endswith("clip 2.mp4"))
    wanted = wanted_by(decoder.config, (2, 3))
    reader = FeatureReader(bank, wanted, device=torch.device("cpu"), dtype=torch.float32)
    with torch.no_grad():
        live = LiveEVL(tower, decoder)(torch.from_numpy(clip.frames))
        banked = decoder(reader.read(np.array([first, first + 1])))
    torch.testing.assert_close(banked, live, atol=2e-3 * float(live.abs().max()), rtol=0)


def test_workers_refuse_another_view(made):
    spec = Bank(made.bank).spec
    plain = replace(spec, backbone=replace(spec.backbone, temporal=None))
    with pytest.raises(SpecMismatch, match=r"temporal view of small is window 1, boundary zeros"):
        build_tower(made.backbone, plain, (3,), "cpu")


def test_a_bank_knows_its_view(made):
    known = known_request(made)
    assert known is not None
    assert known.fingerprint == bank_request(made, load_tower(made))[0].fingerprint
    same = replace(made.backbone, window=1, boundary="zeros")
    assert known_request(replace(made, backbone=same)) is not None
    for other in ({"window": 0}, {"window": 1, "boundary": "masked"}):
        assert known_request(replace(made, backbone=replace(made.backbone, **other))) is None


def test_a_decoder_trains_on_it_and_is_evaluated_on_no_plain_clips_bank(made, tmp_path):
    decoder = DecoderConfig(layers=1, qkv_width=16, heads=2)
    config = TrainConfig(decoder=decoder, steps=2, batch_size=2, split="", eval_split="")
    train(config, bank=made.bank, run=tmp_path / "run")
    report = evaluate(tmp_path / "run", bank=made.bank, split="")
    assert (report["clips"], report["views"]) == (4, 2)
    encode_bank(tmp_path, source=made.source)
    with pytest.raises(ValueError, match=r"backbone.temporal: the bank has 'nothing'.*'window': 1"):
        evaluate(tmp_path / "run", bank=str(tmp_path / "bank"), split="")
