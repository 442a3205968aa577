"""Bytes from a file or a URL: all of them, or a range.

A local range is one seek and one read. Over HTTP a range is one request with a Range header; a server that
ignores the header sends everything, and then the wanted part is cut out of the stream, which is slow but
right. Other URL schemes (gs:, hf:, sftp:) are opened by webdataset and always streamed.
"""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import IO, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from video.clip import Clip
from video.errors import DecodeError

ATTEMPTS = 4
TIMEOUT = 60.0  # seconds without a byte
STEP = 1 << 20
Result = TypeVar("Result")


def read_bytes(clip: Clip) -> bytes:
    """The clip's file, or its member of a tar.

    Raises:
        DecodeError: the file or URL cannot be read, or ends before the member does.
    """
    try:
        data = _read(clip.path, clip.offset, clip.size)
    except (OSError, HTTPException, ValueError) as error:
        raise DecodeError(f"unreadable: {_cause(error)}", clip.key) from error
    if 0 <= clip.size != len(data):
        raise DecodeError(
            f"truncated: {clip.path} ends {clip.size - len(data)} bytes before this member does", clip.key
        )
    return data


def is_url(path: str) -> bool:
    """True for http://..., gs://... and the like; false for local paths."""
    return "://" in path and not path.startswith("file:")


def local_path(path: str) -> str:
    """A file: URL as a path; any other path as it is."""
    return url2pathname(urlsplit(path).path) if path.startswith("file:") else path


def is_http(path: str) -> bool:
    """True for URLs that may serve ranges."""
    return path.startswith(("http://", "https://"))


def http_range(url: str, offset: int, size: int) -> tuple[bytes, int]:
    """Bytes [offset, offset + size) of a URL and the length of the whole, -1 if the server does not say.

    Fewer bytes come back at the end of the file. A size of -1 means to the end.
    """
    return _persistently(lambda: _http_range(url, offset, size))


def _read(path: str, offset: int, size: int) -> bytes:
    if is_http(path):
        return http_range(path, offset, size)[0]
    if is_url(path):
        from webdataset import gopen  # imports torch: only for schemes that need it

        with gopen.gopen(path) as stream:
            return _cut(stream, offset, size)
    with open(local_path(path), "rb") as file:
        file.seek(offset)
        return file.read(size)


def _http_range(url: str, offset: int, size: int) -> tuple[bytes, int]:
    last = "" if size < 0 else str(offset + size - 1)
    headers = {"Range": f"bytes={offset}-{last}"} if offset or size >= 0 else {}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT
        ) as response:
            if response.status == 206:
                total = response.headers.get("Content-Range", "").rpartition("/")[2]
                return response.read(), int(total) if total.isdigit() else -1
            length = response.headers.get("Content-Length")
            return _cut(response, offset, size), int(length) if length else -1
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the range starts behind the end
            return b"", offset
        raise


def _cut(stream: IO[bytes], offset: int, size: int) -> bytes:
    """The bytes [offset, offset + size) of a stream that cannot seek."""
    while offset > 0:
        skipped = stream.read(min(offset, STEP))
        if not skipped:
            return b""
        offset -= len(skipped)
    return stream.read(size) if size >= 0 else stream.read()


def _persistently(request: Callable[[], Result]) -> Result:
    """Try again, with growing pauses, where the network or the server is at fault; not where the request
    is."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return request()
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise
        except (OSError, HTTPException):
            pass
        time.sleep(0.2 * 4**attempt)
    return request()


def _cause(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    return getattr(error, "strerror", None) or str(getattr(error, "reason", error)) or type(error).__name__
