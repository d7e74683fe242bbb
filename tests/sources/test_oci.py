"""A registry as a source: what names what, whom a token goes to, and registries that lie."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    AccessDeniedError,
    EntryNotFoundError,
    IntegrityError,
    MalformedError,
    NotFoundError,
    OutlastError,
    RateLimitedError,
    RepoNotFoundError,
    RevisionNotFoundError,
    UnreachableError,
    WithdrawnError,
)
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.sources.base import AccessSource, Listing
from outlast.sources.http import Response
from outlast.sources.registries.api import Registry
from outlast.sources.registries.errors import RegistryQuestion
from outlast.sources.registries.logins import Logins
from outlast.sources.registries.oci import OciSource
from outlast.sources.registries.ollama import OllamaSource
from outlast.sources.tuning import TUNING, Tuning
from tests.registrysim import Fault, Image, RegistrySim, docker, modelpack, ollama
from tests.registrysim.images import INDEX, OCI_MANIFEST, image_of
from tests.serve.peers import client, read

MODEL = RepoId.parse("org/model")
FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 40}
WEIGHTS = FILES["model.safetensors"]
OTHER_COMMIT = GitOid("e" * 40)


@pytest.fixture
def sim() -> Iterator[RegistrySim]:
    with RegistrySim() as sim:
        sim.push("org/model", modelpack(FILES), "latest", "v1")
        yield sim


def source(
    sim: RegistrySim, token: str | None = None, *, below: str = "", tuning: Tuning = TUNING
) -> OciSource:
    return OciSource(client(), sim.url + below, token, tuning)


def entry(listing: Listing, path: str = "model.safetensors") -> FileEntry:
    return next(entry for entry in listing.entries if entry.path == path)


def data_of(registry: OciSource, commit: GitOid, file: FileEntry) -> bytes:
    return read(registry.open(MODEL, commit, file, 0, file.size))


def program(sim: RegistrySim, name: str = "org/model", *tags: str) -> str:
    """Pushes an image of a program."""
    made = image_of(b"{}", "application/vnd.oci.image.config.v1+json")
    made.add(b"root", "application/vnd.oci.image.layer.v1.tar+gzip")
    return sim.push(name, made, *tags)


def index(sim: RegistrySim, *digests: str, **fields: object) -> bytes:
    """An index of manifests that are there."""
    listed = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": digest,
            "size": len(sim.manifests["org/model", digest]),
        }
        for digest in digests
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [one | fields for one in listed],
    }
    return json.dumps(document).encode()


# Names


def test_the_commit_is_the_start_of_the_digest(sim: RegistrySim) -> None:
    digest = sim.names["org/model"]["v1"].removeprefix("sha256:")
    registry = source(sim)
    for ref in ("main", "latest", "v1", "refs/tags/v1", digest, f"sha256:{digest}", digest[:40]):
        assert registry.describe(MODEL, ref).commit.hex == digest[:40], ref


def test_main_is_a_tag_before_it_is_the_latest(sim: RegistrySim) -> None:
    sim.push("org/model", modelpack({"a": b"1"}), "main")
    registry = source(sim)
    assert registry.describe(MODEL, "main") != registry.describe(MODEL, "latest")
    refs = {ref.name: ref.commit for ref in registry.refs(MODEL)}
    assert refs["main"] != refs["latest"] == refs["v1"]


def test_a_commit_is_found_by_the_tags_on_many_pages(sim: RegistrySim) -> None:
    sim.page = 2
    for number in range(5):
        sim.push("org/model", modelpack({"n": b"%d" % number}), f"t{number}")
    last = sim.names["org/model"]["t4"].removeprefix("sha256:")
    assert source(sim).describe(MODEL, last[:40]).commit.hex == last[:40]
    assert {asked.method for asked in sim.requests("manifests/t")} == {"HEAD"}


def test_a_commit_that_no_tag_names(sim: RegistrySim) -> None:
    """It is found by the whole digest alone, and the error says so."""
    digest = sim.push("org/model", modelpack({"untagged": b"1"})).removeprefix("sha256:")
    with pytest.raises(RevisionNotFoundError, match="no tag") as caught:
        source(sim).describe(MODEL, digest[:40])
    assert "64 hex digits" in caught.value.hint
    registry = source(sim)
    assert registry.describe(MODEL, digest).commit.hex == digest[:40]
    assert registry.describe(MODEL, digest[:40]).commit.hex == digest[:40]  # known from now on


def test_too_many_tags_are_not_asked(sim: RegistrySim) -> None:
    sim.names["org/model"].update({f"t{n}": "x" for n in range(10)})
    registry = source(sim, tuning=Tuning(registry_tags=9))
    with pytest.raises(MalformedError, match="more than 9 tags"):
        registry.refs(MODEL)
    assert not sim.requests("manifests")


def test_lists_that_take_too_long(sim: RegistrySim, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page after page, or tag after tag."""
    registry = source(sim, tuning=Tuning(listing_s=-1))
    for _ in range(2):
        with pytest.raises(UnreachableError, match="too slowly") as caught:
            registry.refs(MODEL)
        assert not caught.value.again
        monkeypatch.setattr(Registry, "tags", lambda *_: ["v1"])
    assert not sim.asked


def test_tags_of_signatures_and_images_name_no_model(sim: RegistrySim) -> None:
    sim.names["org/model"]["sha256-" + "a" * 64 + ".sig"] = "x"
    sim.put("org/model", index(sim, program(sim)), "program")
    assert {ref.name for ref in source(sim).refs(MODEL)} == {"latest", "v1", "main"}


@pytest.mark.parametrize("ref", ["a/b", "-a", "ä", "a" * 129, "v1:2"])
def test_refs_that_no_tag_can_have(sim: RegistrySim, ref: str) -> None:
    with pytest.raises(RevisionNotFoundError):
        source(sim).describe(MODEL, ref)
    assert not sim.asked


def test_the_url_has_what_stands_before_the_name(sim: RegistrySim) -> None:
    sim.push("a/b/c/model", modelpack(FILES), "latest")
    registry = source(sim, below="/a/b/")
    listing = registry.describe(RepoId.parse("c/model"), "main")
    assert listing.repo == RepoId.parse("c/model")
    assert read(registry.open(listing.repo, listing.commit, entry(listing), 0, 5)) == WEIGHTS[:5]
    assert registry.name == f"oci+{sim.url}/a/b"


@pytest.mark.parametrize("name", ["Org/model", "org/Model", "org/a--.b", "datasets/org/model"])
def test_names_that_registries_cannot_have(sim: RegistrySim, name: str) -> None:
    with pytest.raises(RepoNotFoundError):
        source(sim).describe(RepoId.parse(name), "main")
    assert not sim.asked


def test_names_are_told_as_the_registry_has_them(sim: RegistrySim) -> None:
    """Unsafe ones too: the caller leaves those out, and calls the rest partial."""
    made = modelpack({"../up": b"1", "/etc/passwd": b"2", "a\\b": b"3", "ok": b"4"})
    sim.push("org/model", made, "bad")
    paths = {entry.path for entry in source(sim).describe(MODEL, "bad").entries}
    assert paths >= {"../up", "/etc/passwd", "a\\b", "ok"}


# Indexes


def test_the_one_model_of_an_index(sim: RegistrySim) -> None:
    model = sim.names["org/model"]["v1"]
    sim.put("org/model", index(sim, program(sim), model, model), "multi")
    registry = source(sim)
    listing = registry.describe(MODEL, "multi")
    assert len(sim.requests("manifests/sha256")) == 2  # each is read once
    assert listing == registry.describe(MODEL, "v1")
    refs = {ref.name: ref.commit for ref in registry.refs(MODEL)}
    assert refs["multi"] == refs["v1"]


def test_an_index_of_two_models(sim: RegistrySim) -> None:
    """It is not guessed which one is meant."""
    two = sim.push("org/model", modelpack({"other": b"1"})), sim.names["org/model"]["v1"]
    sim.put("org/model", index(sim, *two), "multi")
    with pytest.raises(RevisionNotFoundError, match="is 2 models") as caught:
        source(sim).describe(MODEL, "multi")
    for digest in two:
        assert digest.removeprefix("sha256:") in caught.value.hint
    one = two[0].removeprefix("sha256:")
    assert source(sim).describe(MODEL, one).commit.hex == one[:40]


def test_an_image_is_no_model(sim: RegistrySim) -> None:
    program(sim, "org/model", "program")
    sim.put("org/model", index(sim), "empty")
    for tag in ("program", "empty"):
        with pytest.raises(RevisionNotFoundError, match="is no model"):
            source(sim).describe(MODEL, tag)


def test_indexes_in_circles_and_without_end(sim: RegistrySim) -> None:
    digest = "sha256:" + "a" * 64
    for name in ("circle", digest):  # it lies about its digest: only so there is a circle
        sim.manifests["org/model", name] = json.dumps(
            {"schemaVersion": 2, "manifests": [{"digest": digest, "size": 1}]}
        ).encode()
    sim.names["org/model"]["circle"] = "circle"
    deep = sim.names["org/model"]["v1"]
    for _ in range(4):
        deep = sim.put("org/model", index(sim, deep))
    sim.names["org/model"]["deep"] = deep
    many = [sim.push("org/model", modelpack({"n": b"%d" % n})) for n in range(6)]
    sim.put("org/model", index(sim, *many), "wide")
    registry = source(sim, tuning=Tuning(registry_index=4))
    for tag, reason in (("circle", "another manifest"), ("deep", "too deep"), ("wide", "too many")):
        with pytest.raises(IntegrityError, match=reason):
            registry.describe(MODEL, tag)
    assert len(sim.asked) < 20


def test_an_index_that_lies_about_a_size(sim: RegistrySim) -> None:
    sim.put("org/model", index(sim, sim.names["org/model"]["v1"], size=7), "multi")
    with pytest.raises(IntegrityError, match="7 bytes"):
        source(sim).describe(MODEL, "multi")


def test_attestations_are_not_read(sim: RegistrySim) -> None:
    about = {"vnd.docker.reference.type": "attestation-manifest"}
    noted = json.loads(index(sim, program(sim), annotations=about))
    plain = json.loads(index(sim, sim.names["org/model"]["v1"]))
    sim.put("org/model", plain | {"manifests": noted["manifests"] + plain["manifests"]}, "multi")
    source(sim).describe(MODEL, "multi")
    assert len(sim.asked) == 2


# Bytes


def test_the_manifest_is_a_file_too(sim: RegistrySim) -> None:
    registry = source(sim)
    listing = registry.describe(MODEL, "v1")
    file = entry(listing, "oci-manifest.json")
    manifest = sim.manifests["org/model", sim.names["org/model"]["v1"]]
    assert data_of(registry, listing.commit, file) == manifest
    assert read(registry.open(MODEL, listing.commit, file, 10, 20)) == manifest[10:]
    assert data_of(source(sim), listing.commit, file) == manifest  # one that has not described it
    with pytest.raises(IntegrityError, match="bytes"):
        data_of(registry, listing.commit, replace(file, size=3))


def test_a_file_of_another_hub_is_found_by_its_digest(sim: RegistrySim) -> None:
    """Whatever its commit and path are called there, and though nothing was described here."""
    file = FileEntry("pytorch/weights.bin", len(WEIGHTS), sha256=Digest.of(WEIGHTS))
    assert data_of(source(sim), OTHER_COMMIT, file) == WEIGHTS
    assert [asked.path for asked in sim.asked] == [
        f"/v2/org/model/blobs/sha256:{Digest.of(WEIGHTS)}"
    ]
    by_git_id = FileEntry("config.json", 2, git_sha1=GitOid.of_blob(b"{}"))
    absent = FileEntry("absent", 1, sha256=Digest.of(b"absent"))
    for other in (by_git_id, absent):
        with pytest.raises(EntryNotFoundError):
            data_of(source(sim), OTHER_COMMIT, other)
    with pytest.raises(IntegrityError):
        data_of(source(sim), OTHER_COMMIT, replace(file, size=len(WEIGHTS) + 1))


def test_layers_whose_sizes_are_lies(sim: RegistrySim) -> None:
    made = modelpack(FILES)
    made.document["layers"][1]["size"] += 5
    sim.push("org/model", made, "liar")
    registry = source(sim)
    listing = registry.describe(MODEL, "liar")
    file = entry(listing)
    for start, stop in ((0, file.size), (3, 9)):
        with pytest.raises(IntegrityError, match=r"bytes there, not"):
            registry.open(MODEL, listing.commit, file, start, stop)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("blobs", "digest"), IntegrityError),
        (Fault("blobs", "longer"), IntegrityError),
        (Fault("blobs", "page"), UnreachableError),
        (Fault("blobs", "gzip"), MalformedError),
        (Fault("blobs", "cut"), UnreachableError),
        (Fault("blobs", "status", status=503), UnreachableError),
        (Fault("blobs", "status", status=429), RateLimitedError),
        (Fault("blobs", "status", status=451), WithdrawnError),
        (Fault("blobs", "status", status=403), AccessDeniedError),
        (Fault("manifests", "flip"), IntegrityError),
        (Fault("manifests", "digest"), IntegrityError),
        (Fault("manifests", "cut"), UnreachableError),
        (Fault("manifests", "page"), UnreachableError),
        (Fault("manifests", "gzip"), None),
        (Fault("manifests", "giant", size=1 << 23), MalformedError),
        (Fault("manifests", "status", status=429), RateLimitedError),
        (Fault("manifests", "status", status=500, body=b"<html>"), UnreachableError),
        (Fault("manifests", "status", status=404, body=b"404 page not found"), RepoNotFoundError),
        (Fault("manifests", "status", status=404, body=b'{"errors": [7]}'), RepoNotFoundError),
        (Fault("manifests", "status", status=404, body=b"[" * 70_000), RepoNotFoundError),
    ],
    ids=lambda value: f"{value.what}-{value.action}" if isinstance(value, Fault) else None,
)
def test_registries_that_fail(
    sim: RegistrySim, fault: Fault, error: type[OutlastError] | None
) -> None:
    registry = source(sim)
    listing = registry.describe(MODEL, "v1")
    sim.faults = [fault]
    if error is None:
        assert registry.describe(MODEL, "v1") == listing
        return
    ask: partial[Any] = partial(registry.describe, MODEL, "v1")
    if fault.what == "blobs":
        ask = partial(data_of, registry, listing.commit, entry(listing))
    with pytest.raises(error):
        ask()
    sim.faults = []
    assert data_of(registry, listing.commit, entry(listing)) == WEIGHTS
    assert registry.describe(MODEL, "v1") == listing


def test_a_registry_that_asks_to_wait(sim: RegistrySim) -> None:
    """Its header counts however it is spelled."""
    body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "pull rate"}]}).encode()
    sim.faults = [Fault("manifests", "status", status=429, headers={"retry-after": "7"}, body=body)]
    with pytest.raises(RateLimitedError, match=r"pull rate.*wait 7 s") as caught:
        source(sim).describe(MODEL, "v1")
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("tags", "json", body=b"[]"), "listed no tags"),
        (Fault("tags", "json", body=b'{"tags": "v1"}'), "listed no tags"),
        (Fault("tags", "json", body=b"{"), "not JSON"),
        (Fault("tags", "giant", size=1 << 21), "more than"),
        (Fault("tags", "link", to="?again"), "do not end"),
        (Fault("tags", "link", to="http://localhost/v2/x/tags/list"), "continues a list at"),
        (Fault("tags", "link", to="/v1/x"), "continues a list at"),
    ],
)
def test_lists_of_tags_that_are_none(sim: RegistrySim, fault: Fault, reason: str) -> None:
    sim.faults = [fault]
    with pytest.raises(MalformedError, match=reason):
        source(sim).refs(MODEL)


def test_tags_that_are_no_tags_are_left_out(sim: RegistrySim) -> None:
    body = json.dumps({"tags": ["v1", 7, None, "../x", "a b", "latest"]}).encode()
    sim.faults = [Fault("tags", "json", body=body)]
    assert {ref.name for ref in source(sim).refs(MODEL)} == {"v1", "latest", "main"}
    sim.faults = [Fault("tags", "json", body=b'{"name": "x", "tags": null}')]
    assert source(sim).refs(MODEL) == []


# Storage elsewhere


def test_a_redirect_carries_no_token() -> None:
    with RegistrySim(
        login="own", secret="s3cret", private=frozenset({"org/model"}), storage=True
    ) as sim:
        sim.push("org/model", modelpack(FILES), "latest")
        registry = source(sim, "s3cret")
        listing = registry.describe(MODEL, "main")
        for _ in range(2):
            assert data_of(registry, listing.commit, entry(listing)) == WEIGHTS
        away = [asked for asked in sim.asked if asked.host == "localhost"]
        assert len(away) == 2
        assert not any(asked.authorization for asked in away)
        assert len(sim.requests("/blobs/")) == 1  # the redirect is remembered


def test_a_redirect_that_has_expired(sim: RegistrySim) -> None:
    sim.storage = True
    registry = source(sim)
    listing = registry.describe(MODEL, "v1")
    file = entry(listing)
    assert read(registry.open(MODEL, listing.commit, file, 1, 9)) == WEIGHTS[1:9]
    sim.faults = [Fault("blobs", "status", path="/storage/", status=403, count=1)]
    assert read(registry.open(MODEL, listing.commit, file, 1, 9)) == WEIGHTS[1:9]
    assert len(sim.requests("/blobs/")) == 2


def test_a_storage_that_wants_a_token(sim: RegistrySim) -> None:
    """The registry has redirected there, so the registry is not asked again with one."""
    sim.storage = True
    registry = source(sim, "s3cret")
    listing = registry.describe(MODEL, "v1")
    headers = {"WWW-Authenticate": 'Basic realm="x"'}
    sim.faults = [Fault("blobs", "status", path="/storage/", status=401, headers=headers)]
    with pytest.raises(UnreachableError, match="is not served"):
        data_of(registry, listing.commit, entry(listing))
    assert len(sim.requests("/blobs/")) == 1


# Tokens


@pytest.mark.parametrize("login", ["own", "elsewhere"])
def test_everybody_gets_a_token(login: str) -> None:
    """It is asked for once, without the operator's, and again when it has expired."""
    with RegistrySim(login=login) as sim:
        sim.push("org/model", modelpack(FILES), "latest")
        registry = source(sim)
        listing = registry.describe(MODEL, "latest")
        assert data_of(registry, listing.commit, entry(listing)) == WEIGHTS
        assert len(sim.requests("/token")) == 1
        sim.expire()
        assert data_of(registry, listing.commit, entry(listing)) == WEIGHTS
        assert [ref.name for ref in registry.refs(MODEL)] == ["latest", "main"]
        assert len(sim.requests("/token")) == 2


def test_many_threads_after_a_token_has_expired() -> None:
    with RegistrySim(login="own") as sim:
        sim.push("org/model", modelpack(FILES), "latest")
        registry = source(sim)
        listing = registry.describe(MODEL, "latest")
        file = entry(listing)
        for _ in range(3):
            sim.expire()
            with ThreadPoolExecutor(8) as pool:
                parts = pool.map(
                    lambda n: read(registry.open(MODEL, listing.commit, file, n, n + 9)), range(16)
                )
                assert list(parts) == [WEIGHTS[n : n + 9] for n in range(16)]


def test_a_token_that_another_thread_has_got() -> None:
    """Between a 401 and the question for a token: it is not asked for twice."""
    with RegistrySim(login="own") as sim:
        sim.push("org/model", modelpack(FILES), "latest")
        http, url = client(), f"{sim.url}/v2/org/model/manifests/latest"
        logins = Logins(http, sim.url, None, TUNING)
        question = RegistryQuestion("oci", sim.url, "org/model", "org/model")
        others: list[int] = []

        def get(token: str | None) -> Response:
            return http.get(url, token=token)

        def first_late(token: str | None) -> Response:
            response = get(token)
            if not others:
                with logins.get(question, get) as other:
                    others.append(other.status)
            return response

        with logins.get(question, first_late) as response:
            assert response.status == 200
        assert others == [200]
        assert len(sim.requests("/token")) == 1


@pytest.mark.parametrize(
    ("login", "secret"), [("own", "s3cret"), ("own", "me:pass"), ("basic", "me:pass")]
)
def test_the_operators_token_opens_what_is_private(login: str, secret: str) -> None:
    with RegistrySim(login=login, secret=secret, private=frozenset({"org/model"})) as sim:
        sim.push("org/model", modelpack(FILES), "latest")
        registry = source(sim, secret)
        listing = registry.describe(MODEL, "main")
        assert listing.facts.private
        assert data_of(registry, listing.commit, entry(listing)) == WEIGHTS
        registry.check_access(MODEL)
        for other in (source(sim), registry.with_token(None)):
            with pytest.raises(RepoNotFoundError):
                other.describe(MODEL, "main")
            with pytest.raises(RepoNotFoundError):
                other.check_access(MODEL)
        with pytest.raises((AccessDeniedError, RepoNotFoundError), match=r"token|private"):
            source(sim, "wr:ong").describe(MODEL, "main")


def test_what_a_token_opens_may_be_public_all_the_same() -> None:
    with RegistrySim(login="own", secret="s3cret") as sim:
        sim.push("org/model", modelpack(FILES), "latest")
        registry = source(sim, "s3cret")
        assert isinstance(registry, AccessSource)
        assert registry.has_token
        assert not registry.describe(MODEL, "main").facts.private
        sim.faults = [Fault("token", "status", status=503)]
        unsure = source(sim, "s3cret")
        with pytest.raises(UnreachableError):
            unsure.describe(MODEL, "main")


def test_a_token_goes_to_no_service_elsewhere() -> None:
    """It is tried at the registry itself; else all that is public still comes."""
    with RegistrySim(login="elsewhere", secret="s3cret", private=frozenset({"org/secret"})) as sim:
        sim.push("org/model", modelpack(FILES), "latest")
        sim.push("org/secret", modelpack(FILES), "latest")
        secret = RepoId.parse("org/secret")
        assert source(sim, "s3cret").describe(secret, "main").facts.private
        assert not source(sim, "wrong").describe(MODEL, "main").facts.private
        with pytest.raises(AccessDeniedError):
            source(sim, "wrong").describe(secret, "main")
        away = [asked for asked in sim.asked if asked.host == "localhost"]
        assert away
        assert not any(asked.authorization for asked in away)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("token", "json", body=b"[]"), MalformedError),
        (Fault("token", "json", body=b"{}"), MalformedError),
        (Fault("token", "json", body=b'{"token": 7}'), MalformedError),
        (Fault("token", "json", body=b'{"token": "a b\\r\\nX: y"}'), MalformedError),
        (Fault("token", "giant", size=1 << 20), MalformedError),
        (Fault("token", "page"), UnreachableError),
        (Fault("token", "status", status=401), RepoNotFoundError),
        (Fault("token", "status", status=429), RateLimitedError),
        (Fault("token", "status", status=404), NotFoundError),
        (Fault("token", "redirect", to="ftp://localhost/"), MalformedError),
        (Fault("token", "json", body=b'{"token": "not-the-right-one"}'), RepoNotFoundError),
    ],
)
def test_token_services_that_fail(fault: Fault, error: type[OutlastError]) -> None:
    with RegistrySim(login="own") as sim:
        sim.push("org/model", modelpack(FILES), "latest")
        sim.faults = [fault]
        with pytest.raises(error):
            source(sim).describe(MODEL, "latest")
        assert len(sim.asked) < 5
        sim.faults = []
        source(sim).describe(MODEL, "latest")


@pytest.mark.parametrize(
    "challenge", ["", "Bearer", "Negotiate", 'Bearer realm="', 'Bearer service="x"', "B" * 9000]
)
def test_challenges_that_lead_nowhere(sim: RegistrySim, challenge: str) -> None:
    headers = {"WWW-Authenticate": challenge}
    sim.faults = [Fault("manifests", "status", status=401, headers=headers)]
    with pytest.raises(RepoNotFoundError):
        source(sim).describe(MODEL, "v1")
    with pytest.raises(AccessDeniedError, match="refuses the token"):
        source(sim, "s3cret").describe(MODEL, "v1")


@pytest.mark.parametrize(
    ("realm", "error"), [("ftp://x/token", MalformedError), ("http://[", MalformedError)]
)
def test_realms_that_are_none(sim: RegistrySim, realm: str, error: type[OutlastError]) -> None:
    headers = {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}
    sim.faults = [Fault("manifests", "status", status=401, headers=headers)]
    with pytest.raises(error):
        source(sim).describe(MODEL, "v1")


# Ollama


def test_a_manifest_without_the_header_that_names_it() -> None:
    """What was asked for by its digest has to have it."""
    with RegistrySim(plain=True) as sim:
        digest = sim.push("org/model", modelpack(FILES), "latest")
        sim.faults = [Fault("manifests", "flip")]
        with pytest.raises(IntegrityError, match="another manifest"):
            source(sim).describe(MODEL, digest.removeprefix("sha256:"))


def test_ollamas_names() -> None:
    made = ollama(("model", b"GGUF"), ("license", b"MIT"), ("params", b"{}"))
    with RegistrySim(plain=True) as sim:
        digest = sim.push("library/qwen3", made, "latest", "0.6b")
        sim.push("Me/Mine", made, "latest")
        registry = OllamaSource(client(), sim.url)
        for name, ref in (("qwen3", "main"), ("library/qwen3", "0.6b"), ("Me/Mine", "latest")):
            listing = registry.describe(RepoId.parse(name), ref)
            assert listing.repo == RepoId.parse(name)
            assert digest.startswith(f"sha256:{listing.commit}")
            assert {entry.path for entry in listing.entries} == {
                "model.gguf",
                "license.txt",
                "params.json",
                "oci-config.json",
                "oci-manifest.json",
            }
        assert {ref.name for ref in registry.refs(RepoId.parse("qwen3"))} == {"main", "latest"}
        registry.check_access(RepoId.parse("qwen3"))
        for ask in (registry.check_access, registry.refs):
            with pytest.raises(NotFoundError):
                ask(RepoId.parse("absent"))
        assert not sim.requests("tags")
        assert {asked.method for asked in sim.asked} == {"GET"}


def test_dockers_names(sim: RegistrySim) -> None:
    made: Image = docker(("gguf.v3", b"GGUF"), ("license", b"MIT"))
    sim.push("ai/smollm2", made, "360M-Q4_K_M")
    listing = source(sim).describe(RepoId.parse("ai/smollm2"), "360M-Q4_K_M")
    assert [entry.path for entry in listing.entries][:2] == ["model.gguf", "LICENSE"]
