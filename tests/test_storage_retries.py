"""Which answers are worth another try, and what is said of the others; each error is obstore's own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import obstore
import pytest
from obstore.store import S3Store

from storage.places.retries import Retries, passes, store_error
from tests.s3_server import clear_credentials, complaint, running

URL = "s3://bank-bucket/bank"
ONCE = Retries(count=0)


@contextmanager
def store_answering(status: int, body: bytes) -> Iterator[S3Store]:
    """A store that has one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield store_at(f"http://127.0.0.1:{server.server_address[1]}")


def store_at(endpoint: str, *, allow_http: bool = True, retries: Retries = ONCE) -> S3Store:
    with pytest.MonkeyPatch.context() as patch:
        clear_credentials(patch)
        return S3Store.from_url(
            URL,
            config={"endpoint": endpoint, "access_key_id": "key", "secret_access_key": "secret"},
            client_options={"allow_http": allow_http},
            retry_config=retries.config(),
        )


def error_of(ask: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any of obstore's, whose kind is not the matter
        ask()
    return caught.value


ANSWERS = [
    (500, b"", True),
    (503, complaint("SlowDown", "Please reduce your request rate."), True),
    (429, complaint("TooManyRequests", "Please reduce your request rate."), True),
    (408, b"", True),
    (409, complaint("ConditionalRequestConflict", "Try again."), True),
    (409, complaint("BlobAlreadyExists", "It exists."), False),
    (404, complaint("NoSuchUpload", "It may have been completed."), True),
    (404, complaint("NoSuchBucket", "The bucket does not exist."), False),
    (404, complaint("NoSuchKey", "The key does not exist."), False),
    (400, complaint("RequestTimeout", "Idle connections are closed."), True),
    (400, complaint("AuthorizationHeaderMalformed", "The region is wrong; expecting eu-west-1."), False),
    (401, b"", False),
    (403, complaint("AccessDenied", "Access Denied."), False),
    (412, complaint("PreconditionFailed", "A condition did not hold."), False),
]


@pytest.mark.parametrize(("status", "body", "expected"), ANSWERS)
def test_answers_that_pass(status, body, expected):
    with store_answering(status, body) as store:
        assert passes(error_of(lambda: obstore.put(store, "x", b""))) is expected


def test_keys_that_fail_within_a_bulk_deletion():
    for code, expected in (("InternalError", True), ("AccessDenied", False)):
        failed = f"<Error><Key>bank/x</Key><Code>{code}</Code><Message>No</Message></Error>"
        body = f"<DeleteResult>{failed}</DeleteResult>"
        with store_answering(200, body.encode()) as store:
            assert passes(error_of(lambda: obstore.delete(store, ["x"]))) is expected


def test_no_answer_passes_until_obstore_has_spent_its_attempts():
    error = error_of(lambda: obstore.get(store_at("http://127.0.0.1:9"), "x"))
    assert passes(error)
    spent = store_at("http://127.0.0.1:9", retries=Retries(count=1, first_pause=0.001))
    assert not passes(error_of(lambda: obstore.get(spent, "x")))


def test_settings_that_cannot_work_do_not_pass():
    assert not passes(error_of(lambda: obstore.get(store_at("http://127.0.0.1:9", allow_http=False), "x")))


SAID = [
    (403, complaint("AccessDenied", "Access Denied."), "answered 403, AccessDenied, Access Denied. Check"),
    (404, complaint("NoSuchBucket", "Not there"), "answered 404, NoSuchBucket, Not there. Create the bucket"),
    (301, b"", "Set AWS_REGION to the bucket's region"),
    (503, b"", "answered 503. Try again later"),
]


@pytest.mark.parametrize(("status", "body", "expected"), SAID)
def test_what_is_said_is_one_line_with_what_to_do(status, body, expected):
    with store_answering(status, body) as store:
        error = store_error(URL, "write x", error_of(lambda: obstore.put(store, "x", b"")))
    assert str(error).startswith(f"{URL}: could not write x: ")
    assert expected in str(error)
    assert "\n" not in str(error)


def test_what_is_said_of_other_stores_names_their_variables():
    with store_answering(403, b"") as store:
        error = error_of(lambda: obstore.put(store, "x", b""))
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(store_error("gs://bucket/bank", "read x", error))
    assert "AZURE_STORAGE_ACCOUNT_KEY" in str(store_error("az://bucket/bank", "read x", error))


def test_attempts_are_counted():
    assert list(Retries(count=3, first_pause=0.001).attempts()) == [0, 1, 2, 3]
    assert list(Retries(count=0).attempts()) == [0]


def test_attempts_end_with_the_time():
    begun = time.monotonic()
    done = list(Retries(count=100, first_pause=0.02, longest_pause=0.02, give_up_after=0.2).attempts())
    assert 10 <= len(done) <= 21
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    "wrong", [{"count": -1}, {"first_pause": 0}, {"first_pause": 2, "longest_pause": 1}, {"give_up_after": 0}]
)
def test_impossible_patience_is_refused(wrong):
    with pytest.raises(ValueError, match="expected count"):
        Retries(**wrong)
