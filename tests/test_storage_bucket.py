"""Requests that are repeated until they are answered, and what is said when they are not."""

import multiprocessing
from dataclasses import replace

import pytest

from storage.errors import StoreError
from storage.places.object_place import ObjectPlace
from storage.places.retries import Retries
from tests import s3_server
from tests.s3_server import Faults, fresh_url, proxy

HURRIED = Retries(count=12, first_pause=0.005, longest_pause=0.05, give_up_after=20)
server, front = s3_server.server, s3_server.front


def fresh(retries: Retries = HURRIED) -> ObjectPlace:
    return ObjectPlace(fresh_url(), retries)


def test_answers_that_say_what_is_missing(front):
    with pytest.raises(FileNotFoundError, match=r"/bank/spec.json does not exist$"):
        fresh().read("spec.json")
    for ask in (lambda place: place.read("x"), lambda place: place.write("x", b""), ObjectPlace.entries):
        with pytest.raises(StoreError, match=r"NoSuchBucket.*Create the bucket, or correct the URL"):
            ask(ObjectPlace("s3://no-such-bucket/bank", HURRIED))


def test_refused_credentials_are_said_in_one_line(front, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong-key")
    place = fresh()
    for ask in (lambda: place.read("x"), lambda: place.swap("x", None, b""), place.entries):
        with pytest.raises(StoreError, match=r"403, InvalidAccessKeyId.*Check AWS_ACCESS_KEY_ID") as caught:
            ask()
        assert str(caught.value).startswith(f"{place}: could not ")
        assert "\n" not in str(caught.value)
        assert "wrong-key" not in str(caught.value)
    assert front.happened["PUT"] + front.happened["GET"] == 3  # none of them tried again


def test_unreachable_endpoint_is_said_in_one_line(front, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    place = fresh(Retries(count=3, first_pause=0.01, longest_pause=0.1))
    with pytest.raises(StoreError, match=r"no answer \(.*[Cc]onnect.*AWS_ENDPOINT_URL") as caught:
        place.read("x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["busy", "error", "reset", "lost", "cut"])
def test_every_request_is_repeated(server, fault):
    with proxy(server, replace(Faults(), **{fault: 0.4}), seed=7) as front:
        place = fresh()
        for index in range(8):
            place.write(f"{index}", b"content")
            assert place.read(f"{index}") == b"content"
        assert len(place.entries()) == 8
        place.remove(str(index) for index in range(8))
        assert place.entries() == []
        assert front.happened[fault] > 3


def read_in_child(place: ObjectPlace) -> bytes:
    return place.read("note")


def test_forked_child_is_refused_and_spawned_one_is_not(front):
    place = fresh()
    place.write("note", b"here")
    with (
        multiprocessing.get_context("fork").Pool(1) as pool,
        pytest.raises(StoreError, match="forked from one that had used the object store"),
    ):
        pool.apply_async(read_in_child, [place]).get(timeout=20)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(read_in_child, [place]).get(timeout=60) == b"here"
