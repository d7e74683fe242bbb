"""Who has a model: hubs, mirrors and nodes in this process, honest, lying and silent ones."""

import contextlib
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    AccessDeniedError,
    NotFoundError,
    OutlastError,
    RepoNotFoundError,
    RevisionNotFoundError,
    TransientError,
    WithdrawnError,
)
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId, Target
from outlast.node.policy import SharePolicy
from outlast.ops.holders import nodes, swarm
from outlast.ops.holders.locate import Around, locate
from outlast.ops.holders.tuning import Tuning
from outlast.ops.holders.values import Holder, HolderKind, HolderState, Located
from outlast.sources.base import Listing, RepoClaims
from outlast.store.archive import Archive
from outlast.store.records.equals import Equal, Equals
from outlast.store.records.facts import About
from outlast.store.records.refs import CACHE, Ref
from outlast.swarm.client.dht import Dht
from outlast.swarm.settings import SwarmSettings
from outlast.swarm.tuning import TUNING
from tests.ports import free_port
from tests.serve.peers import COMMIT, NODE, OPEN, V1, Peer, Shares, archive_files, client
from tests.sources.test_peer import Liar, said
from tests.swarm.overheard import overhearing
from tests.swarm.sites import until

SOON = Tuning(answer=5.0, listen=0.0, poll=0.01)
CLAIMS = RepoClaims(private=False, gated=False, tags=(), facts={})
OTHER = GitOid("d" * 40)
FILES = {
    "config.json": b'{"hidden_size": 64}',
    "plain.bin": bytes(range(256)) * 30,
    "model.safetensors": bytes(range(256)) * 40,
    "empty": b"",
}
QUICK = replace(TUNING.client, dht_tick_s=0.1, dht_count_s=0.2)


@dataclass
class Teller:
    """A source that says one thing of each name, or keeps silent."""

    name: str
    says: dict[str, Listing | OutlastError] = field(default_factory=dict)
    silent: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        del timeout
        self.asked.append((str(repo), ref))
        if self.silent:
            threading.Event().wait(60)
        found = self.says.get(str(repo), RepoNotFoundError("no such model"))
        if isinstance(found, OutlastError):
            raise found
        if ref not in ("main", found.commit.hex):
            raise RevisionNotFoundError("no such commit")
        return found

    def refs(self, *_: Any) -> Any:
        raise NotImplementedError

    def open(self, *_: Any) -> Any:
        raise NotImplementedError


def listed(archive: Archive, *, only: int = 99, commit: GitOid = COMMIT, **more: Any) -> Listing:
    """What a hub says that has the first files of the open model; small ones by git ids alone."""
    entries = [
        replace(e, sha256=None, merkle_root=None) if e.git_sha1 is not None else e
        for e in archive.revision(OPEN, "main").files[:only]
    ]
    return Listing(OPEN, commit, entries, CLAIMS, **more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an archive with the open model."""
    path = tmp_path_factory.mktemp("made") / "archive"
    with Archive(path, create=True) as archive:
        store(archive)
    return path


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Iterator[Archive]:
    """An archive with the open model."""
    with Archive(shutil.copytree(made, tmp_path / "home")) as archive:
        yield archive


def store(archive: Archive, about: About | None = None) -> None:
    archive_files(archive, OPEN, FILES)
    with archive.writer() as writer:
        archive.refs.put(writer, OPEN, Ref("main", COMMIT))
        archive.refs.put_about(writer, OPEN, about or About())


def find(
    archive: Archive | None,
    *sources: Any,
    around: Around | None = None,
    tuning: Tuning = SOON,
    ref: str | None = None,
) -> Located:
    return locate(
        archive, Target(OPEN, ref), sources, around or Around(client()), Control(), tuning=tuning
    )


def row(found: Located, name: str) -> Holder:
    (one,) = (holder for holder in found.others if holder.name == name)
    return one


class TestPlaces:
    def test_a_hub_with_all_files(self, home: Archive) -> None:
        found = find(home, Teller("https://one.example", {"org/open": listed(home)}))
        (hub,) = found.others
        assert (hub.state, hub.kind, hub.commit) == (HolderState.COMPLETE, HolderKind.HUB, COMMIT)
        assert hub.size == sum(map(len, FILES.values()))
        assert found.here.state is HolderState.COMPLETE
        assert (found.is_safe, found.whole_groups) == (True, frozenset({"one.example"}))

    def test_the_first_source_says_what_is_not_archived(
        self, home: Archive, tmp_path: Path
    ) -> None:
        old = replace(listed(home, only=2), commit=OTHER)
        one, two = Teller("https://one", {"org/open": listed(home)}), Teller("https://two")
        two.says = {"org/open": old}
        for archive in (None, Archive(tmp_path / "empty", create=True)):
            with archive or contextlib.nullcontext():
                found = find(archive, one, two)
            assert found.wanted.told_by == "https://one"
            assert found.here.state is HolderState.ABSENT
            assert row(found, "https://two").state is HolderState.PARTIAL
            assert row(found, "https://two").commit == OTHER
        assert two.asked[:3] == [
            ("org/open", "main"),
            ("org/open", COMMIT.hex),
            ("org/open", "main"),
        ]

    def test_a_revision_without_files(self, tmp_path: Path) -> None:
        none = Listing(OPEN, COMMIT, (), CLAIMS)
        assert find(None, Teller("https://one", {"org/open": none})).is_safe
        with Archive(tmp_path, create=True) as archive:
            with archive.writer() as writer:
                archive.put_revision(writer, Revision.of(OPEN, COMMIT, []))
            assert not find(archive, Teller("https://one"), ref=COMMIT.hex).is_safe

    def test_a_namesake_of_another_kind_decides_nothing(self, home: Archive) -> None:
        other = Teller("folder+https://two", {"org/open": listed(home)})
        with pytest.raises(TransientError):
            find(None, Teller("https://one", {"org/open": TransientError("down")}), other)
        found = find(None, Teller("https://one", {"org/open": listed(home, only=1)}), other)
        assert found.wanted.told_by == "https://one"
        assert (found.others[1].kind, found.others[1].group) == (HolderKind.SOURCE, "two")
        assert find(None, other).wanted.told_by == "folder+https://two"

    def test_none_is_waited_for_long(self, home: Archive) -> None:
        one = Teller("https://one", {"org/open": listed(home)})
        silent = Teller("https://two", silent=True)
        found = find(home, silent, one, tuning=replace(SOON, answer=0.3))
        assert row(found, "https://two").state is HolderState.NO_ANSWER
        assert row(found, "https://one").state is HolderState.COMPLETE
        assert not found.is_sure

    def test_the_name_with_other_bytes(self, home: Archive) -> None:
        entries = [replace(e, sha256=Digest.of(e.path.encode())) for e in listed(home).entries]
        entries = [replace(e, git_sha1=None, size=e.size + 1) for e in entries]
        liar = Teller("https://one", {"org/open": Listing(OPEN, OTHER, entries, CLAIMS)})
        found = find(home, liar)
        (hub,) = found.others
        assert (hub.state, hub.files, hub.size) == (HolderState.OTHER_BYTES, frozenset(), 0)
        assert hub.note == "4 files with other bytes"
        assert not found.is_safe
        assert home.equals.get(OPEN) is None

    @pytest.mark.parametrize(
        ("error", "state"),
        [
            (WithdrawnError("gone by law"), HolderState.WITHDRAWN),
            (RepoNotFoundError("no"), HolderState.ABSENT),
            (AccessDeniedError("gated"), HolderState.REFUSED),
            (TransientError("down"), HolderState.UNREACHABLE),
        ],
    )
    def test_one_that_has_no_list(
        self, home: Archive, error: OutlastError, state: HolderState
    ) -> None:
        found = find(home, Teller("https://one", {"org/open": error}))
        (hub,) = found.others
        assert (hub.state, hub.note, found.is_safe) == (state, str(error), False)
        assert found.is_sure is (state is not HolderState.UNREACHABLE)

    def test_none_knows_it(self) -> None:
        gone = Teller("https://one", {"org/open": WithdrawnError("gone by law")})
        with pytest.raises(WithdrawnError):
            find(None, gone, Teller("https://two"))
        with pytest.raises(TransientError, match="in time"):
            find(None, Teller("https://one", silent=True), tuning=replace(SOON, answer=0.1))
        with pytest.raises(NotFoundError):
            find(None)

    def test_a_mirror_counts_for_what_it_has_itself(self, home: Archive) -> None:
        held = frozenset({"plain.bin", "empty"})
        mirror = Teller("https://one", {"org/open": listed(home, held=held)})
        (one,) = find(home, mirror).others
        assert (one.kind, one.state) == (HolderKind.MIRROR, HolderState.PARTIAL)
        assert one.size == len(FILES["plain.bin"])
        assert one.note == "would fetch 2 more from its hub"

    def test_others_together_have_all(self, home: Archive) -> None:
        whole = listed(home)
        halves = [
            replace(whole, entries=whole.entries[:2]),
            replace(whole, entries=whole.entries[2:]),
        ]
        found = find(home, *(Teller(f"https://{n}", {"org/open": h}) for n, h in enumerate(halves)))
        assert (found.is_safe, found.whole_groups) == (True, frozenset())


class TestEquals:
    def test_another_name_of_the_same_bytes_is_asked_for(self, home: Archive) -> None:
        """It was learned by digests; what comes by it is compared again."""
        name = RepoId.parse("else/thing")
        known = Equal("https://one", name, OTHER, COMMIT, 4, 4, 9, 9, 0, "2026-01-01")
        with home.writer() as writer:
            home.equals.put(writer, OPEN, Equals((known,)))
        hub = Teller("https://one", {"else/thing": replace(listed(home), repo=name)})
        (one,) = find(home, hub).others
        assert (one.state, one.note) == (HolderState.COMPLETE, "as else/thing")
        assert [asked for asked, _ in hub.asked] == ["org/open", "else/thing"]
        elsewhere = Teller("https://two", hub.says)
        assert find(home, elsewhere).others[0].state is HolderState.ABSENT
        equals = home.equals.get(OPEN)
        assert equals is not None
        (now,) = equals.known
        assert (now.name, now.there, now.whole) == (name, COMMIT, True)

    def test_how_far_they_are_the_same(self, home: Archive) -> None:
        part = listed(home, only=3)
        more = FileEntry("more.bin", 3, sha256=Digest.of(b"abc"))
        find(
            home, Teller("https://one", {"org/open": replace(part, entries=[*part.entries, more])})
        )
        equals = home.equals.get(OPEN)
        assert equals is not None
        (one,) = equals.known
        assert (one.files, one.of, one.more, one.whole) == (3, 4, 1, False)
        assert one.share == pytest.approx(1 - len(FILES["plain.bin"]) / one.of_size)
        assert one.digests[0] == Digest.of(FILES["model.safetensors"])


def around(*peers: Peer | int, **more: Any) -> Around:
    ports = [peer if isinstance(peer, int) else peer.server.port for peer in peers]
    return Around(client(), peers=tuple(("127.0.0.1", port) for port in ports), **more)


@pytest.fixture(scope="module")
def peer(made: Path) -> Iterator[Peer]:
    """Another node with the model, which trusts this one."""
    with Archive(made) as archive:
        peer = Peer(archive, Shares(), trusts=True)
        peer.shares.share(archive.revision(OPEN, "main"), "main")
        with peer.serving():
            yield peer


@pytest.fixture
def lan(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The addresses of nodes that are heard on the LAN."""
    heard: list[tuple[str, int]] = []

    @contextlib.contextmanager
    def listening(met: nodes.Met) -> Iterator[None]:
        for host, port in heard:
            met.add(host, port)
        yield

    monkeypatch.setattr(nodes, "listening", listening)
    return heard


class TestNodes:
    def test_a_static_peer(self, home: Archive, peer: Peer) -> None:
        found = find(home, around=around(peer))
        (one,) = found.others
        assert (one.kind, one.state, one.group) == (
            HolderKind.NODE,
            HolderState.COMPLETE,
            "127.0.0.1",
        )
        assert one.commit == COMMIT

    def test_a_static_peer_says_what_no_hub_does(self, peer: Peer) -> None:
        found = find(None, Teller("https://one"), around=around(peer))
        assert found.wanted.commit == COMMIT
        assert [holder.state for holder in found.others] == [
            HolderState.ABSENT,
            HolderState.COMPLETE,
        ]

    def test_the_same_bytes_by_another_name(self, home: Archive, tmp_path: Path) -> None:
        with Archive(tmp_path / "other", create=True) as archive:
            other = Peer(archive, Shares(), trusts=True)
            name = RepoId.parse("else/thing")
            other.shares.share(archive_files(archive, name, FILES), "main")
            with other.serving():
                (one,) = find(home, around=around(other)).others
        assert (one.state, one.commit) == (HolderState.COMPLETE, None)

    def test_one_that_is_not_there(self, home: Archive) -> None:
        (one,) = find(home, around=around(9)).others
        assert (one.state, one.name) == (HolderState.UNREACHABLE, "peer 127.0.0.1:9")

    def test_one_that_never_answers(self, home: Archive, peer: Peer) -> None:
        with Liar(b"", hangs=True).lying() as liar:
            port = int(liar.name.rpartition(":")[2])
            found = find(home, around=around(port, peer), tuning=replace(SOON, answer=1.5))
        silent, one = found.others
        assert silent.state in {HolderState.NO_ANSWER, HolderState.UNREACHABLE}
        assert one.state is HolderState.COMPLETE

    def test_a_neighbour_is_asked_by_digest_alone(
        self, home: Archive, peer: Peer, lan: list[tuple[str, int]]
    ) -> None:
        lan.append(("127.0.0.1", peer.server.port))
        found = find(home, around=around(lan=True))
        (one,) = found.others
        assert (one.kind, one.state) == (HolderKind.NEIGHBOUR, HolderState.COMPLETE)

    def test_names_are_not_told_to_strangers(
        self, home: Archive, lan: list[tuple[str, int]]
    ) -> None:
        asked = self.asked(home, lan)
        assert asked == [f"{V1}/node", f"{V1}/payloads"]

    def test_nothing_of_what_is_private_is_told_to_strangers(
        self, home: Archive, lan: list[tuple[str, int]]
    ) -> None:
        store(home, About(private=True))
        assert self.asked(home, lan) == []
        store(home, About(gated="manual"))
        assert self.asked(home, lan) == []
        # The operator says so.
        share = SharePolicy(restricted=True)
        assert self.asked(home, lan, share=share) == [f"{V1}/node", f"{V1}/payloads"]

    @pytest.mark.parametrize(
        "says",
        [
            AccessDeniedError("gated now"),
            Listing(OPEN, COMMIT, (), replace(CLAIMS, private=True)),
            Listing(OPEN, COMMIT, (), replace(CLAIMS, gated="auto")),
        ],
    )
    def test_a_hub_closes_what_was_open_here(
        self, home: Archive, lan: list[tuple[str, int]], says: Listing | OutlastError
    ) -> None:
        assert self.asked(home, lan, Teller("https://one", {"org/open": says})) == []

    def test_what_a_cache_alone_had_may_be_private(
        self, home: Archive, lan: list[tuple[str, int]]
    ) -> None:
        """Until a hub says what it is."""
        with home.writer() as writer:
            home.refs.put(writer, OPEN, Ref("main", COMMIT, CACHE))
        assert self.asked(home, lan) == []
        assert self.asked(home, lan, Teller("https://one", silent=True)) == []
        hub = Teller("https://one", {"org/open": listed(home)})
        assert self.asked(home, lan, hub) == [f"{V1}/node", f"{V1}/payloads"]

    def test_what_the_operator_does_not_share(
        self, home: Archive, lan: list[tuple[str, int]]
    ) -> None:
        assert self.asked(home, lan, share=SharePolicy(exclude=("org/*",))) == []

    def asked(
        self, home: Archive, lan: list[tuple[str, int]], *sources: Teller, **more: Any
    ) -> list[str]:
        """What a stranger on the LAN is asked."""
        answer = said(
            {
                "outlast": 1,
                "node": NODE.hex(),
                "version": "0",
                "swarm_port": 1,
                "peer_port": 1,
                "private": False,
            }
        )
        stranger = Liar(answer)
        with stranger.lying():
            lan[:] = [("127.0.0.1", stranger.port)]
            find(home, *sources, around=around(lan=True, **more))
        return stranger.asked

    def test_a_liar_has_a_row_and_no_say(self, home: Archive, lan: list[tuple[str, int]]) -> None:
        """It claims every file, at many addresses; it is one holder, and never a hub."""
        with contextlib.ExitStack() as stack:
            for number in range(3):
                liar = Peer(home, Shares(), node=bytes(19) + bytes([number]))
                liar.shares.share(home.revision(OPEN, "main"), "main")
                stack.enter_context(liar.serving())
                lan.append(("127.0.0.1", liar.server.port))
            found = find(
                home, Teller("https://one", {"org/open": listed(home)}), around=around(lan=True)
            )
        assert [one.kind for one in found.others[1:]] == [HolderKind.NEIGHBOUR] * 3
        assert found.whole_groups == {"one", "strangers on the LAN"}
        equals, seen = home.equals.get(OPEN), home.holders.get(OPEN)
        assert equals is not None
        assert [one.hub for one in equals.known] == ["https://one"]
        assert seen is not None
        assert len(seen.holders) == 2

    def test_among_any_number_of_invented_ones(
        self, home: Archive, peer: Peer, lan: list[tuple[str, int]]
    ) -> None:
        """They take connections, and answer nothing; a host has so many of them."""
        with socket.create_server(("0.0.0.0", 0), backlog=4096) as silent:  # noqa: S104 - 127/8
            port = silent.getsockname()[1]
            lan += [(f"127.1.{n // 200}.{1 + n % 200}", port) for n in range(400)]
            lan += [("127.2.0.1", port) for port in range(1, 100)]
            lan.append(("127.0.0.1", peer.server.port))
            tuning = replace(SOON, answer=60.0, first=0.2)
            found = find(home, around=around(lan=True), tuning=tuning)
        (one,) = found.others
        assert one.state is HolderState.COMPLETE

    def test_a_node_that_does_not_go_on_is_not_waited_for(
        self, home: Archive, peer: Peer, lan: list[tuple[str, int]]
    ) -> None:
        """As many of them as are asked at once say who they are, and then nothing."""
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                liar = stack.enter_context(overhearing(holds="payloads"))
                lan.append(("127.0.0.1", liar.port))
            lan.append(("127.0.0.1", peer.server.port))
            tuning = replace(SOON, stranger_threads=2, stranger=0.3, first=0.3, answer=60.0)
            found = find(home, around=around(lan=True), tuning=tuning)
        (one,) = found.others
        assert one.state is HolderState.COMPLETE

    def test_a_node_with_nothing_is_counted(
        self, home: Archive, lan: list[tuple[str, int]]
    ) -> None:
        with Peer(home, Shares()).serving() as none:
            lan.append(("127.0.0.1", none.server.port))
            found = find(home, around=around(lan=True))
        assert (found.others, found.silent) == ([], 1)


class TestSwarm:
    def test_the_dht_is_asked_and_nothing_announced(
        self, home: Archive, monkeypatch: pytest.MonkeyPatch, lan: list[tuple[str, int]]
    ) -> None:
        del lan
        monkeypatch.setattr(swarm, "Dht", partial(Dht, tuning=QUICK))
        settings = SwarmSettings(dht=True, dht_routers=(("127.0.0.1", free_port()),))
        torrents = swarm.torrents_of(home, find(home).wanted, SOON)
        known = list(torrents.files)
        router = replace(settings, dht_port=settings.dht_routers[0][1])
        with Dht(router, 1, QUICK), Dht(settings, 4711, QUICK) as seed:
            until(lambda: seed.nodes, "it knows the router")
            heard: list[object] = []
            seed.join(known, heard.extend)
            until(lambda: heard, "it finds its own announcement")
            tuning = replace(SOON, answer=60.0, lookup=30.0, quiet=0.2)
            found = find(home, around=around(lan=True, swarm=settings), tuning=tuning)
            one = row(found, "DHT")
            assert one.state is HolderState.COMPLETE
            assert one.note == "up to 1 peer of a file"
            ports: set[int] = set()
            seed.join(known, lambda peers: ports.update(port for _, port in peers))
            until(lambda: ports, "it looks again")
            assert ports == {4711}

    def test_it_is_not_asked_where_it_is_off(
        self, home: Archive, monkeypatch: pytest.MonkeyPatch, lan: list[tuple[str, int]]
    ) -> None:
        del lan
        asked: list[object] = []
        monkeypatch.setattr(swarm, "Dht", lambda *args: asked.append(args))
        trackers = ("http://127.0.0.1:9/announce",)
        off = SwarmSettings(dht=False)
        assert find(home, around=around(lan=True, swarm=off)).others == []
        private = SwarmSettings(dht=True, private=True, trackers=trackers)
        assert find(home, around=around(lan=True, swarm=private)).others == []
        on = SwarmSettings(dht=True, trackers=trackers)
        store(home, About(private=True))
        assert find(home, around=around(lan=True, swarm=on)).others == []
        assert not asked

    def test_a_tracker_counts_those_who_have_it(self, home: Archive) -> None:
        wanted = find(home).wanted
        known = swarm.torrents_of(home, wanted, SOON)
        names = sorted(known.files)
        rows = b"".join(b"20:%bd8:completei3ee" % name for name in names[:1])
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (11 + len(rows))
        tracker = Liar(answer + b"d5:filesd" + rows + b"ee")
        with tracker.lying():
            url = f"http://127.0.0.1:{tracker.port}/announce?key=secret"
            settings = SwarmSettings(trackers=(url, "udp://127.0.0.1:9"))
            found = find(home, around=around(lan=True, swarm=settings))
        assert len(tracker.asked) == 1
        assert tracker.asked[0].startswith("/scrape?key=secret&info_hash=")
        one = row(found, f"tracker http://127.0.0.1:{tracker.port}/announce")
        assert (one.state, one.files) == (HolderState.PARTIAL, known.files[names[0]])
        assert row(found, "tracker udp://127.0.0.1:9").state is HolderState.UNREACHABLE


class TestNoted:
    def test_who_did_not_answer_keeps_what_was_noted(self, home: Archive) -> None:
        one = Teller("https://one", {"org/open": listed(home)})
        two = Teller("https://two", {"org/open": listed(home)})
        find(home, one, two)
        one.says = {"org/open": TransientError("down")}
        two.says = {"org/open": WithdrawnError("gone")}
        find(home, one, two)
        seen = home.holders.get(OPEN)
        assert seen is not None
        assert [holder.name for holder in seen.holders] == ["https://one"]
        assert seen.whole_groups == {"one"}
