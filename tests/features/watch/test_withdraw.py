"""A takedown notice: who gets what of a model that shares a file with an open one, on each way out,
while everything runs; and what becomes of the notice.
"""

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from outlast.codec.payload import Form
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import RepoNotFoundError, TakenDownError, UsageError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId, Target
from outlast.fetch.revision import FetchContext, _coordinator
from outlast.fetch.transfer import Coordinator, Wishes
from outlast.node import payloads
from outlast.node.policy import SharePolicy, Sharing
from outlast.ops.mend import mend
from outlast.ops.removal import collect_garbage, remove
from outlast.ops.share import ShareWishes, share
from outlast.ops.words.withdraw import lift, withdraw
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from outlast.store.records.facts import About, Notice
from outlast.store.records.refs import Ref
from tests.cli.call import inside, until
from tests.serve.forms import floats, pack
from tests.serve.node import Node
from tests.serve.peers import Peer, archive_files, get
from tests.serve.wire import Reply, once
from tests.store.build import COMMIT
from tests.swarm.test_shares import seeds
from tests.swarm.test_shares import shared as share_files

OPEN, GONE = RepoId.parse("org/open"), RepoId.parse("org/gone")
BOTH = Random(1).randbytes(40_000)
OWN = Random(2).randbytes(50_000)
WEIGHTS = floats(5)
"""Held as a capsule, by the withdrawn model alone."""
REASON = "By order of a court (no. 4711)."
NOW = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
NAMES = {path: Digest.of(data) for path, data in (("both", BOTH), ("own", OWN), ("w", WEIGHTS))}


def fill(home: Path, about: About | None = None) -> None:
    """An archive with both models."""
    with Archive(home, create=True) as archive:
        files = {
            OPEN: {"config.json": b"{}", "both.bin": BOTH},
            GONE: {"both.bin": BOTH, "own.bin": OWN, "model.safetensors": WEIGHTS},
        }
        for repo, held in files.items():
            revision = archive_files(archive, repo, held)
            with archive.writer() as writer:
                archive.refs.put_about(writer, repo, about or About())
                archive.refs.put(writer, repo, Ref("main", revision.id))
    pack(home, NAMES["w"].hex)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("filled") / "archive"
    fill(home)
    return home


@pytest.fixture
def archive(filled: Path, tmp_path: Path) -> Iterator[Archive]:
    shutil.copytree(filled, tmp_path / "archive")
    with Archive(tmp_path / "archive") as archive:
        for name in NAMES.values():
            payloads.tree(archive, name, archive.form_of(name).form, Cancel())
        yield archive


def stop(archive: Archive, *, dry_run: bool = False) -> None:
    withdraw(archive, GONE, REASON, stop=True, now=NOW, dry_run=dry_run)


# Other nodes


@contextmanager
def asked(archive: Archive, *, trusted: bool) -> Iterator[Peer]:
    """What other nodes ask, over what is really shared."""
    peer = Peer(archive, Sharing(archive, SharePolicy()), trusts=trusted)  # type: ignore[arg-type]
    with peer.serving():
        yield peer


def listed(peer: Peer, query: str = "") -> set[str]:
    """What a search on the LAN finds."""
    reply = get(peer, f"/models?q={query}")
    return {row["repo"] for row in json.loads(reply.body)["models"]}


def statuses(peer: Peer, archive: Archive) -> dict[str, int]:
    """By route, what another node gets of the files and of the list of the withdrawn model."""
    revision = archive.load(GONE, archive.commits(GONE)[0])
    assert isinstance(revision, Revision)
    tree = archive.tree(NAMES["w"], Form.CAPSULE)
    assert tree is not None
    return {
        "own": get(peer, f"/blobs/{NAMES['own']}").status,
        "both": get(peer, f"/blobs/{NAMES['both']}").status,
        "weights": get(peer, f"/blobs/{NAMES['w']}").status,
        "capsule": get(peer, f"/capsules/{NAMES['w']}").status,
        "layer": get(peer, f"/layers/{tree.root}").status,
        "manifest": get(peer, f"/manifests/{revision.digest}").status,
    }


ROUTES = ("own", "both", "weights", "capsule", "layer", "manifest")


@pytest.mark.parametrize("trusted", [False, True], ids=["stranger", "static peer"])
def test_other_nodes_get_nothing_of_it(archive: Archive, trusted: bool) -> None:
    with asked(archive, trusted=trusted) as peer:
        assert listed(peer) == {"org/open", "org/gone"}
        assert statuses(peer, archive) == dict.fromkeys(ROUTES, 200)
        stop(archive)
        until(lambda: listed(peer) == {"org/open"}, "the notice to be seen")
        assert listed(peer, "gone") == set()
        assert statuses(peer, archive) == dict.fromkeys(ROUTES, 404) | {"both": 200}
        lift(archive, GONE, dry_run=False)
        until(lambda: "org/gone" in listed(peer), "the notice to be lifted")
        assert statuses(peer, archive) == dict.fromkeys(ROUTES, 200)


def test_a_notice_alone_keeps_nothing_back(archive: Archive) -> None:
    withdraw(archive, GONE, REASON, stop=False, now=NOW, dry_run=False)
    with asked(archive, trusted=False) as peer:
        assert listed(peer) == {"org/open", "org/gone"}
        assert statuses(peer, archive) == dict.fromkeys(ROUTES, 200)


def test_it_is_not_seeded(archive: Archive) -> None:
    sharing = Sharing(archive, SharePolicy())
    assert sharing.blobs().keys() >= set(NAMES.values())
    before = sharing.version
    stop(archive)
    until(lambda: sharing.version != before, "the notice to be seen")
    assert NAMES["both"] in sharing.blobs()
    assert not {NAMES["own"], NAMES["w"]} & sharing.blobs().keys()


def test_no_setting_shares_it(archive: Archive) -> None:
    stop(archive)
    sharing = Sharing(archive, SharePolicy(restricted=True))
    assert [str(offer.repo) for offer in sharing.offers(trusted=True)] == ["org/open"]


def test_a_shared_torrent_ends_and_comes_back(tmp_path: Path) -> None:
    share_files(tmp_path)
    model = RepoId.parse("me/model")
    with seeds(tmp_path) as node:
        until(lambda: node.seeding.seeding == 2, "the torrents to be seeded")
        withdraw(node.archive, model, REASON, stop=True, now=NOW, dry_run=False)
        until(lambda: not node.seeding.seeding, "their end")
        lift(node.archive, model, dry_run=False)
        until(lambda: node.seeding.seeding == 2, "the torrents to be seeded again")


def test_no_torrent_is_made_of_it(archive: Archive, tmp_path: Path) -> None:
    stop(archive)
    wishes = ShareWishes(tmp_path / "out", restricted=True)
    with pytest.raises(TakenDownError, match="court"):
        share(archive, Target(GONE, None), wishes, SharePolicy(), Control())
    share(archive, Target(OPEN, None), wishes, SharePolicy(), Control())


def test_a_listing_that_names_its_digest_gets_nothing_of_it(archive: Archive) -> None:
    """Else who publishes a model that lists the sha256 of a file would be given the file."""
    other = RepoId.parse("eve/other")
    assert archive.is_free_for(other, NAMES["own"])
    stop(archive)
    assert not archive.is_free_for(other, NAMES["own"])
    assert archive.is_free_for(GONE, NAMES["own"])
    assert archive.is_free_for(other, NAMES["both"])


def test_who_pulls_it_takes_part_in_no_swarm(archive: Archive) -> None:
    def made(*_: object) -> Coordinator:
        raise AssertionError("not called")

    with archive.writer() as writer:
        hub = HubSource(HttpClient(HttpSettings()), "http://127.0.0.1:9")
        context = FetchContext(archive, writer, [hub], Wishes(), Control(), made)
        assert _coordinator(context, GONE, COMMIT) is made
        stop(archive)
        assert _coordinator(context, GONE, COMMIT) is None
        assert _coordinator(context, OPEN, COMMIT) is made
        with pytest.raises(TakenDownError, match="nodes are not asked"):
            _coordinator(replace(context, sources=[]), GONE, COMMIT)


# Clients of the hub's API


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    root = tmp_path_factory.mktemp("withdrawn")
    fill(root / "archive")
    with Node(root / "archive") as node:
        yield node


PATHS = {
    "resolve": "/org/gone/resolve/main/own.bin",
    "shared file": "/org/gone/resolve/main/both.bin",
    "other case": "/ORG/Gone/resolve/main/own.bin",
    "info": "/api/models/org/gone",
    "tree": "/api/models/org/gone/tree/main",
    "refs": "/api/models/org/gone/refs",
    "commits": "/api/models/org/gone/commits/main",
    "page": "/org/gone",
}


def replies(node: Node, **headers: str) -> dict[str, Reply]:
    found = {name: once(node.url, path, **headers) for name, path in PATHS.items()}
    return found | {"head": once(node.url, PATHS["resolve"], "HEAD", **headers)}


def models(node: Node) -> set[str]:
    return {row["id"] for row in json.loads(once(node.url, "/api/models").body)}


def command(node: Node, *words: str) -> str:
    return inside(*words, home=node.home.parent).ok().out


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer hf_owner"}, {"Accept": "text/html"}]
)
def test_clients_are_told_why(node: Node, headers: dict[str, str]) -> None:
    assert models(node) == {"org/open", "org/gone"}
    command(node, "withdraw", "org/gone", "--reason", REASON, "--stop-serving")
    try:
        found = replies(node, **headers)
        expected = dict.fromkeys(found, 451) | {"other case": found["other case"].status}
        assert {name: reply.status for name, reply in found.items()} == expected
        assert found["other case"].status >= 400
        for reply in found.values():
            assert "etag" not in reply.headers
            assert OWN[:100] not in reply.body
        assert REASON in found["resolve"].headers["x-error-message"]
        assert models(node) == {"org/open"}
        shared = once(node.url, "/org/open/resolve/main/both.bin")
        assert (shared.status, shared.body) == (200, BOTH)
    finally:
        command(node, "withdraw", "org/gone", "--undo")
    assert replies(node)["resolve"].body == OWN
    assert models(node) == {"org/open", "org/gone"}


def test_what_is_hidden_stays_hidden(tmp_path: Path) -> None:
    """A notice does not tell who may not know it that a private model is here."""
    fill(tmp_path / "archive", About(private=True))
    with Archive(tmp_path / "archive") as archive:
        stop(archive)
    tokens = tmp_path / "tokens"
    tokens.write_text("bob s3cret org/gone\neve 0ther org/open\n")
    with Node(tmp_path / "archive", "--tokens", str(tokens)) as node:
        bob = replies(node, Authorization="Bearer s3cret")
        assert {bob[name].status for name in ("resolve", "info", "tree", "refs")} == {451}
        eve = replies(node, Authorization="Bearer 0ther")
        assert {eve[name].status for name in ("resolve", "info", "tree", "refs")} == {404}


# The notice itself


def test_what_the_commands_say(tmp_path: Path) -> None:
    fill(tmp_path / "archive")
    words = ("withdraw", "org/gone", "--reason", REASON, "--stop-serving")
    dry = inside(*words, "--dry-run", home=tmp_path).ok().out
    assert "nothing was changed" in dry
    assert inside("show", "org/gone", "--json", home=tmp_path).ok().result["notice"] is None
    done = inside(*words, "--json", home=tmp_path).ok().result
    assert (done["type"], done["repo"], done["stopped"]) == ("notice", "org/gone", True)
    shown = inside("show", "org/gone", "--json", home=tmp_path).ok().result["notice"]
    assert shown == {"since": done["since"], "reason": REASON, "stopped": True}
    text = inside("show", "org/gone", home=tmp_path).ok().out
    assert f"notice    of {done['since']}: {REASON}; not given out by this archive\n" in text
    rows = {row["repo"]: row for row in inside("ls", "--json", home=tmp_path).ok().documents}
    assert rows["org/gone"]["notice"] == shown
    assert rows["org/open"]["notice"] is None
    assert "complete, not given out" in inside("ls", home=tmp_path).ok().out
    again = inside("withdraw", "org/gone", "--reason", "Another.", "--json", home=tmp_path).ok()
    assert again.result["since"] == done["since"]
    assert again.result["stopped"] is True
    inside("withdraw", "org/gone", "--undo", home=tmp_path).ok()
    inside("withdraw", "org/gone", "--undo", home=tmp_path).failed("repo-not-found")
    inside("withdraw", "org/gone", home=tmp_path).failed("usage")
    inside("withdraw", "org/gone", "--undo", "--reason", "x", home=tmp_path).failed("usage")
    inside("withdraw", "org/gone@main", "--reason", "x", home=tmp_path).failed("usage")
    inside("withdraw", "org/none", "--reason", "x", home=tmp_path).failed("repo-not-found")


@pytest.mark.parametrize("reason", ["", " \n", "a\x1b[31m", "x" * 501])
def test_what_is_no_reason(archive: Archive, reason: str) -> None:
    with pytest.raises(UsageError):
        withdraw(archive, GONE, reason, stop=True, now=NOW, dry_run=False)


def test_a_notice_outlives_the_bytes(archive: Archive) -> None:
    """What a mirror fetches anew is not given out either."""
    stop(archive)
    remove(archive, Target(GONE, None), dry_run=False, control=Control())
    collect_garbage(archive, dry_run=False, control=Control(), grace=0)
    assert not archive.commits(GONE)
    assert archive.has(NAMES["both"], len(BOTH))
    assert archive.refs.about(GONE).notice == Notice(NOW.isoformat(), REASON, stopped=True)
    lift(archive, GONE, dry_run=False)
    assert archive.refs.stored_about(GONE) is None
    with pytest.raises(RepoNotFoundError):
        lift(archive, GONE, dry_run=False)


@pytest.mark.parametrize("copy", ["first", "second"])
def test_a_damaged_copy_lifts_nothing(archive: Archive, copy: str) -> None:
    stop(archive)
    path = archive.refs.about_path(GONE)
    rotten = path if copy == "first" else archive.layout.second_of(path)
    rotten.write_bytes(rotten.read_bytes().replace(b"stopped", b"stopqed"))
    assert [str(o.repo) for o in Sharing(archive, SharePolicy()).offers(trusted=True)] == [
        "org/open"
    ]
    list(mend(archive.layout.home))
    assert archive.refs.about(GONE).is_stopped
    assert [str(o.repo) for o in Sharing(archive, SharePolicy()).offers(trusted=True)] == [
        "org/open"
    ]


def test_what_a_hub_says_does_not_touch_it() -> None:
    notice = Notice(NOW.isoformat(), REASON, stopped=True)
    about = About(facts={"author": "org"}).with_notice(notice)
    assert About.decode(about.encode()) == about
    assert About(facts={**about.notes, "author": "other"}).notice == notice
    assert about.with_notice(None) == About(facts={"author": "org"})


# What hubs withdrew


def test_what_a_hub_withdrew_says_where_when_and_why(archive: Archive, tmp_path: Path) -> None:
    hub, when = "https://hub.example", NOW.isoformat()
    with archive.writer() as writer:
        about = archive.refs.about(GONE)
        about = about.with_withdrawn(hub, "", when, "It was\nblocked.")
        about = about.with_withdrawn(hub, "own.bin", when)
        archive.refs.put_about(writer, GONE, about)
    text = inside("show", "org/gone", home=tmp_path).ok().out
    assert f"withdrawn at {hub} on {when} or earlier (It was\\nblocked.)\n" in text
    assert f"withdrawn at {hub} (own.bin) on {when} or earlier\n" in text
    (first, second) = inside("show", "org/gone", "--json", home=tmp_path).ok().result["withdrawn"]
    assert first == {"source": hub, "path": "", "since": when, "reason": "It was\\nblocked."}
    assert second == {"source": hub, "path": "own.bin", "since": when, "reason": ""}
    assert "complete, withdrawn" in inside("ls", home=tmp_path).ok().out
    collect_garbage(archive, dry_run=False, control=Control(), grace=0)
    assert archive.revision(GONE).size == len(BOTH) + len(OWN) + len(WEIGHTS)
    assert about.without_withdrawn(hub).withdrawn.keys() == {f"{hub} own.bin"}
    assert not about.without_withdrawn(hub).withdrawn_reasons
