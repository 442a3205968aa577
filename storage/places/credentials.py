"""Where a bucket's credentials and endpoint come from: never its URL, always where they usually are.

For s3:// those are the AWS variables (keys, AWS_SESSION_TOKEN, AWS_REGION or AWS_DEFAULT_REGION,
AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL), which obstore reads itself, or else a profile (AWS_PROFILE, ~/.aws),
single sign-on or an instance's role, which boto3 knows. gs:// and az:// use obstore's own look into the
environment. A URL ends up in logs, shell histories and run folders, so nothing secret is taken from one.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from storage.errors import StoreError

if TYPE_CHECKING:
    from obstore.store import ClientConfig

KNOWN_TO_OBSTORE = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SKIP_SIGNATURE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
CREDENTIAL_MINUTES = 8  # obstore fetches anew 5 minutes before the end, and botocore's are good for 10 more
ANSWER_SECONDS = 120  # for a whole request; a part of an upload then needs 140 kB/s
CONNECT_SECONDS = 5


def clean_url(url: str) -> str:
    """The URL without a slash at its end.

    Raises:
        ValueError: no bucket in it, or something that is or may be a secret (which is not repeated).
    """
    parts = urlsplit(url)
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            f"expected a plain URL such as {parts.scheme}://bucket/path, found credentials, '?' or '#' in "
            f"the URL of {where}. Credentials belong into the environment."
        )
    if not parts.netloc:
        raise ValueError(f"expected a URL such as {parts.scheme}://bucket/path, found no bucket in {where}")
    return where.rstrip("/")


def connection(url: str) -> dict[str, Any]:
    """What obstore must know besides the URL, as the arguments of `obstore.store.from_url`.

    Raises:
        StoreError: no credentials, or a profile that cannot be read.
    """
    options: ClientConfig = {"timeout": f"{ANSWER_SECONDS}s", "connect_timeout": f"{CONNECT_SECONDS}s"}
    if urlsplit(url).scheme != "s3":
        return {"client_options": options}
    found = {} if any(os.environ.get(name) for name in KNOWN_TO_OBSTORE) else from_profile(url)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config = found.get("config", {}) | ({"endpoint": endpoint} if endpoint else {})
    options["allow_http"] = config.get("endpoint", "").startswith("http://")
    return found | {"config": config, "client_options": options}


def from_profile(url: str) -> dict[str, Any]:
    """Credentials, region and endpoint as boto3 finds them; nothing without boto3, as obstore then asks for
    the instance's role.
    """
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        if os.environ.get("AWS_PROFILE") or profile_file().exists():
            raise StoreError(
                f"{url}: the credentials are in an AWS profile, and reading one takes boto3. Run "
                "`pip install boto3`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from None
        return {}
    try:
        session = boto3.Session()
        if session.get_credentials() is None:
            raise StoreError(
                f"{url}: no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "AWS_PROFILE"
            )
        endpoint = str(session.client("s3").meta.endpoint_url)
    except BotoCoreError as error:
        raise StoreError(f"{url}: the AWS profile cannot be used: {error}") from error
    config = {"region": session.region_name} if session.region_name else {}
    if not (urlsplit(endpoint).hostname or "").endswith(".amazonaws.com"):
        config["endpoint"] = endpoint
    provider = Boto3CredentialProvider(session, ttl=timedelta(minutes=CREDENTIAL_MINUTES))
    return {"config": config, "credential_provider": provider}


def profile_file() -> Path:
    """Where the AWS tools keep credentials."""
    return Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
