"""A clip's bytes: a whole file, or a member's range of a tar, from a disk or a URL."""

import os
import stat
import urllib.error
from http.client import HTTPException
from urllib.parse import urlsplit
from urllib.request import url2pathname

from video.clip import Clip
from video.errors import DecodeError
from video.faults import Fault, Stage
from video.remote import is_url, read_range


def read_bytes(clip: Clip) -> bytes:
    """The clip's file, or its member of a tar.

    Raises:
        DecodeError: the file or URL cannot be read, or ends before the member does.
    """
    try:
        data = _read(clip.path, clip.offset, clip.size)
    except (OSError, HTTPException, ValueError) as error:
        reason = f"unreadable: {cause(error)}: {clip.path}"
        raise DecodeError(reason, clip.key, error=Fault.UNREADABLE, stage=Stage.READ) from error
    if 0 <= clip.size != len(data):
        missing = clip.size - len(data)
        reason = f"truncated: {clip.path} ends {missing} bytes before this member does"
        raise DecodeError(reason, clip.key, error=Fault.TRUNCATED, stage=Stage.READ)
    return data


def local_path(path: str) -> str:
    """A file: URL as a path; any other path as it is."""
    return url2pathname(urlsplit(path).path) if path.startswith("file:") else path


def cause(error: Exception) -> str:
    """Why a file or URL cannot be read, in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _read(path: str, offset: int, size: int) -> bytes:
    if is_url(path):
        return read_range(path, offset, size)
    path = local_path(path)
    if stat.S_ISFIFO(os.stat(path).st_mode):  # would wait for a writer, for ever
        raise OSError("a named pipe, not a file")
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)
