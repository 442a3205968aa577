"""Where credentials and endpoint come from: the environment, an AWS profile, never a URL."""

import sys

import pytest

from storage.errors import StoreError
from storage.places.credentials import clean_url, connection
from storage.places.object_place import ObjectPlace
from storage.places.place import open_place
from storage.places.retries import Retries
from tests import s3_server
from tests.s3_server import KEY, clear_credentials, fresh_url

URL = "s3://bucket/bank"
server, front = s3_server.server, s3_server.front


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """Empty files for profiles, and an environment that names nothing else."""
    clear_credentials(monkeypatch)
    for name, file in (("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")):
        (tmp_path / file).write_text("")
        monkeypatch.setenv(name, str(tmp_path / file))
    return tmp_path


def test_clean_urls():
    assert clean_url("s3://bucket/a/bank/") == "s3://bucket/a/bank"
    assert clean_url("gs://bucket") == "gs://bucket"


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:hush@bucket/bank",
        "s3://hush@bucket/bank",
        "s3://bucket/bank?X-Amz-Signature=hush",
        "az://container/bank?sig=hush",
        "s3://bucket/bank#hush",
    ],
)
def test_urls_with_secrets_are_refused_and_not_repeated(url):
    for use in (clean_url, ObjectPlace, open_place):
        with pytest.raises(ValueError, match="belong into the environment") as caught:
            use(url)
        assert "hush" not in str(caught.value)


def test_urls_without_a_bucket_are_refused():
    with pytest.raises(ValueError, match="found no bucket"):
        clean_url("s3:///bank")


def test_endpoint_of_the_environment(profile, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    assert connection(URL)["config"] == {}
    assert not connection(URL)["client_options"]["allow_http"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://general:1")
    assert connection(URL)["config"] == {"endpoint": "http://general:1"}
    assert connection(URL)["client_options"]["allow_http"]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://special:1")
    assert connection(URL)["config"] == {"endpoint": "https://special:1"}
    assert not connection(URL)["client_options"]["allow_http"]


def test_other_stores_find_their_own(profile):
    for url in ("gs://bucket/bank", "az://container/bank"):
        assert set(connection(url)) == {"client_options"}


def test_profile_gives_credentials_region_and_endpoint(front, profile, monkeypatch):
    endpoint = front.environment["AWS_ENDPOINT_URL"]
    (profile / "credentials").write_text(
        f"[work]\naws_access_key_id = {KEY}\naws_secret_access_key = hush\n[other]\n"
    )
    (profile / "config").write_text(f"[profile work]\nregion = eu-west-3\nendpoint_url = {endpoint}\n")
    monkeypatch.setenv("AWS_PROFILE", "work")
    found = connection(URL)
    assert found["config"] == {"region": "eu-west-3", "endpoint": endpoint}
    assert found["client_options"]["allow_http"]
    place = ObjectPlace(fresh_url(), Retries(count=1))
    place.write("note", b"here")
    assert place.read("note") == b"here"
    assert place.swap("note", b"here", b"there")
    assert "hush" not in repr(place)


def test_profile_at_aws_has_no_endpoint_of_its_own(profile, monkeypatch):
    (profile / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    (profile / "config").write_text("[default]\nregion = us-west-2\n")
    assert connection(URL)["config"] == {"region": "us-west-2"}


def test_environment_goes_before_a_profile(profile, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    assert "credential_provider" not in connection(URL)


def test_profile_that_is_not_there(profile, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreError, match=r"profile cannot be used.*nobody"):
        connection(URL)


def test_no_credentials_at_all(profile):
    with pytest.raises(StoreError, match="no credentials were found; set AWS_ACCESS_KEY_ID"):
        connection(URL)


def test_profile_without_boto3(profile, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(StoreError, match="pip install boto3"):
        connection(URL)  # a credentials file is there
    (profile / "credentials").unlink()
    assert "credential_provider" not in connection(URL)  # obstore asks for the instance's role
    monkeypatch.setenv("AWS_PROFILE", "work")
    with pytest.raises(StoreError, match="pip install boto3"):
        connection(URL)
