"""VQA's measure, worked by hand, and exact agreement."""

import pytest

from decoders.omnivl.questions.answer_scores import accuracies, exact_accuracy, normalised, vqa_accuracy
from decoders.omnivl.questions.asked import Question


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        ("A red bus.", "red bus"),
        ("the  Two\tdogs\n", "2 dogs"),
        ("none", "0"),
        ("dont know", "don't know"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("yall'd've", "y'all'd've"),
        ("somebody'd", "somebodyd"),
        ("it's", "it's"),
        ("well", "well"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("t-shirt", "t shirt"),
        ("10,000", "10000"),
        ("1,000-ton", "1000ton"),
        ("3.5 ft.", "3.5 ft"),
        ("5 p.m.", "5 pm"),
        ("yes!", "yes"),
        ("an", ""),
    ],
)
def test_answers_as_vqa_judges_them(answer, known):
    assert normalised(answer) == known


@pytest.mark.parametrize(
    ("alike", "share"),
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (9, 1.0), (10, 1.0)],
)
def test_the_share_of_ten_people(alike, share):
    others = [f"other {number}" for number in range(10 - alike)]
    assert vqa_accuracy("Red", ["red"] * alike + others) == pytest.approx(share, abs=1e-12)


def test_peoples_answers_lose_punctuation_only_where_they_differ():
    assert vqa_accuracy("t-shirt", ["t-shirt"] * 9 + ["shirt"]) == 1.0
    assert vqa_accuracy("t-shirt", ["t-shirt"] * 10) == 0.0
    assert vqa_accuracy("the two", ["two"] * 9 + ["2"]) == pytest.approx(0.3)


def test_one_answer_is_not_people():
    with pytest.raises(ValueError, match="expected the answers of several people, found 1"):
        vqa_accuracy("red", ["red"])


def test_exactly_the_same():
    assert exact_accuracy(" Playing  Guitar", ("guitar", "playing guitar")) == 1.0
    assert exact_accuracy("a guitar", ("guitar",)) == 0.0
    assert exact_accuracy("guitar", ()) == 0.0


def test_means_by_kind():
    asked = [
        Question(key="v", question="?", answers=("man",), kind="who"),
        Question(key="v", question="?", answers=("two",), kind="how"),
        Question(key="v", question="?", answers=("dog",), kind="who"),
        Question(key="v", question="?", answers=("dog",)),
    ]
    found = accuracies(asked, ["man", "2", "cat", "dog"], people=False)
    assert found == {"all": 0.5, "who": 0.5, "how": 0.0}
    with pytest.raises(ValueError, match="expected an answer to each of 4 questions, found 1"):
        accuracies(asked, ["man"], people=False)
    people = [Question(key="v", question="?", answers=("no",) * 10, kind="yes/no")]
    assert accuracies(people, ["No."], people=True) == {"all": 1.0, "yes/no": 1.0}
