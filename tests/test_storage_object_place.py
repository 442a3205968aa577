"""A bank's place in a bucket, against a real S3 server, whole and through a proxy that breaks things."""

import pickle
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import obstore
import pytest

from storage.errors import StoreError
from storage.places.object_place import ObjectPlace
from storage.places.retries import Retries
from tests import s3_server
from tests.place_contract import CHECKS, names, race
from tests.s3_server import BUCKET, Faults, fresh_url, proxy

HURRIED = Retries(count=12, first_pause=0.005, longest_pause=0.05, give_up_after=20)
BAD_DAY = Faults(busy=0.05, error=0.05, reset=0.05, lost=0.08, cut=0.05)
server, front = s3_server.server, s3_server.front


def fresh(retries: Retries = HURRIED) -> ObjectPlace:
    return ObjectPlace(fresh_url(), retries)


@pytest.mark.parametrize("check", CHECKS)
def test_contract(front, check):
    CHECKS[check](fresh())


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("check", CHECKS)
def test_contract_on_a_bad_day(server, check, seed):
    with proxy(server, BAD_DAY, seed):
        CHECKS[check](fresh())


def test_of_many_swaps_one_wins(front):
    place, content = fresh(), None
    for _ in range(20):
        won = race(place, "lease.json", content, threads=8)
        assert len(won) == 1
        content = place.read("lease.json")
        assert content == won[0]


def test_of_many_swaps_one_wins_when_answers_are_lost(server):
    with proxy(server, Faults(lost=0.3, busy=0.1), seed=4) as front:
        place, content = fresh(), None
        for _ in range(10):
            won = race(place, "lease.json", content, threads=4)
            assert won == [place.read("lease.json")]
            content = won[0]
        assert front.happened["lost"] > 10


def test_swap_whose_answer_is_lost_was_ours(front):
    place = fresh()
    place.swap("warm", None, b"up")
    for expected, data in ((None, b"run a"), (b"run a", b"run b")):
        front.next_faults.append("lost")
        assert place.swap("lease.json", expected, data)
        assert not front.next_faults
        assert not place.swap("lease.json", expected, data)
    assert place.read("lease.json") == b"run b"
    assert front.happened["lost"] == 2


def wait_until(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("fault", ["reset", "lost"])
def test_swap_without_an_answer_looks_before_it_claims(front, fault):
    place = fresh(Retries(first_pause=1.0, longest_pause=1.0))
    rival = ObjectPlace(str(place), HURRIED)
    assert place.swap("warm", None, b"up")
    assert rival.swap("warm", b"up", b"and running")
    front.next_faults.append(fault)
    with ThreadPoolExecutor(1) as pool:
        ours = pool.submit(place.swap, "lease.json", None, b"ours")
        wait_until(lambda: front.happened[fault])
        wait_until(lambda: fault == "reset" or "lease.json" in names(rival))
        assert rival.swap("lease.json", b"ours" if fault == "lost" else None, b"theirs")
        assert not ours.result(timeout=20)
    assert place.read("lease.json") == b"theirs"


def test_swap_gives_up_in_one_line(front):
    place = fresh(Retries(count=2, first_pause=0.001, longest_pause=0.001))
    place.swap("warm", None, b"up")
    front.next_faults.extend(["error"] * 3)
    with pytest.raises(StoreError, match=r"could not write lease.json: the store answered 500") as caught:
        place.swap("lease.json", None, b"ours")
    assert "\n" not in str(caught.value)
    assert names(place) == ["warm"]


def test_touch_while_somebody_else_touches(front):
    place = fresh()
    place.write("lease.json", b"mine")
    for index in range(3):
        front.next_faults.extend(["lost", "busy"])
        assert place.touch("lease.json", b"mine"), index
    assert not front.next_faults


def test_store_that_ignores_conditions_is_refused(front, monkeypatch):
    place = fresh()
    put = obstore.put
    monkeypatch.setattr(obstore, "put", lambda *args, mode="overwrite", **rest: put(*args, **rest))
    with pytest.raises(StoreError, match="ignores the conditions"):
        place.swap("lease.json", None, b"ours")
    monkeypatch.undo()
    assert names(place) == []


def test_place_shows_no_credentials(front):
    place = ObjectPlace(fresh_url() + "/")
    for text in (str(place), repr(place), str(pickle.dumps(place))):
        assert "test-key" not in text
        assert "test-secret" not in text
    assert str(place).startswith(f"s3://{BUCKET}/")
    assert str(place).endswith("/bank")
