"""Class names in words, and the files that list them."""

import json

import pytest

from finetune.evaluation.class_names import read_classes, words_of
from video import InputError


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("ApplyEyeMakeup", "Apply Eye Makeup"),
        ("YoYo", "Yoyo"),
        ("TaiChi", "Tai Chi"),
        ("HandStandPushups", "Handstand Pushups"),
        ("HandstandWalking", "Handstand Walking"),
        ("CleanAndJerk", "Clean And Jerk"),
        ("Skijet", "Skijet"),
        ("Apply Eye Makeup", "Apply Eye Makeup"),
        ("brush_hair", "brush hair"),
        ("air drumming", "air drumming"),
        (' "massaging person\'s head"', "massaging person's head"),
        ("using_remote_controller_(not_gaming)", "using remote controller (not gaming)"),
        ("backflip (human)", "backflip (human)"),
    ],
)
def test_words(written, words):
    assert words_of(written) == words


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"0": "chew", "1": "brush hair"}),
        json.dumps({"brush hair": 1, "chew": 0}),
        json.dumps(["chew", "brush hair"]),
        "1 chew\n2 brush hair\n",
        "0 chew\n1 brush hair\n",
        "id,name\n0,chew\n1,brush hair\n",
        '0,chew\n1,"brush hair"\n',
        "chew\n\nbrush hair\n",
    ],
)
def test_every_form_of_a_list(tmp_path, text):
    (tmp_path / "classes").write_text(text)
    assert read_classes(tmp_path / "classes") == ("chew", "brush hair")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"0": "a", "2": "b"}', "labels 0 to 1, found none for 1"),
        ('{"0": "a"', "expected JSON, found a damaged file"),
        ('{"0": ["a"]}', r"found '0': \['a'\]"),
        ('{"a": 0, "b": 0}', "every label once, found 0 twice"),
        ("1 a\n2 a\n", "every class once, found 'a' twice"),
        ("a\n", "at least two classes, found 1"),
        ("", "at least two classes, found 0"),
    ],
)
def test_lists_that_are_none(tmp_path, text, said):
    (tmp_path / "classes").write_text(text)
    with pytest.raises(InputError, match=said) as refusal:
        read_classes(tmp_path / "classes")
    assert "\n" not in str(refusal.value)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match=r"expected a list of classes, found: .*No such file"):
        read_classes(tmp_path / "absent.txt")
