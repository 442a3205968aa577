"""Captions in the forms in which data sets distribute them."""

import json

import pytest

from finetune.captioned_lists import captioned_clips
from tests.small_captions import write_1k_a, write_annotation, write_ids
from video import InputError

TEXTS = {"video9770": ("a person connects cables", "someone, at a desk"), "video7020": ("a fondant baby",)}
SPLITS = {"video7020": "train", "video9770": "test", "video1": "validate"}


def known(source, **options):
    return {clip.key: (clip.captions, clip.split) for clip in captioned_clips(str(source), **options)}


def test_msrvtts_annotation(tmp_path):
    clips = captioned_clips(str(write_annotation(tmp_path / "MSRVTT_data.json", TEXTS, SPLITS)))
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


def test_a_table_of_paths_is_listed_as_everywhere(tmp_path):
    (tmp_path / "a.csv").write_text("path,caption,video_id\na.mp4,one,7\na.mp4,two,7\n")
    [clip] = captioned_clips(str(tmp_path / "a.csv"), there=False)
    assert (clip.key, clip.captions, clip.attributes) == ("a.mp4", ("one", "two"), {"video_id": "7"})
    assert clip.path
    (tmp_path / "b.csv").write_text("a b.mp4 3\nc.mp4 0\n")
    assert known(tmp_path / "b.csv", there=False).keys() == {"a b.mp4", "c.mp4"}


def mistake(source, **options):
    with pytest.raises(InputError) as caught:
        captioned_clips(str(source), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_table_without_the_columns(tmp_path):
    (tmp_path / "a.csv").write_text("name,what\nvideo1,a cat\n")
    assert "expected a header with video_id and sentence, or with path and caption, found 'name', 'what'" in (
        mistake(tmp_path / "a.csv")
    )
    (tmp_path / "a.csv").write_text("")
    assert "found an empty file" in mistake(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("video_id,sentence\nvideo1,a cat, asleep\n")
    assert "line 2: expected 2 cells as in the header, with an id" in mistake(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("video_id,sentence\nvideo1,a cat\n ,a dog\n")
    assert "line 3: expected 2 cells" in mistake(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"video_id,sentence\nvideo1,caf\xe9\n")
    assert "expected a table in UTF-8" in mistake(tmp_path / "a.csv")
    assert "found nothing" in mistake(tmp_path / "none.csv")


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
    ],
)
def test_json_of_another_form(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    assert said in mistake(tmp_path / "a.json")


def test_no_such_file(tmp_path):
    assert "No such file" in mistake(tmp_path / "none.json")


def test_an_empty_cell_is_no_caption(tmp_path):
    (tmp_path / "a.tsv").write_text("video_id\tsentence\nv1\tone\nv1\t \nv2\t\n")
    assert known(tmp_path / "a.tsv") == {"v1": (("one",), ""), "v2": ((), "")}
