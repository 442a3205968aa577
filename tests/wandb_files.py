"""What Weights & Biases' client wrote to the disk, read back: protocol buffers in LevelDB's log format."""

import json
from collections.abc import Iterator
from pathlib import Path

BLOCK, FILE_HEADER, RECORD_HEADER = 32768, 7, 7
FULL, FIRST, LAST = 1, 2, 4


def history(path: Path) -> list[dict[str, float]]:
    """The logged lines of a .wandb file."""
    from wandb.proto.wandb_internal_pb2 import Record

    lines = []
    for data in records(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = record.history.item
            lines.append(
                {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
            )
    return lines


def records(data: bytes) -> Iterator[bytes]:
    """Each record, put together from its pieces in blocks of 32 KiB."""
    assert data[:4] == b":W&B"
    place, whole = FILE_HEADER, b""
    while place + RECORD_HEADER <= len(data):
        left = BLOCK - place % BLOCK
        if left < RECORD_HEADER:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        piece = data[place + RECORD_HEADER : place + RECORD_HEADER + length]
        place += RECORD_HEADER + length
        whole = piece if kind in (FULL, FIRST) else whole + piece
        if kind in (FULL, LAST):
            yield whole
