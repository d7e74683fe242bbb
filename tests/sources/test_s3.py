"""Buckets of stores of objects: signed requests, and what the store says of them."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outlast.cli.config.file import Config, config_of
from outlast.cli.config.values import check_source
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    AccessDeniedError,
    BadConfigError,
    BadNameError,
    EntryNotFoundError,
    MalformedError,
    OutlastError,
    PolicyError,
    RepoNotFoundError,
    UnreachableError,
)
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId, check_path
from outlast.ops.holders.independence import group_of
from outlast.sources.base import AccessSource, Source
from outlast.sources.http import HttpClient
from outlast.sources.kinds import SourceAddress, open_source, parse_source, place_of
from outlast.sources.s3 import _SignedHttp
from outlast.sources.settings import HttpSettings, S3Place
from outlast.sources.tuning import TUNING
from tests.sourcesim import S3Sim, sums
from tests.sourcesim.s3 import BUCKET, KEY, KEYS, SECRET, SESSION, refusing
from tests.sourcesim.site import cut, elsewhere, failing, page

REPO = RepoId.parse("org/name")
BIG = bytes(range(256)) * 40
FILES = {"config.json": b"{}", "sub/a b+ü%41#[x]~*'.bin": BIG, "empty": b""}
LISTED = {**FILES, "SHA256SUMS": sums(FILES)}
OBJECTS = {f"pre fix/org/name/{path}": data for path, data in LISTED.items()}
AT = f"s3://{BUCKET}/pre fix"


@pytest.fixture
def store() -> Iterator[S3Sim]:
    with S3Sim(OBJECTS, private=True) as store:
        yield store


def source(store: S3Sim, keys: str | None = KEYS, at: str = AT, **place: str) -> Source:
    where = S3Place(**{"endpoint": store.url, **place})
    return open_source(HttpClient(HttpSettings(read_timeout=5, s3=where)), at, keys)


def read(source: Source, data: bytes, start: int = 0, stop: int | None = None) -> bytes:
    stop = len(data) if stop is None else stop
    wanted = FileEntry("x", len(data), sha256=Digest.of(data))
    reader = source.open(REPO, GitOid("e" * 40), wanted, start, stop)
    try:
        buffer = memoryview(bytearray(len(data)))
        got = 0
        while count := reader.readinto(buffer[got:]):
            got += count
        return bytes(buffer[:got])
    finally:
        reader.close()


# Asking


def test_a_private_bucket_is_read_by_signed_requests(store: S3Sim) -> None:
    found = source(store)
    listing = found.describe(REPO, "main")
    assert {one.path: one.size for one in listing.entries} == {
        path: len(data) for path, data in FILES.items()
    }
    assert listing.facts.private is True
    assert (read(found, BIG), read(found, BIG, 100, 300)) == (BIG, BIG[100:300])
    assert found.name == AT
    assert all(SECRET not in str(one) for one in store.asked)
    assert not any("Authorization" in one.headers for one in store.asked)


def test_it_is_asked_for_without_keys_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)  # not installed
    with S3Sim(OBJECTS) as store:
        found = source(store, None)
        assert found.describe(REPO, "main").facts.private is False
        assert read(found, BIG) == BIG
        assert not any(one.query for one in store.asked)


def test_keys_to_what_everybody_may_read_make_nothing_private() -> None:
    with S3Sim(OBJECTS) as store:
        assert source(store).describe(REPO, "main").facts.private is False


def test_without_keys_a_private_bucket_has_nothing(store: S3Sim) -> None:
    found = source(store)
    assert isinstance(found, AccessSource)
    found.check_access(REPO)
    assert (found.has_token, found.with_token(None).has_token) == (True, False)
    with pytest.raises(RepoNotFoundError):
        found.with_token(None).check_access(REPO)
    with pytest.raises(RepoNotFoundError, match="HTTP 403"):
        source(store, None).describe(REPO, "main")


def test_temporary_keys_have_a_session_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with S3Sim(OBJECTS, private=True, session=SESSION) as store:
        found = source(store, f"{KEYS}:{SESSION}")
        assert read(found, BIG) == BIG
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of other keys")  # obstore would add it
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere.invalid")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    with S3Sim(OBJECTS, private=True) as store:
        assert read(source(store), BIG) == BIG


def test_a_model_by_its_place_in_the_bucket() -> None:
    for at, key in ((f"s3://{BUCKET}/a/b=.", "a/b/"), (f"s3://{BUCKET}=a b", "a b/")):
        with S3Sim({f"{key}{path}": data for path, data in LISTED.items()}, private=True) as store:
            found = source(store, at=at)
            assert read(found, BIG) == BIG
            assert found.name == at
            with pytest.raises(RepoNotFoundError) as caught:
                source(store).describe(REPO, "main")
            assert f"{AT}=." in caught.value.hint


def test_regions(store: S3Sim) -> None:
    assert S3Place().url == "https://s3.us-east-1.amazonaws.com"
    assert S3Place(region="cn-north-1").url == "https://s3.cn-north-1.amazonaws.com.cn"
    with pytest.raises(AccessDeniedError, match="another region") as caught:
        source(store, region="eu-west-9").describe(REPO, "main")
    assert "AWS_REGION" in caught.value.hint
    with S3Sim(OBJECTS, private=True, region="eu-west-9") as other:
        assert read(source(other, region="eu-west-9"), BIG) == BIG
        other.fault("manifest", refusing(301, "PermanentRedirect", x_amz_bucket_region="us-9"))
        with pytest.raises(UnreachableError, match="in the region us-9"):
            source(other, region="eu-west-9").describe(REPO, "main")
        other.fault("manifest", refusing(301, "PermanentRedirect", x_amz_bucket_region="\x7f;"))
        with pytest.raises(AccessDeniedError, match="another region"):
            source(other, region="eu-west-9").describe(REPO, "main")


SAFE = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@given(SAFE)
@example("a/~b/.c/d*e'(f)!?#[]{}^|\\\"<>`%2F%")
@example("\x7f\x85\u2028")
def test_any_safe_path_is_signed_as_it_is(path: str) -> None:
    try:
        check_path(path)
    except BadNameError:
        return
    signing = _SignedHttp(HttpClient(HttpSettings()), BUCKET, S3Place("http://[::1]:9"), TUNING)
    url = signing._signed(f"{signing.bucket_url}/{quote(path)}", "GET", KEYS)
    assert unquote(urlsplit(url).path) == f"/{BUCKET}/{path}"


# What a store says


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("OTHER:secret", "does not know the access key"),
        (f"{KEY}:other", "secret key is not that of"),
        (f"{KEYS}:session", "session token invalid"),
    ],
)
def test_wrong_keys(store: S3Sim, keys: str, says: str) -> None:
    with pytest.raises(AccessDeniedError, match=says) as caught:
        source(store, keys).describe(REPO, "main")
    assert "AWS_" in caught.value.hint
    assert keys.split(":")[1] not in str(caught.value)


def test_no_such_bucket(store: S3Sim) -> None:
    with pytest.raises(RepoNotFoundError, match="no such bucket"):
        source(store, at="s3://other").describe(REPO, "main")


FAULTS: list[tuple[Any, type[OutlastError], str]] = [
    (refusing(503, "SlowDown"), UnreachableError, "503"),
    (refusing(403, "AccessDenied"), EntryNotFoundError, "has no"),
    (refusing(403, "RequestTimeTooSkewed"), AccessDeniedError, "another time"),
    (refusing(403, "x" * 100_000), EntryNotFoundError, "has no"),
    (cut, UnreachableError, "closed early"),
    (page, UnreachableError, "web page"),
    (failing(429, Retry_After="3"), UnreachableError, "3 s"),
    (elsewhere("file:///etc/passwd"), MalformedError, "not an http"),
]


@pytest.mark.parametrize(("fault", "error", "says"), FAULTS)
def test_answers_that_are_not_the_file(
    store: S3Sim, fault: Any, error: type[OutlastError], says: str
) -> None:
    found = source(store)
    found.describe(REPO, "main")
    store.fault("/sub/", fault)
    with pytest.raises(error, match=says):
        read(found, BIG)


def test_a_size_that_is_refused_is_not_a_file_that_is_gone(store: S3Sim) -> None:
    """Keys may expire between the list and the sizes; else the revision would be partial."""
    store.fault("/sub/", refusing(403, "ExpiredToken"))
    with pytest.raises(AccessDeniedError, match="session token expired"):
        source(store).describe(REPO, "main")
    store._faults.clear()
    store.fault("/sub/", refusing(403, "AccessDenied"))
    assert source(store).describe(REPO, "main").unlisted is True


def test_a_redirect_gets_no_signature(store: S3Sim) -> None:
    found = source(store)
    found.describe(REPO, "main")
    store.fault("/sub/", elsewhere(f"{store.cdn_url}/empty"))
    with pytest.raises(OutlastError):
        read(found, BIG)
    assert [one.query for one in store.asked if one.cdn] == [{}] * store.count(cdn=True)
    assert store.count(cdn=True) > 0


# Settings


def test_what_may_be_written() -> None:
    assert check_source(f"{AT}/") == AT
    assert check_source("s3://bucket=org/x", named=True) == "s3://bucket=org/x"
    assert parse_source("s3://bucket/a=.") == SourceAddress("s3", "s3://bucket/a", ".")
    assert place_of("s3://bucket/a=.") == ("s3", "bucket", 0)
    assert group_of("s3://one/a") == group_of("s3://other")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("s3://", "not the name of a bucket"),
        ("s3://x", "not the name of a bucket"),
        ("s3://user:secret@bucket/x", "not the name of a bucket"),
        ("s3://../x", "not the name of a bucket"),
        ("s3://bucket/../x", "not the start of a name"),
        ("s3://bucket//x", "not the start of a name"),
        ("s3://bucket=../x", "not the name of a model"),
        ("s3+https://bucket/x", "no kind of source"),
    ],
)
def test_what_may_not(text: str, says: str) -> None:
    with pytest.raises(BadConfigError, match=says):
        check_source(text, named=True)


def _config(s3: Mapping[str, object], **environ: str) -> Config:
    return config_of({"s3": s3}, environ)


def test_the_file_and_the_environment() -> None:
    said = {
        "endpoint": "https://s3.example/",
        "region": "here",
        "access-key-id": "ID",
        "secret-access-key": "S",
        "session-token": "T",
    }
    config = _config(said)
    assert config.http().s3 == S3Place("https://s3.example", "here")
    assert config.token_for("s3://bucket/x") == "ID:S:T"
    assert config.token_for("https://bucket") is None
    other = _config(
        said, AWS_ACCESS_KEY_ID="A", AWS_SECRET_ACCESS_KEY="B", AWS_DEFAULT_REGION="there"
    )
    assert other.token_for("s3://bucket") == "A:B"  # and not the session of the file's keys
    assert other.http().s3 == S3Place("https://s3.example", "there")
    named = _config({}, AWS_ENDPOINT_URL="http://one", AWS_ENDPOINT_URL_S3="http://two")
    assert (named.http().s3.endpoint, named.token_for("s3://bucket")) == ("http://two", None)
    assert "SECRETKEY" not in repr(_config({**said, "secret-access-key": "SECRETKEY"}))


@pytest.mark.parametrize(
    ("said", "environ", "says"),
    [
        ({"access-key-id": "ID"}, {}, "one is missing"),
        ({}, {"AWS_ACCESS_KEY_ID": "ID"}, "one is missing"),
        ({"access-key-id": "ID"}, {"AWS_SECRET_ACCESS_KEY": "S"}, "one is missing"),
        ({}, {"AWS_SESSION_TOKEN": "T"}, "one is missing"),
        ({"access-key-id": "ID", "secret-access-key": "a:bc"}, {}, "characters that no key has"),
        ({"access-key-id": "ID", "secret-access-key": "a\nbc"}, {}, "characters that no key has"),
        ({"endpoint": "ftp://x"}, {}, "'endpoint': not an http"),
        ({"region": "a.b/c"}, {}, "'region': not a region"),
        ({}, {"AWS_REGION": "a/b"}, "AWS_REGION: not a region"),
        ({"bucket": "x"}, {}, r"\[s3\]: unknown key"),
    ],
)
def test_settings_that_are_wrong(
    said: dict[str, object], environ: dict[str, str], says: str
) -> None:
    with pytest.raises(BadConfigError, match=says) as caught:
        _config(said, **environ).token_for("s3://bucket")
    assert "bc" not in str(caught.value)


def test_signed_requests_go_encrypted_beyond_the_lan(store: S3Sim) -> None:
    for host in ("http://store.example", "http://8.8.8.8"):
        with pytest.raises(PolicyError, match="unencrypted"):
            source(store, endpoint=host)
        source(store, None, endpoint=host)
    for host in ("http://localhost:9", "http://192.168.1.2:9000", "https://store.example"):
        source(store, endpoint=host)


def test_obstore_is_named_where_it_is_missing(
    store: S3Sim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(BadConfigError, match="obstore") as caught:
        source(store)
    assert "pip install '.[s3]'" in caught.value.hint


def test_bytes_that_are_wrong_are_the_callers_to_find(store: S3Sim) -> None:
    """A source is not believed: what comes is what the store sent, and the pull compares it."""
    found = source(store)
    found.describe(REPO, "main")
    store.fault("/sub/", lambda reply: replace(reply, body=reply.body[::-1]))
    assert read(found, BIG) == BIG[::-1]
