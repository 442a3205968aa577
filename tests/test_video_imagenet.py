"""ImageNet as it is distributed: folders of WordNet ids, a mapping, validation images with a solution."""

import pytest

from video import InputError, list_clips

MAPPING = "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\nn02012849 crane\n"
SOLUTION = (
    "ImageId,PredictionString\n"
    "ILSVRC2012_val_00000001,n02012849 85 1 499 272 \n"
    "ILSVRC2012_val_00000002,n01440764 0 0 1 1 n01440764 2 2 9 9 \n"
)
TRAIN = ("train/n01440764/n01440764_10026.JPEG", "train/n02012849/n02012849_9.JPEG")
VAL = ("val/ILSVRC2012_val_00000001.JPEG", "val/ILSVRC2012_val_00000002.JPEG")


@pytest.fixture
def imagenet(tmp_path):
    """Kaggle's tree, with images of two of three classes."""
    images = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    for name in (*TRAIN, *VAL, "test/ILSVRC2012_test_00000001.JPEG"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(b"x")
    (tmp_path / "LOC_synset_mapping.txt").write_text(MAPPING)
    (tmp_path / "LOC_val_solution.csv").write_text(SOLUTION)
    return tmp_path


def labels(folder):
    return {clip.key: (clip.label, clip.class_name, clip.split) for clip in list_clips(str(folder))}


def test_all_splits(imagenet):
    assert labels(imagenet / "ILSVRC/Data/CLS-LOC") == {
        TRAIN[0]: (0, "tench", "train"),
        TRAIN[1]: (2, "crane", "train"),
        VAL[0]: (2, "crane", "val"),
        VAL[1]: (0, "tench", "val"),
        "test/ILSVRC2012_test_00000001.JPEG": (-1, "", "test"),
    }


def test_a_split_alone(imagenet):
    assert list(labels(imagenet / "ILSVRC/Data/CLS-LOC/train").values()) == [
        (0, "tench", ""),
        (2, "crane", ""),
    ]
    assert list(labels(imagenet / "ILSVRC/Data/CLS-LOC/val").values()) == [(2, "crane", ""), (0, "tench", "")]


def test_better_names_beside_the_images_go_first(imagenet):
    names = MAPPING.replace("crane", "crane bird")
    (imagenet / "ILSVRC/Data/CLS-LOC/classnames.txt").write_text(names)
    assert labels(imagenet / "ILSVRC/Data/CLS-LOC")[TRAIN[1]] == (2, "crane bird", "train")


def test_without_a_mapping_ids_are_names(imagenet):
    (imagenet / "LOC_synset_mapping.txt").unlink()
    (imagenet / "LOC_val_solution.csv").unlink()
    found = labels(imagenet / "ILSVRC/Data/CLS-LOC")
    assert [found[name][:2] for name in (*TRAIN, *VAL)] == [
        (0, "n01440764"),
        (1, "n02012849"),
        (-1, ""),
        (-1, ""),
    ]


def test_other_folders_have_nothing_to_do_with_it(imagenet):
    (imagenet / "ILSVRC/Data/CLS-LOC/train/dogs").mkdir()
    (imagenet / "ILSVRC/Data/CLS-LOC/train/dogs/1.png").write_bytes(b"x")
    assert labels(imagenet / "ILSVRC/Data/CLS-LOC/train")["dogs/1.png"] == (0, "dogs", "")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("LOC_synset_mapping.txt", "n01440764 tench\n", "found none for n02012849 and 0 more"),
        (
            "LOC_synset_mapping.txt",
            "n01440764 tench\ntench\n",
            "line 2: expected a WordNet id, new, and a name",
        ),
        ("LOC_synset_mapping.txt", "n01440764 tench\nn01440764 x\n", "line 2: expected a WordNet id, new"),
        (
            "LOC_val_solution.csv",
            SOLUTION.rsplit("\n", 2)[0],
            "found none for val/ILSVRC2012_val_00000002.JPEG",
        ),
        (
            "LOC_val_solution.csv",
            SOLUTION + "ILSVRC2012_val_00000003,tench\n",
            "line 4: expected an image and i",
        ),
    ],
)
def test_files_that_do_not_fit(imagenet, name, text, said):
    (imagenet / name).write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        list_clips(str(imagenet / "ILSVRC/Data/CLS-LOC"))
    assert "\n" not in str(caught.value)
