"""Questions in the forms in which data sets are distributed, and the clips of a bank that they are about."""

import json

import pytest

from decoders.omnivl.questions.asked import Question
from decoders.omnivl.questions.files import read_questions

QUESTIONS = "v2_OpenEnded_mscoco_val2014_questions.json"
ANNOTATIONS = "v2_mscoco_val2014_annotations.json"


def write_vqa(folder, *, part="val2014", answered=(42000, 42001)):
    """Two questions about an image, and ten answers to each."""
    questions = [
        {"image_id": 42, "question": "What color is the dog?", "question_id": 42000},
        {"image_id": 42, "question": "Is it asleep?", "question_id": 42001},
    ]
    about = {"data_type": "mscoco", "data_subtype": part, "info": {"version": "2.0"}, "license": {}}
    path = folder / QUESTIONS.replace("val2014", part)
    path.write_text(json.dumps({"task_type": "Open-Ended", "questions": questions, **about}))
    annotations = [
        {
            "question_type": "what color is the",
            "multiple_choice_answer": "brown",
            "answers": [
                {
                    "answer": "brown" if number < 6 else "tan",
                    "answer_confidence": "yes",
                    "answer_id": number + 1,
                }
                for number in range(10)
            ],
            "image_id": 42,
            "answer_type": "other",
            "question_id": question,
        }
        for question in answered
    ]
    if answered:
        (folder / ANNOTATIONS).write_text(json.dumps({"annotations": annotations, **about}))
    return path


def write_qa(path, *, video_id=7010, **more):
    lines = [
        {"answer": "couch", "question": "what is a man sitting on?", "video_id": video_id, "id": 3, **more},
        {"answer": "two", "question": "is this seen", "video_id": 9999, "id": 4, **more},
    ]
    path.write_text(json.dumps(lines))
    return path


def test_vqav2(tmp_path):
    found = read_questions(str(write_vqa(tmp_path)))
    assert found.people
    assert found.questions[0] == Question(
        key="COCO_val2014_000000000042.jpg",
        question="What color is the dog?",
        answers=("brown",) * 6 + ("tan",) * 4,
        kind="other",
        id="42000",
    )
    elsewhere = tmp_path / "answers.json"
    (tmp_path / ANNOTATIONS).rename(elsewhere)
    assert read_questions(str(tmp_path / QUESTIONS)).questions[0].answers == ()
    assert read_questions(str(tmp_path / QUESTIONS), answers=str(elsewhere)) == found


def test_vqav2s_test_questions_have_no_answers(tmp_path):
    found = read_questions(str(write_vqa(tmp_path, part="test2015", answered=())))
    assert [(one.key, one.answers) for one in found.questions] == [("COCO_test2015_000000000042.jpg", ())] * 2


def test_msrvtt_qa(tmp_path):
    found = read_questions(str(write_qa(tmp_path / "train_qa.json", category_id=14)))
    assert not found.people
    assert found.questions == (
        Question(
            key="video7010", question="what is a man sitting on?", answers=("couch",), kind="what", id="3"
        ),
        Question(key="video9999", question="is this seen", answers=("two",), id="4"),
    )


def test_msvd_qa(tmp_path):
    path = write_qa(tmp_path / "test_qa.json", video_id=1201)
    assert [one.key for one in read_questions(str(path)).questions] == ["vid1201", "vid9999"]
    (tmp_path / "youtube_mapping.txt").write_text("-4wsuPCjDBc_5_15 vid1201\nmv89psg6zh4_33_46 vid1\n")
    assert read_questions(str(path)).questions[0].key == "-4wsuPCjDBc_5_15"
    (tmp_path / "youtube_mapping.txt").write_text("vid1201\n")
    with pytest.raises(ValueError, match=r"expected lines 'name vid1', found 'vid1201'"):
        read_questions(str(path))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'path,question,answer,kind\na/b.mp4,"what, now?",a cat,thing\n'),
        ("a.tsv", "Path\tQuestion\tAnswer\tKind\na/b.mp4\twhat, now?\ta cat\tthing\n"),
        ("a.jsonl", '{"key": "a/b.mp4", "question": "what, now?", "answers": ["a cat"], "type": "thing"}\n'),
        ("a.json", '[{"video": "a/b.mp4", "question": "what, now? ", "answer": "a cat", "kind": "thing"}]'),
    ],
)
def test_lines_of_ones_own(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_questions(str(tmp_path / name)).questions == (
        Question(key="a/b.mp4", question="what, now?", answers=("a cat",), kind="thing"),
    )


def asked(tmp_path, *names):
    lines = [{"key": name, "question": "what?"} for name in names]
    (tmp_path / "a.json").write_text(json.dumps(lines))
    return read_questions(str(tmp_path / "a.json"))


def test_clips_are_found_by_name_and_the_absent_are_named(tmp_path):
    found = asked(tmp_path, "video1", "video2", "video2", "video3.avi", "x/4.mp4", "video1")
    among = found.among(["TestVideo/video1.mp4", "video3", "y/4.mp4", "video30.mp4"])
    assert [one.key for one in among.questions] == ["TestVideo/video1.mp4", "video3", "TestVideo/video1.mp4"]
    assert (among.absent, among.unasked) == (("video2", "x/4.mp4"), 3)


def test_the_nearer_name_wins(tmp_path):
    def key(name, *keys):
        return asked(tmp_path, name).among(keys).questions[0].key

    assert key("video7", "small/video7.mp4", "video7.mp4") == "video7.mp4"
    assert key("small/video7.mp4", "small/video7.mp4", "video7.mp4") == "small/video7.mp4"
    assert key("all/small/video7", "small/video7.mp4", "big/video7.mp4") == "small/video7.mp4"
    assert key("val2014/COCO_val2014_000000000042.jpg", "COCO_val2014_000000000042.jpg")
    with pytest.raises(ValueError, match=r"one clip called 'video7', found a/video7.mp4 and b/video7.mp4"):
        key("video7", "a/video7.mp4", "b/video7.mp4")
    with pytest.raises(ValueError, match=r"found none of 1 by name \(such as 'video7'\)"):
        key("video7", "video8.mp4")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "found a damaged file"),
        ("a.json", "{}", "expected questions as VQAv2 has them, or a list of lines"),
        ("a.json", "[]", "expected questions, found none"),
        ("a.json", "[3]", r"with a key \(or path, video, image, video_id\) and a question, found 3"),
        ("a.json", '[{"video_id": 3}]', "and a question, found {'video_id': 3}"),
        ("a.json", '[{"question": "what?"}]', "and a question, found {'question'"),
        ("a.json", '{"questions": [{"image_id": 3}]}', "expected a data_subtype and questions with image_id"),
        ("a.csv", "path,question\na.mp4,what, now?\n", "line 2: expected 2 cells as in the header, found 3"),
        ("a.csv", "path,ask\na.mp4,what\n", "and a question, found {'path'"),
        ("b.json", None, "expected questions, found: .*No such file"),
    ],
)
def test_mistakes_are_one_line(tmp_path, name, text, said):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said) as caught:
        read_questions(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_annotations_of_other_questions(tmp_path):
    path = write_vqa(tmp_path, answered=(42000,))
    with pytest.raises(ValueError, match="found none to question 42001; give the annotations that belong"):
        read_questions(str(path))
    (tmp_path / "b.json").write_text("[]")
    with pytest.raises(ValueError, match=r"b.json: expected VQAv2's annotations, found \[\]"):
        read_questions(str(path), answers=str(tmp_path / "b.json"))
    qa = write_qa(tmp_path / "train_qa.json")
    with pytest.raises(ValueError, match="expected VQAv2's questions beside --answers"):
        read_questions(str(qa), answers=str(tmp_path / ANNOTATIONS))
