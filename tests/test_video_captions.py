"""Captions in the forms in which data sets distribute them."""

import json

import pytest

from tests.small_captions import (
    write_1k_a,
    write_annotation,
    write_coco,
    write_didemo,
    write_flickr,
    write_ids,
    write_karpathy,
)
from video import InputError, list_clips
from video.captions import is_captions, read_captions

TEXTS = {"video9770": ("a person connects cables", "someone, at a desk"), "video7020": ("a fondant baby",)}
SPLITS = {"video7020": "train", "video9770": "test", "video1": "validate"}


PICTURES = {"000000000009.jpg": ("A plate.", "Food on it."), "000000000025.jpg": ("A giraffe ",)}


def known(source):
    assert is_captions(str(source))
    assert list_clips(str(source), there=False) == read_captions(str(source))
    return {clip.key: (clip.captions, clip.split) for clip in read_captions(str(source))}


def test_msrvtts_annotation(tmp_path):
    clips = read_captions(str(write_annotation(tmp_path / "MSRVTT_data.json", TEXTS, SPLITS)))
    assert [(clip.key, clip.captions, clip.split, clip.path) for clip in clips] == [
        ("video7020", TEXTS["video7020"], "train", ""),
        ("video9770", TEXTS["video9770"], "test", ""),
        ("video1", (), "validate", ""),
    ]


@pytest.mark.parametrize("column", ["sentence", "sentences"])
def test_the_1k_a_list(tmp_path, column):
    texts = {"video9770": "a person connects cables", "video7020": '"one, two, go"'}
    found = known(write_1k_a(tmp_path / "MSRVTT_JSFUSION_test.csv", texts, column))
    assert found == {
        "video9770": (("a person connects cables",), ""),
        "video7020": (("one, two, go",), ""),
    }


def test_several_lines_of_one_video(tmp_path):
    (tmp_path / "a.csv").write_text("video_id,sentence,split\nv1,one,test\nv2,two,val\n\nv1,three,test\n")
    assert known(tmp_path / "a.csv") == {"v1": (("one", "three"), "test"), "v2": (("two",), "val")}


def test_a_list_of_ids(tmp_path):
    found = known(write_ids(tmp_path / "MSRVTT_train.9k.csv", ["video0", "video1"]))
    assert found == {"video0": ((), ""), "video1": ((), "")}


@pytest.mark.parametrize(
    "values",
    [
        [{"video_id": "v1", "video": "v1.mp4", "caption": "one"}, {"video_id": "v1", "caption": "two"}],
        [
            {
                "video_id": "v1",
                "video": "v1.mp4",
                "caption": ["one", "two"],
                "category": 3,
                "source": "MSR-VTT",
            }
        ],
        [{"clip_name": "v1", "caption": "one", "sen_id": 0}, {"clip_name": "v1", "caption": "two"}],
        {"v1": ["one", "two"]},
    ],
)
def test_pairs(tmp_path, values):
    (tmp_path / "a.json").write_text(json.dumps(values))
    assert known(tmp_path / "a.json") == {"v1": (("one", "two"), "")}


def test_pairs_a_line_each(tmp_path):
    lines = [{"video": "v1.mp4", "caption": "one", "split": "val"}, {"video": "v2.mp4", "caption": "two"}]
    (tmp_path / "val.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert known(tmp_path / "val.jsonl") == {"v1.mp4": (("one",), "val"), "v2.mp4": (("two",), "")}


def test_cocos_captions(tmp_path):
    path = write_coco(tmp_path / "captions_train2017.json", {**PICTURES, "000000000030.jpg": ()})
    assert [(clip.key, clip.captions, clip.split, clip.path) for clip in read_captions(str(path))] == [
        ("000000000009.jpg", ("A plate.", "Food on it."), "train", ""),
        ("000000000025.jpg", ("A giraffe",), "train", ""),
        ("000000000030.jpg", (), "train", ""),
    ]
    values = json.loads(path.read_text())
    del values["annotations"]
    (tmp_path / "image_info_test2017.json").write_text(json.dumps(values))
    assert known(tmp_path / "image_info_test2017.json")["000000000009.jpg"] == ((), "test")


def test_karpathys_splits(tmp_path):
    splits = {"000000000009.jpg": "restval", "000000000025.jpg": "test"}
    coco = write_karpathy(tmp_path / "dataset_coco.json", PICTURES, splits, "val2014")
    assert known(coco) == {
        "val2014/000000000009.jpg": (("A plate.", "Food on it."), "restval"),
        "val2014/000000000025.jpg": (("A giraffe",), "test"),
    }
    flickr = write_karpathy(tmp_path / "dataset_flickr30k.json", PICTURES, splits)
    assert known(flickr).keys() == PICTURES.keys()


@pytest.mark.parametrize("name", ["results_20130124.token", "results.csv", "results.txt"])
def test_flickr30ks_own_files(tmp_path, name):
    assert known(write_flickr(tmp_path / name, PICTURES)) == {
        "000000000009.jpg": (("A plate.", "Food on it."), ""),
        "000000000025.jpg": (("A giraffe",), ""),
    }


def test_the_line_of_flickr30k_that_lacks_a_bar(tmp_path):
    path = write_flickr(tmp_path / "results.csv", PICTURES)
    with path.open("a") as file:
        file.write("2199200615.jpg| 4   A dog runs | across the grass .\n")
    assert known(path)["2199200615.jpg"] == (("A dog runs | across the grass .",), "")


def test_didemos_descriptions_stay_apart(tmp_path):
    texts = {"12090392@N02_1.mov": ("a dog runs", "the dog sits"), "54322086@N00_2.avi": ("a parade",)}
    assert known(write_didemo(tmp_path / "val_data.json", texts)) == {
        "12090392@N02_1.mov": (("a dog runs", "the dog sits"), "val"),
        "54322086@N00_2.avi": (("a parade",), "val"),
    }


def test_other_lists_are_no_captions(tmp_path):
    for name, text in {
        "a.csv": "path,caption,video_id\na.mp4,one,7\n",
        "b.csv": "a b.mp4 3\nc.mp4 0\n",
        "c.txt": "video_id\nvideo0\n",
        "d.csv": "",
    }.items():
        (tmp_path / name).write_text(text)
        assert not is_captions(str(tmp_path / name))


def mistake(source):
    with pytest.raises(InputError) as caught:
        read_captions(str(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_table_with_odd_lines(tmp_path):
    (tmp_path / "a.csv").write_text("video_id,sentence\nvideo1,a cat, asleep\n")
    assert "line 2: expected 2 cells as in the header, with an id" in mistake(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("video_id,sentence\nvideo1,a cat\n ,a dog\n")
    assert "line 3: expected 2 cells" in mistake(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"video_id,sentence\nvideo1,caf\xe9\n")
    assert "expected a table in UTF-8" in mistake(tmp_path / "a.csv")


def test_flickr30k_with_odd_lines(tmp_path):
    (tmp_path / "a.token").write_text("1.jpg#0\ta cat\n1.jpg a dog\n")
    assert "line 2: expected image#number, a tab and a caption, found '1.jpg a dog'" in mistake(
        tmp_path / "a.token"
    )
    (tmp_path / "a.csv").write_text("image_name| comment_number| comment\n1.jpg| a cat\n")
    assert "line 2: expected image| number| caption, found '1.jpg| a cat'" in mistake(tmp_path / "a.csv")
    (tmp_path / "a.token").write_bytes(b"1.jpg#0\tcaf\xe9\n")
    assert "expected captions in UTF-8" in mistake(tmp_path / "a.token")


def test_sentences_of_a_video_that_the_annotation_does_not_have(tmp_path):
    path = write_annotation(tmp_path / "a.json", TEXTS | {"video5": ("lost",)}, SPLITS)
    assert "found one of 'video5', which is not among its 3 videos" in mistake(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "found a damaged file"),
        ("3", "or pairs of video and caption, found 3"),
        ("[]", r"or pairs of video and caption, found []"),
        ('{"videos": {"v1": {}}}', "or pairs of video and caption, found"),
        ('[{"video": "v1"}]', "and its caption or captions, found {'video': 'v1'}"),
        ('[{"caption": "a cat"}]', "expected objects with a video"),
        ('["a cat"]', "expected objects with a video"),
        ('{"v1": [3]}', "and its caption or captions"),
        ('{"sentences": [{"video_id": "v1"}]}', "and its caption or captions"),
        ('{"videos": [{"id": 1}], "sentences": []}', "expected videos with a video_id"),
        ('{"images": {}}', "expected a list of images, found {}"),
        ('{"images": [{"id": 1}]}', "expected images with an id and a file_name, found {'id': 1}"),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b"}]}', "found id 1 twice"),
        ('{"images": [{"filename": "a.jpg"}]}', "and sentences with their raw text, found"),
        ('{"images": [{"filename": "a.jpg", "sentences": [{"tokens": []}]}]}', "with their raw text"),
        ('{"images": [{"filename": "a.jpg", "sentences": []}, 3]}', "with their raw text, found 3"),
    ],
)
def test_json_of_another_form(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    assert said in mistake(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ({"image_id": 1, "bbox": [0, 0, 1, 1], "category_id": 3}, "name COCO's captions_*.json instead"),
        ({"image_id": 1, "caption": None}, "with an image_id and a caption, found {'image_id': 1"),
        ({"image_id": 2, "caption": "a cat"}, "found one of image_id 2, which is not among its 1 images"),
        (3, "with an image_id and a caption, found 3"),
    ],
)
def test_coco_annotations_that_are_no_captions(tmp_path, annotation, said):
    values = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [annotation]}
    (tmp_path / "a.json").write_text(json.dumps(values))
    assert said in mistake(tmp_path / "a.json")


def test_no_such_file(tmp_path):
    assert "No such file" in mistake(tmp_path / "none.json")


def test_an_empty_cell_is_no_caption(tmp_path):
    (tmp_path / "a.tsv").write_text("video_id\tsentence\nv1\tone\nv1\t \nv2\t\n")
    assert known(tmp_path / "a.tsv") == {"v1": (("one",), ""), "v2": ((), "")}
