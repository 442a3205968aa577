"""Lists as they are distributed become sets; protocols draw from them as published."""

import json

import numpy as np
import pytest

from finetune.evaluation.labelled_sets import LabelledSet, half_draws, labelled_set
from video import InputError, list_clips

HMDB = ["brush_hair", "cartwheel", "chew"]


def set_of(source, **options):
    return labelled_set(list_clips(str(source), there=False), source=str(source), **options)


def test_openvclips_lists_with_names_beside_them(tmp_path):
    folder = tmp_path / "ucf101_split1"
    folder.mkdir()
    (folder / "test.csv").write_text("Archery/v_b.avi,1\nApplyEyeMakeup/v_a.avi,0\n")
    (folder / "ucf101-index2cls.json").write_text(json.dumps({"0": "Apply Eye Makeup", "1": "Archery"}))
    found = set_of(folder / "test.csv")
    assert found.name == "ucf101_split1/test.csv"
    assert found.keys == ("ApplyEyeMakeup/v_a.avi", "Archery/v_b.avi")
    assert found.targets.tolist() == [0, 1]
    assert found.classes == ("Apply Eye Makeup", "Archery")


def test_ucf101s_own_lists(tmp_path):
    (tmp_path / "classInd.txt").write_text("1 ApplyEyeMakeup\n2 YoYo\n")
    (tmp_path / "testlist01.txt").write_text("YoYo/v_b.avi\nApplyEyeMakeup/v_a.avi\n")
    found = set_of(tmp_path / "testlist01.txt", split="test")
    assert (found.classes, found.targets.tolist()) == (("Apply Eye Makeup", "Yoyo"), [0, 1])


def write_hmdb(folder):
    for name in HMDB:
        lines = [f"{name}_{number}.avi {number}" for number in range(3)]
        (folder / f"{name}_test_split1.txt").write_text("\n".join(lines))
    return folder / "*_test_split1.txt"


def test_hmdb51s_own_lists(tmp_path):
    pattern = write_hmdb(tmp_path)
    found = set_of(pattern, split="test")
    assert found.keys == tuple(f"{name}/{name}_2.avi" for name in HMDB)
    assert (found.classes, found.targets.tolist()) == (("brush hair", "cartwheel", "chew"), [0, 1, 2])
    assert len(set_of(pattern, split="train,test").keys) == 6
    assert len(set_of(pattern).keys) == 9


def test_names_in_the_list_take_the_order_of_the_classes_given(tmp_path):
    (tmp_path / "val.csv").write_text("path,label\na.mp4,air_drumming\nb.mp4,abseiling\n")
    (tmp_path / "k400.csv").write_text("id,name\n0,abseiling\n1,air drumming\n2,zumba\n")
    found = set_of(tmp_path / "val.csv", classes=str(tmp_path / "k400.csv"))
    assert (found.targets.tolist(), found.classes[2]) == ([1, 0], "zumba")


def test_half_of_the_classes_as_published():
    """The first of Open-VCLIP's ten draws of UCF101's classes begins and ends with these places."""
    whole = LabelledSet(
        name="all",
        keys=tuple(f"{label}" for label in range(101)),
        targets=np.arange(101),
        classes=tuple(f"class {label}" for label in range(101)),
    )
    draws = half_draws(whole)
    assert [len(draw.classes) for draw in draws] == [50] * 10
    first = [int(key) for key in draws[0].keys]
    assert first[:9] == [0, 1, 5, 10, 11, 13, 14, 17, 18]
    assert first[-3:] == [94, 97, 99]
    assert draws[0].targets.tolist() == list(range(50))
    assert draws[0].classes == tuple(f"class {label}" for label in first)
    assert draws[0].classes != draws[1].classes


@pytest.mark.parametrize(
    ("listed", "options", "said"),
    [
        ("a.mp4,0\nb.mp4,7\n", {}, r"expected a label among the 2 classes, found 7 for b.mp4"),
        ("a.mp4,0\nb.mp4,1\n", {"split": "test"}, r"clips in split 'test', found none; its splits: ''"),
        ("a.mp4,-1\nb.mp4,-1\n", {}, r"labelled clips in split '', found none"),
    ],
)
def test_mistakes(tmp_path, listed, options, said):
    (tmp_path / "test.csv").write_text(listed)
    (tmp_path / "index2cls.json").write_text(json.dumps({"0": "chew", "1": "clap"}))
    with pytest.raises(InputError, match=said) as refusal:
        set_of(tmp_path / "test.csv", **options)
    assert "\n" not in str(refusal.value)


def test_labels_without_names(tmp_path):
    (tmp_path / "test.csv").write_text("a.mp4,0\nb.mp4,1\n")
    with pytest.raises(InputError, match=r"found none for label 0; name a file .* with --classes"):
        set_of(tmp_path / "test.csv")
    (tmp_path / "named.csv").write_text("path,label\na.mp4,clap\nb.mp4,jump\n")
    (tmp_path / "other.txt").write_text("clap\nchew\n")
    with pytest.raises(InputError, match=r"found 'jump' for b.mp4"):
        set_of(tmp_path / "named.csv", classes=str(tmp_path / "other.txt"))
