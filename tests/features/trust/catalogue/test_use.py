"""Catalogues in use: pull, locate, search, serve and the claim *listed*."""

import hashlib
import importlib.util
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.claims import Claim, Standing
from outlast.core.errors import CatalogueRefusedError, NotFoundError, RevisionNotFoundError
from outlast.core.names import RepoId
from outlast.features.trust.catalogue.folders import (
    followed_folder,
    read_record,
    write_record,
)
from outlast.features.trust.catalogue.using.lister import CatalogueLister
from outlast.features.trust.catalogue.using.mount import ServedCatalogues
from outlast.features.trust.catalogue.using.opened import utc_now
from outlast.features.trust.catalogue.using.source import CatalogueSource
from outlast.sources.http import HttpClient
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from tests.cli.call import Call, inside
from tests.features.trust.catalogue.shelf import DAY, NOW, Shelf
from tests.features.trust.rules.world import NO_ACME, OPEN_RULES, rules_in_archive
from tests.hubsim import HubRepo, HubSim
from tests.serve.node import Node
from tests.serve.wire import once

FILES = {"config.json": b"{}", "model.bin": bytes(range(256)) * 300}
REPO = RepoId.parse("org/name")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubSim]:
    root = tmp_path_factory.mktemp("hub")
    HubRepo(root, "org/name").commit(FILES)
    with HubSim(root, mode="thread") as sim:
        yield sim


class World:
    """An operator who archived the model and lists it, and a follower."""

    def __init__(self, root: Path) -> None:
        self.operator, self.follower, self.www = root / "op", root / "fo", root / "www"

    def make(self, hub: HubSim) -> None:
        for home in (self.operator, self.follower):
            home.mkdir()
        self.at(self.operator, "pull", "org/name", "--from", hub.url, "--no-swarm")
        self.at(self.operator, "catalogue", "init", "acme")
        self.at(self.operator, "catalogue", "add", "acme", "org/name", "--source", hub.url)
        self.at(self.operator, "catalogue", "publish", "acme", "--to", self.www)
        self.at(self.follower, "catalogue", "follow", self.www)

    def at(self, home: Path, *words: str | Path) -> Call:
        return inside(*words, home=home).ok()

    def archive(self, home: Path) -> Archive:
        return Archive(home / "archive")


@pytest.fixture(scope="module")
def template(hub: HubSim, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    World(root).make(hub)
    return root


@pytest.fixture
def world(template: Path, tmp_path: Path) -> World:
    """A copy, of which the follower follows the copied files."""
    world = World(Path(shutil.copytree(template, tmp_path / "world")))
    home = world.follower / "archive"
    write_record(home, replace(read_record(home, "acme"), place=str(world.www)))
    return world


def test_a_pull_asks_the_catalogue_where_the_hub_does_not_answer(world: World) -> None:
    """The hub of the configuration (port 9) answers nothing."""
    call = world.at(world.follower, "pull", "org/name", "--no-swarm", "--json")
    assert call.of_type("pulled")[0]["source"] == "catalogue"
    with world.archive(world.follower) as archive:
        revision = archive.revision(REPO, "main")
        assert {entry.path for entry in revision.files} == set(FILES)
        state = CatalogueLister(archive.layout.home).listed(revision.digest, revision)
    assert state.standing is Standing.HOLDS
    assert state.who == ("acme (trusted on first use)",)


def test_a_catalogue_by_its_name(world: World) -> None:
    call = world.at(world.follower, "pull", "org/name", "--from", "catalogue:acme", "--dry-run")
    assert "at catalogue:acme" in call.out
    inside("pull", "org/name", "--from", "catalogue:other", home=world.follower).failed("not-found")


def test_search_and_locate_know_what_is_listed(world: World, hub: HubSim) -> None:
    found = world.at(world.follower, "search", "org", "--json").of_type("model")
    assert [(one["repo"], one["listed_by"]) for one in found] == [("org/name", ["acme"])]
    located = inside("locate", "org/name", "--json", home=world.follower)
    assert hub.url in {one["holder"] for one in located.of_type("holder")}


def test_listed_goes_stale_and_is_of_one_manifest(world: World) -> None:
    with world.archive(world.operator) as archive:
        revision = archive.revision(REPO, "main")
    home = world.follower / "archive"
    late = CatalogueLister(home, clock=lambda: utc_now() + 20 * DAY)
    state = late.listed(revision.digest, revision)
    assert (state.claim, state.standing) == (Claim.LISTED, Standing.STALE)
    assert state.since
    assert state.why.startswith("stale since")
    other = type(revision).of(REPO, revision.commit, revision.files[:1], revision.files[1:])
    state = CatalogueLister(home).listed(other.digest, other)
    assert (state.standing, state.why) == (
        Standing.ABSENT,
        "acme lists another manifest of this revision",
    )
    renamed = type(revision).of(RepoId.parse("evil/name"), revision.commit, revision.files)
    assert CatalogueLister(home).listed(revision.digest, renamed).standing is Standing.ABSENT


def test_a_manifest_that_was_changed_is_refused(world: World) -> None:
    (path,) = (world.www / "targets").rglob("*.*")
    path.write_bytes(path.read_bytes().replace(b"model.bin", b"other.bin"))
    with HttpClient(HttpSettings()) as http:
        source = CatalogueSource(world.follower / "archive", http)
        with pytest.raises(CatalogueRefusedError, match="another manifest"):
            source.describe(REPO, "main")


def test_the_revision_that_is_asked_for(world: World) -> None:
    with HttpClient(HttpSettings()) as http:
        source = CatalogueSource(world.follower / "archive", http)
        commit = source.describe(REPO, "main").commit
        assert source.describe(REPO, commit.hex[:12]).commit == commit
        assert source.refs(REPO)[0].commit == commit
        with pytest.raises(RevisionNotFoundError):
            source.describe(REPO, "v9")
        with pytest.raises(NotFoundError):
            source.describe(RepoId.parse("org/other"), "main")


def test_a_far_catalogue_leads_nowhere_inside(world: World) -> None:
    """One that is read over the internet names a host of this network."""
    home = world.follower / "archive"
    record = followed_folder(home, "acme") / "follow.json"
    write_record(home, replace(read_record(home, "acme"), place="https://models.example/c"))
    assert record.exists()
    with HttpClient(HttpSettings()) as http:
        assert CatalogueSource(home, http).sources_of(REPO) == []


def test_a_node_serves_its_own_and_followed_catalogues(world: World) -> None:
    world.at(world.follower, "pull", "org/name", "--no-swarm")
    for home in (world.operator, world.follower):
        served = ServedCatalogues(home / "archive")
        for path in sorted(world.www.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                name = path.relative_to(world.www).as_posix()
                assert served.read(f"/catalogue/acme/{name}") == path.read_bytes()


NOT_SERVED = (
    "/catalogue",
    "/catalogue/acme",
    "/catalogue/acme/follow.json",
    "/catalogue/acme/staged.json",
    "/catalogue/acme/metadata/../follow.json",
    "/catalogue/acme/metadata/%2e%2e/follow.json",
    "/catalogue/other/metadata/timestamp.json",
    "/catalogue/..%2f..%2foutlast.json",
    "/catalogue/acme/targets/x",
)


def test_nothing_else_is_served(world: World) -> None:
    for home in (world.operator, world.follower):
        served = ServedCatalogues(home / "archive")
        for path in NOT_SERVED:
            with pytest.raises(NotFoundError):
                served.read(path)


def test_a_manifest_that_rules_forbid_is_not_given_out(world: World) -> None:
    """It is a list of files, which the hub's API refuses too."""
    world.at(world.follower, "pull", "org/name", "--no-swarm")
    (manifest,) = (path for path in (world.www / "targets").rglob("*") if path.is_file())
    path = f"/catalogue/acme/{manifest.relative_to(world.www).as_posix()}"
    rules = OPEN_RULES + NO_ACME.replace('"acme"', '"org"')
    for home in (world.operator, world.follower):
        rules_in_archive(home / "archive", rules)
        with Node(home / "archive") as node:
            reply = once(node.url, path)
            assert (reply.status, "rule no-acme" in reply.headers["x-error-message"]) == (403, True)
            assert once(node.url, "/catalogue/acme/metadata/timestamp.json").status == 200
        rules_in_archive(home / "archive", OPEN_RULES)
        with Node(home / "archive") as node:
            assert once(node.url, path).body == manifest.read_bytes()


def test_a_manifest_that_is_not_listed_is_not_given_out(world: World, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.txt").write_text("private")
    world.at(world.follower, "add", tmp_path / "m", "--as", "org/secret")
    with world.archive(world.follower) as archive:
        revision = archive.revision(RepoId.parse("org/secret"), "main")
    path = f"org/secret/{revision.digest}.{revision.id}"
    with pytest.raises(NotFoundError):
        ServedCatalogues(world.follower / "archive").read(f"/catalogue/acme/targets/{path}")


def test_commands_that_are_refused_change_nothing(world: World, tmp_path: Path) -> None:
    other = Shelf(tmp_path / "shelf", now=NOW)
    other.init()
    before = hashlib.sha256(
        (followed_folder(world.follower / "archive", "acme") / "follow.json").read_bytes()
    )
    call = inside("catalogue", "follow", other.folder, "--as", "acme", home=world.follower)
    assert "another root" in call.failed("policy")
    call = inside(
        "catalogue", "follow", other.folder, "--as", "b", "--root", "0" * 64, home=world.follower
    )
    assert "another root" in call.failed("catalogue-refused")
    after = hashlib.sha256(
        (followed_folder(world.follower / "archive", "acme") / "follow.json").read_bytes()
    )
    assert before.digest() == after.digest()
    inside("catalogue", "sync", "none", home=world.follower).failed("not-found")
    inside("catalogue", "publish", "none", home=world.operator).failed("not-found")
    inside("catalogue", "init", "Not A Name", home=world.operator).failed("bad-name")


def test_without_the_library(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "tuf" else find(name)
    )
    for words in (("ls",), ("sync",), ("init", "x"), ("follow", "https://a.example")):
        call = inside("catalogue", *words, home=world.follower)
        call.failed("usage")
        assert "pip install '.[trust]'" in call.err
    world.at(world.follower, "search", "org")  # what does without is not in the way


@pytest.fixture
def contradicted(world: World, hub: HubSim, tmp_path: Path) -> World:
    """The follower follows a second catalogue, which lists a part of the revision."""
    other, www = tmp_path / "other", tmp_path / "www2"
    other.mkdir()
    world.at(other, "pull", "org/name", "--include", "config.json", "--from", hub.url, "--no-swarm")
    world.at(other, "catalogue", "init", "bravo")
    world.at(other, "catalogue", "add", "bravo", "org/name", "--source", hub.url)
    world.at(other, "catalogue", "publish", "bravo", "--to", www)
    world.at(world.follower, "catalogue", "follow", www)
    return world


def test_what_two_catalogues_contradict_is_listed_by_neither(
    contradicted: World, tmp_path: Path
) -> None:
    world = contradicted
    home = world.follower / "archive"
    with world.archive(world.operator) as archive:
        revision = archive.revision(REPO, "main")
    with world.archive(tmp_path / "other") as archive:
        part = archive.revision(REPO, "main")
    for one, said in ((revision, "acme lists"), (part, "bravo lists")):
        state = CatalogueLister(home).listed(one.digest, one)
        assert (state.standing, state.why.startswith(said)) == (Standing.REFUSED, True)
        assert "bravo" in state.why
        assert "acme" in state.why
    decided = CatalogueLister(home, deciding=["acme"])
    assert decided.listed(revision.digest, revision).standing is Standing.HOLDS
    assert decided.listed(part.digest, part).standing is Standing.REFUSED
    both = CatalogueLister(home, deciding=["acme", "bravo"])
    assert both.listed(revision.digest, revision).standing is Standing.REFUSED


def test_a_pull_from_two_that_contradict_asks_which(contradicted: World) -> None:
    follower = contradicted.follower
    call = inside("pull", "org/name", "--no-swarm", "--from", "catalogue", home=follower)
    said = call.failed("catalogue-refused")
    assert "the catalogues acme, bravo list different manifests" in said
    located = inside("locate", "org/name", "--json", home=follower).of_type("located")[0]
    (dispute,) = located["disputes"]
    assert dispute.startswith("catalogues list different manifests of org/name/")
    assert " acme " in dispute
    assert " bravo " in dispute
    assert dispute in inside("locate", "org/name", home=follower).err
    contradicted.at(follower, "pull", "org/name", "--no-swarm", "--from", "catalogue:acme")
    shown = inside("verify", "--who", "org/name", home=follower)
    assert "acme lists this manifest of the revision, bravo lists another one" in shown.out


def test_a_manifest_of_a_restricted_model_asks_for_a_grant(world: World, tmp_path: Path) -> None:
    (manifest,) = (path for path in (world.www / "targets").rglob("*") if path.is_file())
    path = f"/catalogue/acme/{manifest.relative_to(world.www).as_posix()}"
    with world.archive(world.operator) as archive, archive.writer() as writer:
        about = archive.refs.about(REPO)
        archive.refs.put_about(writer, REPO, replace(about, private=True))
    tokens = tmp_path / "tokens"
    tokens.write_text("one first-token\ntwo second-token org/*\n")
    with Node(world.operator / "archive", "--tokens", str(tokens)) as node:
        for token, status in (("first-token", 404), ("second-token", 200)):
            reply = once(node.url, path, Authorization=f"Bearer {token}")
            assert reply.status == status
        assert once(node.url, path).status == 401
    with Node(world.operator / "archive") as node:
        assert once(node.url, path).status == 404
