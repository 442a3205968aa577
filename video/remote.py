"""Bytes from a URL: a range, or a file that can seek.

A range is one request with a Range header. A server that ignores the header sends everything; then the wanted
part is cut out of the stream, which is slow but right, and a listing reads the stream once from front to
back. Only HTTP is asked for ranges. Other schemes (gs:, hf:, sftp:) are opened by webdataset and always
streamed.
"""

import io
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from typing import IO, Any, Protocol, TypeVar, cast

ATTEMPTS = 4
TIMEOUT = 60.0  # seconds without a byte
STEP = 1 << 20
READ_AHEAD = 1 << 18
Result = TypeVar("Result")


class SupportsRead(Protocol):
    """What can be read from front to back."""

    def read(self, size: int = -1, /) -> bytes: ...


def is_url(path: str) -> bool:
    """True for http://..., gs://... and the like (pipe: among them); false for local paths."""
    return path.startswith("pipe:") or ("://" in path and not path.startswith("file:"))


def read_range(url: str, offset: int, size: int) -> bytes:
    """Bytes [offset, offset + size) of a URL, fewer at its end; a size of -1 means to the end.

    Raises:
        OSError, HTTPException, ValueError: no such host, file or scheme; server errors are tried again first.
    """
    if _is_http(url):
        return _persistently(lambda: _http_range(url, offset, size))
    with _streamed(url) as stream:
        return _cut(stream, offset, size)


def open_url(url: str) -> IO[bytes]:
    """A URL as a file; seekable if it is HTTP and the server serves ranges. Raises as read_range does."""
    if not _is_http(url):
        return _streamed(url)
    response = _persistently(lambda: _request(url, "bytes=0-0"))
    length = response.headers.get("Content-Range", "").rpartition("/")[2]
    if response.status == 206 and length.isdecimal():
        response.close()
        return cast(IO[bytes], io.BufferedReader(_RangedFile(url, int(length)), READ_AHEAD))
    return cast(IO[bytes], response)


class _RangedFile(io.RawIOBase):
    """Each read is one request."""

    def __init__(self, url: str, length: int):
        self._url = url
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), max(0, self._length - self._position))
        data = read_range(self._url, self._position, size) if size else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _is_http(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _streamed(url: str) -> IO[bytes]:
    from webdataset.gopen import gopen  # imports torch (2.5 s): only for schemes that need it

    if url.startswith("pipe:"):
        raise ValueError("shell commands (pipe:) are not run")
    return cast(IO[bytes], gopen(url))


def _request(url: str, span: str) -> HTTPResponse:
    request = urllib.request.Request(url, headers={"Range": span} if span else {})
    return urllib.request.urlopen(request, timeout=TIMEOUT)


def _http_range(url: str, offset: int, size: int) -> bytes:
    span = f"bytes={offset}-{offset + size - 1 if size > 0 else ''}" if offset or size > 0 else ""
    try:
        with _request(url, span) as response:
            return response.read() if response.status == 206 else _cut(response, offset, size)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the range starts behind the end
            return b""
        raise


def _cut(stream: SupportsRead, offset: int, size: int) -> bytes:
    """The bytes [offset, offset + size) of a stream that cannot seek."""
    while offset > 0:
        skipped = stream.read(min(offset, STEP))
        if not skipped:
            return b""
        offset -= len(skipped)
    return stream.read(size) if size >= 0 else stream.read()


def _persistently(request: Callable[[], Result]) -> Result:
    """Try again, with growing pauses, where the network or the server is at fault, not the request."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return request()
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise
            error.close()
        except (OSError, HTTPException):
            pass
        time.sleep(0.2 * 4**attempt)
    return request()
