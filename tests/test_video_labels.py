"""Labels: indices as they are, names by their order, mixtures refused."""

import pytest

from video import InputError
from video.labels import Entry, clips_of


def entries(*labels: str) -> list[Entry]:
    return [Entry(line=10 + i, path=f"{i}.mp4", label=label) for i, label in enumerate(labels)]


def test_indices_names_and_none() -> None:
    assert [c.label for c in clips_of(entries("3", "-1", "+2"), (), "s")] == [3, -1, 2]
    assert [c.label for c in clips_of(entries("b", "a", "b"), (), "s")] == [1, 0, 1]
    assert [c.label for c in clips_of(entries("", ""), (), "s")] == [-1, -1]
    assert [c.label for c in clips_of(entries("b", "a"), ["b", "c", "a"], "s")] == [0, 2]
    assert list(clips_of([], (), "s")) == []


def test_keys_are_normal_paths_and_urls_stay() -> None:
    made = clips_of([Entry(line=1, path="./a//b.mp4"), Entry(line=2, path="http://h//c.mp4")], (), "s")
    assert [c.key for c in made] == ["a/b.mp4", "http://h//c.mp4"]


@pytest.mark.parametrize(
    ("labels", "classes", "reason"),
    [
        (("1", "x"), (), "line 11: expected an index as in line 10; found a class name"),
        (("x", ""), (), "line 11: expected a class name as in line 10; found no label"),
        (("-2",), (), "line 10: expected a label from 0"),
        (("a", "z"), ("a", "b"), "line 11: expected one of 2 classes; found 'z'"),
    ],
)
def test_what_cannot_be_a_class_is_refused(labels, classes, reason) -> None:
    with pytest.raises(InputError, match=reason):
        list(clips_of(entries(*labels), classes, "s"))
