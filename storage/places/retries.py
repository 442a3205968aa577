"""When an object store answers badly: try again with growing pauses, or say in one line what is wrong.

obstore itself retries 5xx answers and refused connections, and dropped connections and timeouts where it
holds the request for repeatable. It does not retry a dropped connection on a conditional put or a bulk
deletion, a 408 or 429, a multipart upload that the store forgot because an answer to it was lost, or keys
that fail within a bulk deletion; `passes` knows these too.
"""

import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from storage.errors import StoreError

if TYPE_CHECKING:
    from obstore.store import RetryConfig

REFUSALS = (AlreadyExistsError, PreconditionError)
TRANSPORT = re.compile(r"HTTP error|error sending request|response body|HttpError")
STATUS = re.compile(r"status code: (\d{3})[^:\n]*")
CODE = re.compile(r"<Code>([^<]*)</Code>|\(code: (\w+)\)")
MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
CAUSE = re.compile(r'"([a-z][^"]*error)",|(?:message|error): "([^"]*)"')
USED_UP = re.compile(r"after (\d+) retries, max_retries: (\d+)")
PASSING_CODES = {
    "ConditionalRequestConflict",
    "InternalError",
    "NoSuchUpload",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
}
METADATA_SERVICE = "169.254.169.254"
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """How long to be patient with a store: as it stands, about 40 seconds without an answer."""

    count: int = 10
    """Attempts after the first."""
    first_pause: float = 0.1
    """Seconds before the second attempt; pauses double from there, with jitter."""
    longest_pause: float = 15.0
    """Seconds."""
    give_up_after: float = 180.0
    """Seconds after which no new attempt begins."""

    def __post_init__(self) -> None:
        if self.count < 0 or not 0 < self.first_pause <= self.longest_pause or self.give_up_after <= 0:
            raise ValueError(f"expected count >= 0 and 0 < first_pause <= longest_pause, found {self}")

    def config(self) -> "RetryConfig":
        """The same for obstore's own retries, whose pauses are drawn between the first and `base` times the
        one before: base 4 makes them double on average; with its own 2 it gives up after 2 seconds.
        """
        return {
            "max_retries": self.count,
            "retry_timeout": timedelta(seconds=self.give_up_after),
            "backoff": {
                "init_backoff": timedelta(seconds=self.first_pause),
                "max_backoff": timedelta(seconds=self.longest_pause),
                "base": 4,
            },
        }

    def attempts(self) -> Iterator[int]:
        """0, 1, 2 and so on, a pause before each but the first, until the patience is used up."""
        begun = time.monotonic()
        yield 0
        for attempt in range(self.count):
            pause = min(self.longest_pause, self.first_pause * 2**attempt) * random.uniform(0.5, 1.0)
            if time.monotonic() + pause - begun > self.give_up_after:
                return
            time.sleep(pause)
            yield attempt + 1


def status_of(error: Exception) -> int | None:
    """The HTTP status that the store answered with, or None if there was no answer."""
    found = STATUS.search(str(error))
    return int(found[1]) if found else None


def code_of(error: Exception) -> str:
    """The store's own name for the error, such as NoSuchBucket; empty if it gave none."""
    found = CODE.search(str(error))
    return (found[1] or found[2]) if found else ""


def passes(error: Exception) -> bool:
    """Whether the same request may well succeed later, and obstore's own attempts are not used up."""
    text = str(error)
    used_up = USED_UP.search(text)
    if (used_up and used_up[1] == used_up[2]) or "builder error" in text:
        return False
    status = status_of(error)
    if code_of(error) in PASSING_CODES or status in (408, 429):
        return True
    return status >= 500 if status else bool(TRANSPORT.search(text))


def store_error(url: str, doing: str, error: Exception) -> StoreError:
    """What was tried, what came back and what to do, in one line without credentials."""
    return StoreError(f"{url}: could not {doing}: {reason(error)}. {advice(url, error)}")


def reason(error: Exception) -> str:
    """What came back, as short as it can be said."""
    text = str(error)
    code, said, status = code_of(error), MESSAGE.search(text), status_of(error)
    if status:
        parts = [f"the store answered {status}", code, said[1].rstrip(".") if said else ""]
        return ", ".join(part for part in parts if part)
    causes = [first or second for first, second in CAUSE.findall(text)]
    if TRANSPORT.search(text) and causes:
        return f"no answer ({', '.join(dict.fromkeys(causes))})"
    return re.sub(r"\?\S*", "", text.splitlines()[0]).rstrip(". ")


def advice(url: str, error: Exception) -> str:
    """What the user can do about it."""
    scheme = url.partition("://")[0]
    status, code, text = status_of(error), code_of(error), str(error)
    if METADATA_SERVICE in text:
        return f"No credentials were found; set {CREDENTIALS[scheme]}"
    if status in (401, 403):
        return f"Check {CREDENTIALS[scheme]}, and that they may read and write there"
    if code == "NoSuchBucket" or status == 404:
        return "Create the bucket, or correct the URL"
    if "region" in text or status == 301:
        return "Set AWS_REGION to the bucket's region"
    if status is None and isinstance(error, BaseError):
        return f"Check the network{' and AWS_ENDPOINT_URL' if scheme == 's3' else ''}"
    return "Try again later; what was stored so far is kept"
