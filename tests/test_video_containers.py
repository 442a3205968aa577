"""Containers that state their size are known to be short; those that do not, pass."""

from video.containers import is_fragmented, truncation


def box(kind: bytes, body: bytes = b"") -> bytes:
    return (8 + len(body)).to_bytes(4) + kind + body


WHOLE = box(b"ftyp", b"isom") + box(b"moov", b"m" * 20) + box(b"mdat", b"d" * 50)


def test_mp4() -> None:
    assert truncation(WHOLE) == ""
    assert (
        truncation(WHOLE[:-1])
        == f"the 'mdat' box reaches to byte {len(WHOLE)}, the file has {len(WHOLE) - 1}"
    )
    assert "'moov' box) is missing" in truncation(box(b"ftyp") + box(b"mdat", b"d" * 9))
    large = (1).to_bytes(4) + b"mdat" + (16 + 50).to_bytes(8) + b"d" * 50
    assert truncation(box(b"moov") + large) == ""
    assert "mdat" in truncation(box(b"moov") + large[:-1])
    assert truncation(box(b"moov") + (0).to_bytes(4) + b"mdat" + b"to the end") == ""
    assert truncation(WHOLE + b"trailing rubbish \xff\xff\xff\xff") == ""


def test_fragments() -> None:
    assert not is_fragmented(WHOLE)
    assert is_fragmented(WHOLE + box(b"moof") + box(b"mdat"))


def test_riff() -> None:
    body = b"AVI " + b"x" * 100
    whole = b"RIFF" + len(body).to_bytes(4, "little") + body
    assert truncation(whole) == ""
    assert "RIFF" in truncation(whole[:60])
    for unknown in (0, 0xFFFFFFFF):
        assert truncation(b"RIFF" + unknown.to_bytes(4, "little") + body) == ""


def test_matroska() -> None:
    head = b"\x1a\x45\xdf\xa3\x84head"
    whole = head + b"\x18\x53\x80\x67" + b"\x40\x64" + b"x" * 100
    assert truncation(whole) == ""
    assert "Matroska" in truncation(whole[:-1])
    assert "Matroska" in truncation(head)
    assert "Matroska" in truncation(head + b"\x18\x53\x80\x67")
    assert truncation(head + b"\x18\x53\x80\x67" + b"\x01" + b"\xff" * 7 + b"live") == ""


def test_anything_else_passes() -> None:
    for data in (b"", b"G" * 188, b"\xff\xd8\xff", b"text"):
        assert truncation(data) == ""
