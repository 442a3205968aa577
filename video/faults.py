"""Why a clip ends without a row, as a word, and where on its way: the one list of these for all rooms.

A reason is a sentence for people and may change its wording; a fault is for counting, filtering and deciding.
Both depend on the file and the settings alone, never on the moment, so that equal work gives equal tables.
"""

from enum import StrEnum


class Fault(StrEnum):
    """What was wrong."""

    EMPTY = "empty"
    """A file of 0 bytes."""
    TRUNCATED = "truncated"
    """Shorter than its own container says."""
    NOT_MEDIA = "not a media file"
    """No container that FFmpeg knows."""
    NO_VIDEO = "no video"
    """A media file without pictures, other than a cover."""
    UNKNOWN_CODEC = "unknown codec"
    """FFmpeg has no decoder for its video stream."""
    DAMAGED = "damaged"
    """Broken inside."""
    NO_FRAMES = "no frames"
    """A video stream with nothing in it."""
    UNREADABLE = "unreadable"
    """No file there, no permission, or a server's refusal."""
    UNEXPECTED = "unexpected"
    """A decoder raised what nobody foresaw; the reason quotes it."""
    TOO_SLOW = "too slow"
    """Took longer than the limit."""
    TOO_MUCH_MEMORY = "too much memory"
    """Took more than the limit, or than there was."""
    DECODER_DIED = "decoder died"
    """Native code crashed, or the system killed it."""
    OTHER_CONTENT = "other content"
    """The file is no longer the one that the bank holds rows of."""
    TOO_FEW_FRAMES = "too few frames"
    """Left out on purpose: shorter than asked for."""
    UNSTORABLE = "unstorable"
    """The tower's output does not fit the type that is kept."""


class Stage(StrEnum):
    """Where on a clip's way."""

    READ = "read"
    """Getting its bytes."""
    OPEN = "open"
    """Finding a video in them."""
    DECODE = "decode"
    """Turning it into frames; also whatever a decoder did when it was ended or died."""
    ENCODE = "encode"
    """Turning frames into values, and storing these."""
