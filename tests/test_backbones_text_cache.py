"""Texts are encoded once: by a tower, across calls, commands and processes."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from backbones.config import BackboneConfig
from backbones.text import class_matrix
from backbones.text_cache import TextCache, text_digest
from backbones.weights import load_clip
from tests.small_clips import small_model, write_config, write_folder

TEXTS = ["a cat", "a dog", "a cat", "two birds"]
PROCESS = """
import sys
from pathlib import Path
import torch
from backbones.text_cache import TextCache
folder, first = Path(sys.argv[1]), int(sys.argv[2])
cache = TextCache(folder, "tower")
for start in range(first, first + 40):
    texts = [f"text {number}" for number in range(start, start + 20)]
    found = cache.encoded(texts, lambda some: torch.tensor([[float(text[5:]), 0.0] for text in some]))
    assert found[:, 0].tolist() == [float(number) for number in range(start, start + 20)]
"""


class Encoder:
    """Lengths as vectors; notes what it is asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked += texts
        return torch.tensor([[float(len(text)), 1.0] for text in texts])


def clip_of(path, seed=0, **options):
    return load_clip(BackboneConfig(name=str(write_folder(path, small_model(seed, **options), **options))))


def test_a_text_is_encoded_once(tmp_path):
    encode = Encoder()
    cache = TextCache(tmp_path, "tower")
    first = cache.encoded(TEXTS, encode)
    assert encode.asked == ["a cat", "a dog", "two birds"]
    assert first[:, 0].tolist() == [5, 5, 5, 9]
    again = TextCache(tmp_path, "tower")
    for one in (cache, again):
        torch.testing.assert_close(one.encoded(TEXTS, encode), first)
    again.encoded(["a fish", *TEXTS], encode)
    assert encode.asked == ["a cat", "a dog", "two birds", "a fish"]
    cache.encoded(["a fish"], encode)  # from what another has added since
    assert len(encode.asked) == 4
    assert {path.suffix for path in (tmp_path / "tower").iterdir()} == {".npz"}


def test_another_towers_are_not_taken(tmp_path):
    encode = Encoder()
    for tower in ("tower", "other"):
        TextCache(tmp_path, tower).encoded(TEXTS, encode)
    assert len(encode.asked) == 6


@pytest.mark.parametrize("damage", ["cut", "flip", "other", "empty"])
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    encode = Encoder()
    expected = TextCache(tmp_path, "tower").encoded(TEXTS, encode)
    [path] = (tmp_path / "tower").iterdir()
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[data.index(np.float32(9).tobytes())] ^= 1
    path.write_bytes({"cut": data[:-30], "flip": data, "other": data, "empty": b""}[damage])
    if damage == "other":
        np.savez(path, texts=np.zeros((3, 4), np.uint8), embeddings=np.zeros((3, 2), np.float32))
    with pytest.warns(UserWarning, match=r"damaged file .*encoded anew"):
        found = TextCache(tmp_path, "tower").encoded(TEXTS, encode)
    torch.testing.assert_close(found, expected)
    assert len(encode.asked) == 6
    TextCache(tmp_path, "tower").encoded(TEXTS, encode)
    assert len(encode.asked) == 6


def test_processes_share_a_folder(tmp_path):
    starts = (0, 10, 0)
    running = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(tmp_path), str(start)]) for start in starts
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    encode = Encoder()
    TextCache(tmp_path, "tower").encoded([f"text {number}" for number in range(69)], encode)
    assert not encode.asked
    assert not list((tmp_path / "tower").glob("*.tmp"))


def test_a_tower_is_told_from_others_by_all_that_decides_a_text(tmp_path):
    clip = clip_of(tmp_path / "a")
    assert text_digest(clip) == text_digest(clip_of(tmp_path / "b"))
    others = [
        clip_of(tmp_path / "c", seed=1),
        replace(clip, quick_gelu=not clip.quick_gelu),
        replace(clip, precision="bf16"),
        replace(clip, tokenizer=type(clip.tokenizer)({**clip.tokenizer.text_cfg, "merges": 100})),
    ]
    digests = {text_digest(other) for other in others}
    assert len(digests) == 4
    assert text_digest(clip) not in digests
    with torch.no_grad():
        next(clip.model.visual.parameters()).add_(1)
    assert text_digest(clip) == text_digest(clip_of(tmp_path / "b"))


def test_merges_of_a_folder_count(tmp_path):
    clip = clip_of(tmp_path / "a")
    (tmp_path / "a" / "merges.txt").write_text("one")
    options = {**clip.tokenizer.text_cfg, "tokenizer_kwargs": {"bpe_path": "merges.txt"}}
    tokenizer = type(clip.tokenizer)(options, folder=tmp_path / "a")
    before = tokenizer.settings()
    (tmp_path / "a" / "merges.txt").write_text("two")
    assert tokenizer.settings() != before


def test_a_class_matrix_is_the_same_with_a_cache(tmp_path, monkeypatch):
    clip = load_clip(BackboneConfig(name=str(write_config(tmp_path / "small.json")), weights="random:0"))
    names = ["apply lipstick", "archery", "yo-yo"]
    expected = class_matrix(clip, names)
    for _ in range(2):
        found = class_matrix(clip, names, cache=TextCache(tmp_path / "texts", text_digest(clip)))
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
        monkeypatch.setattr("backbones.text.unit_texts", None)  # the second time nothing is encoded
