"""Is a media file whole? Answered from the sizes its container writes down, without decoding.

Decoders are lenient: a Matroska file that was cut in the middle plays to its cut, and an encoder of features
would take the half for the whole. But MP4 boxes, RIFF (AVI, WebP) headers and the Matroska segment all state
how long they are, so a file shorter than its own claim is known to be truncated, exactly and in microseconds.
Streams without such claims (MPEG-TS, live recordings of unknown size) pass.
"""

from collections.abc import Iterator

RIFF_SLACK = 8  # some AVI writers count the header of the file too
SEGMENT = b"\x18\x53\x80\x67"
EBML = b"\x1a\x45\xdf\xa3"
MP4_FIRST = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot"})
MP4_BOXES = MP4_FIRST | {b"moof", b"mfra", b"sidx", b"ssix", b"emsg", b"uuid", b"meta", b"udta"}


def truncation(data: bytes) -> str:
    """What is missing, as one line; "" if nothing is known to be."""
    if data[4:8] in MP4_FIRST:
        return _mp4(data)
    if data[:4] == b"RIFF":
        return _riff(data)
    if data[:4] == EBML:
        return _matroska(data)
    return ""


def is_fragmented(data: bytes) -> bool:
    """True for an MP4 whose index is spread over fragments, as streaming services write it."""
    return data[4:8] in MP4_FIRST and any(kind == b"moof" for kind, _ in _boxes(data))


def _mp4(data: bytes) -> str:
    kinds = []
    for kind, end in _boxes(data):
        kinds.append(kind)
        if end > len(data):
            index = "" if b"moov" in kinds else "; the index (the 'moov' box) is missing"
            return _short(f"the {kind.decode('latin-1')!r} box", end, data) + index
    return (
        ""
        if b"moov" in kinds
        else "the index of the MP4 file (its 'moov' box) is missing, the file ends before it"
    )


def _boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Kind and end of each top-level box; stops at one that is none."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4])
        kind = data[position + 4 : position + 8]
        if size == 1:  # a 64-bit size follows
            size = int.from_bytes(data[position + 8 : position + 16])
        elif size == 0:  # to the end of the file
            size = len(data) - position
        if size < 8 or kind not in MP4_BOXES:  # no box: rubbish that players ignore too
            return
        yield kind, position + size
        position += size


def _riff(data: bytes) -> str:
    size = int.from_bytes(data[4:8], "little")
    if size in (0, 0xFFFFFFFF):  # written live, never filled in
        return ""
    return _short("the RIFF header", size + 8, data) if size + 8 > len(data) + RIFF_SLACK else ""


def _matroska(data: bytes) -> str:
    start = data.find(SEGMENT, 0, 4096)
    if start < 0:
        return "the Matroska segment is missing, the file ends before it" if len(data) < 4096 else ""
    width = 9 - data[start + 4].bit_length() if len(data) > start + 4 else 9
    body = start + 4 + width
    if width > 8 or len(data) < body:
        return "the Matroska segment has no readable size, the file ends there"
    size = int.from_bytes(data[start + 4 : body]) & ((1 << 7 * width) - 1)
    if size == (1 << 7 * width) - 1:  # unknown, as live recordings write it
        return ""
    return _short("the Matroska segment", body + size, data) if body + size > len(data) else ""


def _short(what: str, end: int, data: bytes) -> str:
    return f"{what} reaches to byte {end}, the file has {len(data)}"
