from dataclasses import replace

import numpy as np
import pytest
import torch

from decoders.draws import Draws
from decoders.omnivl.config import HeadsConfig, ObjectiveConfig, PretrainConfig
from decoders.omnivl.pretraining.order import SampleOrder
from decoders.omnivl.pretraining.samples import CLASS_IDS, class_names, samples_of
from decoders.omnivl.pretraining.wording import Wording, number_of
from decoders.omnivl.schedule import ScheduleConfig
from training.team import Team

LINES = [
    {"label": 1, "class_name": "red_star", "captions": ["one", "two"], "attributes": []},
    {"label": -1, "class_name": "", "captions": ["three"], "attributes": [("where", "left")]},
    {"label": 0, "class_name": "ball", "captions": [], "attributes": []},
    {"label": -1, "class_name": "", "captions": [" "], "attributes": []},
]
ROWS = np.array([[7, 8], [3, 4], [10, 11], [20, 21]])


def found(kind="image", label="label"):
    return samples_of(LINES, ROWS, kind=kind, label=label, names=class_names(LINES, label))


def config(**objective):
    schedule = ScheduleConfig(
        schedule="image_only", image_steps=10, joint_steps=0, image_batch=12, video_batch=6
    )
    values = {"negatives_from": 3} | objective
    return PretrainConfig(heads=HeadsConfig(), objective=ObjectiveConfig(**values), schedule=schedule)


def draws(total=12, rows=slice(0, 12), step=0):
    return Draws(seed=0, step=step, rows=rows, total=total, device=torch.device("cpu"))


def letters(texts):
    return torch.tensor([[ord(text[0])] for text in texts])


def test_clips_without_any_text_are_left_out_and_counted():
    samples = found()
    assert samples.names == ("ball", "red star")
    assert samples.classes.tolist() == [1, -1, 0]
    assert samples.captions == (("one", "two"), ("three",), ())
    assert samples.ids.tolist() == [7, 3, 10]
    assert samples.textless == 1


def test_classes_may_come_from_an_attribute_or_from_nowhere():
    assert found(label="where").classes.tolist() == [-1, 0]
    assert found(label="").names == ()


def test_no_text_at_all_is_refused():
    with pytest.raises(ValueError, match="captions or classes to learn from"):
        samples_of(LINES[3:], ROWS[3:], kind="video", label="label", names=())


def test_a_sample_brings_its_class_or_a_caption_and_the_id_of_that():
    wording = Wording(found(), config(label_share=0.5), letters)
    seen = set()
    for step in range(20):
        texts = wording.texts(np.array([0, 1, 2]), draws(3, slice(0, 3), step))
        named = texts.ids >= CLASS_IDS
        assert torch.equal(named, texts.prompts)
        assert texts.ids[2] == CLASS_IDS  # it has nothing but a class
        assert texts.ids[1] == 3  # nor this one anything but a caption
        assert texts.classes.tolist() == [1, -1, 0]
        seen.add((bool(named[0]), chr(texts.tokens[0])))
    assert {named for named, _ in seen} == {True, False}
    assert {letter for named, letter in seen if not named} == {"o", "t"}


def test_texts_belong_to_places_in_the_whole_batch():
    wording, numbers = Wording(found(), config(), letters), np.array([0, 1, 2] * 4)
    whole = wording.texts(numbers, draws())
    part = wording.texts(numbers[4:8], draws(rows=slice(4, 8)))
    assert torch.equal(whole[slice(4, 8)].tokens, part.tokens)
    assert torch.equal(whole[slice(4, 8)].ids, part.ids)


def test_equal_texts_share_a_number():
    assert number_of("a red star") == number_of("a red star") != number_of("a red ball")


@pytest.mark.parametrize("split", [1, 2])
def test_processes_and_pieces_share_the_batch_of_one(split):
    samples = found()
    whole = SampleOrder(samples, config(negatives_from=2), Team()).pieces(4)[0]
    pieces = [
        piece
        for rank in range(2)
        for piece in SampleOrder(
            samples, replace(config(negatives_from=3), batch_split=split), Team(rank=rank, size=2)
        ).pieces(4)
    ]
    assert np.concatenate([piece.rows for piece in pieces]).tolist() == whole.rows.tolist()
    assert [piece.draws.rows for piece in pieces][-1].stop == 12
    luck = torch.cat([piece.draws.uniform("texts", 2) for piece in pieces])
    assert torch.equal(luck, whole.draws.uniform("texts", 2))


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match="5 processes can share"):
        SampleOrder(found(), config(), Team(rank=0, size=5))
    with pytest.raises(ValueError, match="whole groups of 12 images"):
        SampleOrder(found(), config(negatives_from=0), Team(rank=0, size=2))
