"""Objects read and written piece by piece: in parts, through faults, at one version."""

from contextlib import closing

import boto3
import pytest

from storage.errors import StoreError
from storage.places.object_file import PART_BYTES
from storage.places.object_place import ObjectPlace
from storage.places.retries import Retries
from tests import s3_server
from tests.place_contract import names
from tests.s3_server import BUCKET, Faults, fresh_url, proxy

HURRIED = Retries(count=12, first_pause=0.005, longest_pause=0.05, give_up_after=20)
server, front = s3_server.server, s3_server.front


def fresh(retries: Retries = HURRIED) -> ObjectPlace:
    return ObjectPlace(fresh_url(), retries)


def uploads() -> list[str]:
    """Names of multipart uploads that were begun and neither completed nor aborted."""
    with closing(boto3.client("s3")) as client:
        found = client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    return [upload["Key"] for upload in found]


def test_large_file_goes_up_in_parts(server):
    piece = memoryview(bytes(range(256)) * 4096)  # 1 MiB
    with proxy(server, Faults(error=0.1, lost=0.1, reset=0.1), seed=5) as front:
        place = fresh()
        writer = place.writer("shard")
        for _ in range(30):
            writer.write(piece)
        assert names(place) == []
        writer.publish()
        assert front.happened["PUT"] >= 2
        assert front.happened["POST"] >= 2
        file = place.open("shard")
        assert file.size == 30 << 20 > PART_BYTES
        row = bytearray(512)
        assert file.read_into((17 << 20) + 256, [memoryview(row)]) == 512
        assert row == piece[256:768]
        assert place.read("shard") == bytes(piece) * 30


def test_large_file_that_fails_is_not_seen(front):
    place = fresh(Retries(count=1, first_pause=0.001, longest_pause=0.001))
    writer = place.writer("shard")
    writer.write(bytes(PART_BYTES + 1))
    before = uploads()
    front.faults = Faults(error=1.0, methods=("PUT",))
    with pytest.raises(StoreError, match=r"could not write shard: the store answered 500"):
        writer.publish()
    front.faults = Faults()
    assert names(place) == []
    assert uploads() == before  # aborted
    writer.publish()  # the spool is still there
    assert place.open("shard").size == PART_BYTES + 1


def test_file_that_was_replaced_or_removed_is_not_mixed(front):
    place = fresh()
    place.write("shard", b"one")
    file, buffer = place.open("shard"), bytearray(3)
    place.write("shard", b"two")
    with pytest.raises(FileNotFoundError, match="replaced since it was opened"):
        file.read_into(0, [memoryview(buffer)])
    place.remove(["shard"])
    with pytest.raises(FileNotFoundError):
        file.read_into(0, [memoryview(buffer)])
    assert buffer == bytes(3)
