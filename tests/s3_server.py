"""A real S3 server over HTTP, and a proxy in front of it that behaves as badly as networks do.

moto's server keeps the objects. Everything goes through the proxy, also when it has no faults, for two things
that moto leaves undone: it checks conditions (If-Match, If-None-Match; moto 5.1 and later do) and stores
without holding a lock between the two, so the proxy lets one changing request through at a time; and it takes
any key, so the proxy refuses all but `KEY`.

A test module has the fixtures by naming them: `server, front = s3_server.server, s3_server.front`.
"""

import http.client
import logging
import random
import socket
import struct
import threading
import uuid
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, TypeVar

import pytest
from moto.server import ThreadedMotoServer

KEY = "test-key"
BUCKET = "banks"
SIGNED = f"AWS4-HMAC-SHA256 Credential={KEY}/20200101/us-east-1/s3/aws4_request"
PASSED_ON = ("connection", "date", "server", "transfer-encoding", "content-length")
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Server = TypeVar("Server", bound=ThreadingHTTPServer)
Fault = Literal["busy", "error", "reset", "lost", "cut", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Faults:
    """How often, of all requests, what goes wrong; probabilities."""

    methods: tuple[str, ...] = ("GET", "HEAD", "PUT", "POST", "DELETE")
    """Which requests it happens to."""
    busy: float = 0.0
    """Answered 503 SlowDown, not carried out."""
    error: float = 0.0
    """Answered 500 InternalError, not carried out."""
    reset: float = 0.0
    """The connection is reset, the request not carried out."""
    lost: float = 0.0
    """Carried out, but the connection is reset instead of an answer."""
    cut: float = 0.0
    """Carried out, but the connection is reset in the middle of the answer's body."""

    def draw(self, generator: random.Random) -> Fault:
        """What happens to the next request."""
        names: list[Fault] = ["busy", "error", "reset", "lost", "cut"]
        weights = [getattr(self, name) for name in names]
        happening: list[Fault] = ["none", *names]
        return generator.choices(happening, [1.0 - sum(weights), *weights])[0]


class FaultyProxy(ThreadingHTTPServer):
    """Passes requests on to the server at `target`, or fails to."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, target: tuple[str, int], faults: Faults, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.target, self.faults = target, faults
        self.random = random.Random(seed)
        self.next_faults: deque[Fault] = deque()
        """What happens to the next conditional puts, before chance decides again."""
        self.happened: Counter[str] = Counter()
        """How often each fault and each method was met."""
        self.drawing, self.changing = threading.Lock(), threading.Lock()

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which a client finds the proxy."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server_address[1]}",
        }

    def fault(self, conditional: bool, method: str) -> Fault:
        """What happens to this request."""
        with self.drawing:
            planned = conditional and self.next_faults
            if planned:
                drawn = self.next_faults.popleft()
            else:
                drawn = self.faults.draw(self.random) if method in self.faults.methods else "none"
            self.happened.update((drawn, method))
        return drawn

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Close without the farewell that would turn a reset into an orderly end."""
        self.close_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up."""


class ProxyHandler(BaseHTTPRequestHandler):
    """One client's connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer would wait 40 ms for an acknowledgement
    wbufsize = 1 << 16
    server: FaultyProxy

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        conditional = self.command == "PUT" and bool({"if-match", "if-none-match"} & set(self.lowered()))
        fault = self.server.fault(conditional, self.command)
        if f"Credential={KEY}/" not in self.headers.get("Authorization", ""):
            self.answer(403, {}, complaint("InvalidAccessKeyId", "The access key does not exist."))
        elif fault == "busy":
            self.answer(503, {}, complaint("SlowDown", "Please reduce your request rate."))
        elif fault == "error":
            self.answer(500, {}, complaint("InternalError", "We encountered an internal error."))
        elif fault == "reset":
            self.reset()
        else:
            status, headers, content = self.pass_on(body)
            if fault == "lost":
                self.reset()
            else:
                self.answer(status, headers, content, cut=fault == "cut")

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def lowered(self) -> dict[str, str]:
        """The request's headers."""
        return {name.lower(): value for name, value in self.headers.items()}

    def pass_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The server's answer; one changing request at a time, parts of uploads excepted."""
        changing = self.command not in ("GET", "HEAD") and "partNumber" not in self.path
        with self.server.changing if changing else threading.Lock():
            connection = http.client.HTTPConnection(*self.server.target, timeout=30)
            try:
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                return answer.status, dict(answer.getheaders()), answer.read()
            finally:
                connection.close()

    def answer(self, status: int, headers: dict[str, str], content: bytes, cut: bool = False) -> None:
        """Send it, whole or cut in the middle."""
        self.send_response(status)
        length = str(len(content))
        for name, value in headers.items():
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            if name.lower() not in PASSED_ON:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.reset()

    def reset(self) -> None:
        """Close the connection the hard way."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Not to stderr."""


def complaint(code: str, message: str) -> bytes:
    """An error in S3's words."""
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    """The address of a server for the whole module."""
    with serving() as address:
        yield address


@pytest.fixture
def front(server: tuple[str, int]) -> Iterator[FaultyProxy]:
    """A proxy without faults in front of the server; the environment points at it."""
    with proxy(server) as faultless:
        yield faultless


@contextmanager
def serving() -> Iterator[tuple[str, int]]:
    """A server with one empty bucket, `BUCKET`; its address, for `proxy`."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would log every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address = server.get_host_and_port()
        connection = http.client.HTTPConnection(*address)
        connection.request("PUT", f"/{BUCKET}", headers={"Authorization": SIGNED})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        connection.close()
        yield address
    finally:
        server.stop()


@contextmanager
def proxy(target: tuple[str, int], faults: Faults | None = None, seed: int = 0) -> Iterator[FaultyProxy]:
    """A proxy in front of the server, with the environment pointing at it and at nothing of the user's."""
    faulty = FaultyProxy(target, faults or Faults(), seed)
    with running(faulty) as server, pytest.MonkeyPatch.context() as patch:
        clear_credentials(patch)
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """A server in a thread of its own, until it is left."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def clear_credentials(patch: pytest.MonkeyPatch) -> None:
    """Hide the user's own AWS settings."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"):
        patch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"):
        patch.delenv(name, raising=False)
    patch.setenv("AWS_CONFIG_FILE", "/nowhere")
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def fresh_url() -> str:
    """A URL in the server's bucket that nobody has used."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}/bank"
