"""URLs from a real HTTP server: with ranges, without them, failing now and then, and gone."""

import re
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import pytest

from video import Clip, DecodeError, InputError, list_clips, read_bytes, remote
from video.remote import open_url, read_range

BIG = bytes(range(256)) * 8192  # 2 MiB


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    return buffer.getvalue()


FILES = {
    "/s-0.tar": tar_of({"a.mp4": BIG, "a.cls": b"1", "b.mp4": b"second", "b.cls": b"0"}),
    "/s-1.tar": tar_of({"c.mp4": b"third", "c.cls": b"2"}),
    "/v.mp4": b"a video",
}


class Server(ThreadingHTTPServer):
    """Serves FILES; counts what it sends."""

    ranges = True
    failures = 0
    sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.server.failures:
            self.server.failures -= 1
            self.send_error(503)
            return
        data = FILES.get(self.path)
        if data is None:
            self.send_error(404)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), int(asked[2] or len(data) - 1)) if asked else (0, len(data) - 1)
        if asked and self.server.ranges and start >= len(data):
            self.send_error(416)
            return
        partial = bool(asked) and self.server.ranges
        body = data[start : end + 1] if partial else data
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
            self.server.sent += len(body)
        except ConnectionError:  # the client has seen enough
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(remote.time, "sleep", lambda _: None)
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("ranges", [True, False])
def test_tars_are_listed_and_read(server: Server, ranges: bool) -> None:
    server.ranges = ranges
    clips = list_clips(server.url + "/s-{0..1}.tar")
    assert [(c.key, c.label) for c in clips] == [
        ("s-0.tar/a.mp4", 1),
        ("s-0.tar/b.mp4", 0),
        ("s-1.tar/c.mp4", 2),
    ]
    assert [read_bytes(clip) for clip in clips] == [BIG, b"second", b"third"]


def test_listing_skips_the_videos(server: Server) -> None:
    listed = list_clips(server.url + "/s-0.tar")
    with open_url(server.url + "/s-0.tar") as file:
        assert file.seekable()
    assert len(listed) == 2
    assert server.sent < len(BIG) / 2


@pytest.mark.parametrize("ranges", [True, False])
def test_ranges(server: Server, ranges: bool) -> None:
    server.ranges = ranges
    url = server.url + "/v.mp4"
    assert read_range(url, 0, -1) == b"a video"
    assert read_range(url, 2, 3) == b"vid"
    assert read_range(url, 2, -1) == b"video"
    assert read_range(url, 5, 100) == b"eo"
    assert read_range(url, 100, 5) == b""


def test_a_server_that_fails_now_and_then_is_asked_again(server: Server) -> None:
    clip = Clip(key="v", path=server.url + "/v.mp4")
    server.failures = 3
    assert read_bytes(clip) == b"a video"
    server.failures = 4
    with pytest.raises(DecodeError, match="unreadable: HTTP 503"):
        read_bytes(clip)


def test_what_is_not_there(server: Server) -> None:
    with pytest.raises(DecodeError, match="unreadable: HTTP 404"):
        read_bytes(Clip(key="x", path=server.url + "/x.mp4"))
    with pytest.raises(InputError, match=r"expected a tar at .*/x\.tar; found: HTTP 404"):
        list_clips(server.url + "/x.tar")
    with pytest.raises(DecodeError, match=r"unreadable: .*refused"):
        read_bytes(Clip(key="x", path="http://127.0.0.1:9/x.mp4"))
    with pytest.raises(InputError, match="shell commands"):
        list_clips("pipe:cat /tmp/x.tar")
    with pytest.raises(InputError, match="unknown:"):
        list_clips("unknown://host/x.tar")


def test_a_list_may_name_urls(server: Server, tmp_path) -> None:
    path = tmp_path / "l.txt"
    path.write_text(f"{server.url}/v.mp4 4\n")
    (clip,) = list_clips(str(path))
    assert (clip.label, read_bytes(clip)) == (4, b"a video")
