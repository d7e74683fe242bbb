"""`outlast search`: what the nodes around have."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from outlast.core.cancel import Cancel
from outlast.core.digest import GitOid
from outlast.core.errors import Cancelled
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.ops.search import Meet, Searched, on_lan, search
from outlast.ops.tuning import Tuning
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from outlast.swarm.lan.beacon import Beacon
from tests.cli.call import inside
from tests.serve.peers import COMMIT, OPEN, Peer, archive_files, client
from tests.sources.test_peer import Liar, reply, said

FILES = {"config.json": b"{}", "weights.bin": bytes(5000)}


def offering(home: Path, number: int, *names: str) -> Peer:
    """A node with these models, whose id ends in `number`."""
    archive = Archive(home, create=True)
    peer = Peer(archive, node=bytes(19) + bytes([number]))
    for name in names:
        peer.shares.share(archive_files(archive, RepoId.parse(name), FILES), "main")
    return peer


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Peer]]:
    root = tmp_path_factory.mktemp("peers")
    with ExitStack() as stack:
        found = [
            offering(root / "one", 1, "org/llama", "org/other"),
            offering(root / "two", 2, "org/llama", "datasets/org/llama-data"),
        ]
        for peer in found:
            stack.enter_context(peer.archive)
            stack.enter_context(peer.serving())
        yield found


def at(*peers: Peer) -> list[tuple[str, int]]:
    return [("127.0.0.1", peer.server.port) for peer in peers]


def find(query: str, where: list[tuple[str, int]], within: float = 30.0) -> Searched:
    return search(query, where, client(), Cancel(), tuning=Tuning(search_within=within))


class TestSearch:
    def test_a_node_is_asked_by_its_address(
        self, peers: list[Peer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It need not know the name that others have for it, and answers to no unknown one."""
        real = socket.getaddrinfo

        def look_up(host: str, *args: Any, **more: Any) -> Any:
            return real("127.0.0.1" if host == "node.example" else host, *args, **more)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        port = peers[0].server.port
        found = find("llama", [("node.example", port)])
        assert found.nodes == 1, found.failures
        assert found.hits[0].nodes[0].name == f"peer node.example:{port}"

    def test_what_several_hold_is_one_line(self, peers: list[Peer]) -> None:
        found = find("LLAMA", at(*peers))
        assert (found.nodes, found.failures) == (2, {})
        data, weights = (
            found.hits if found.hits[0].model.repo.kind == "dataset" else found.hits[::-1]
        )
        assert [str(hit.model.repo) for hit in (data, weights)] == [
            "datasets/org/llama-data",
            "org/llama",
        ]
        assert (
            weights.model.commit,
            weights.model.refs,
            weights.model.files,
            weights.model.size,
        ) == (COMMIT, ("main",), 2, 5002)
        assert {holder.node[-2:] for holder in weights.nodes} == {"01", "02"}
        assert [holder.name for holder in data.nodes] == [peers[1].source().name]

    def test_everything(self, peers: list[Peer]) -> None:
        found = find("", at(*peers))
        assert len(found.hits) == 3

    def test_no_node(self) -> None:
        assert find("x", []) == Searched((), 0, {})

    def test_a_node_that_is_reached_in_two_ways_counts_once(self, peers: list[Peer]) -> None:
        [(host, port)] = at(peers[0])
        found = find("other", [(host, port), ("localhost", port), (host, port)])
        assert found.nodes == 1
        assert len(found.hits[0].nodes) == 1

    def test_names_of_all(self, tmp_path: Path) -> None:
        with ExitStack() as stack:
            made = []
            for number, ref in enumerate(["main", "v1"], 1):
                peer = offering(tmp_path / ref, number)
                peer.shares.share(Revision.of(OPEN, COMMIT, []), ref)
                stack.enter_context(peer.archive)
                made.append(stack.enter_context(peer.serving()))
            [hit] = find("open", at(*made)).hits
        assert hit.model.refs == ("main", "v1")

    def test_two_revisions_are_two_lines(self, tmp_path: Path) -> None:
        peer = offering(tmp_path / "home", 1)
        for commit in (COMMIT, GitOid("d" * 40)):
            peer.shares.share(Revision.of(OPEN, commit, []))
        with peer.archive, peer.serving():
            assert len(find("open", at(peer)).hits) == 2

    def test_the_others_answer_though_one_fails(self, peers: list[Peer]) -> None:
        with Liar(reply(b"{")).lying() as liar:
            port = int(liar.name.rpartition(":")[2])
            found = find("other", [("127.0.0.1", port), *at(peers[0])])
        assert len(found.hits) == 1
        assert list(found.failures) == [f"peer 127.0.0.1:{port}"]

    def test_one_that_is_not_there(self) -> None:
        found = find("x", [("127.0.0.1", 9)])
        assert (found.nodes, list(found.failures)) == (0, ["peer 127.0.0.1:9"])

    def test_one_that_keeps_silent_does_not_keep_us(self, peers: list[Peer]) -> None:
        with Liar(b"", hangs=True).lying() as liar:
            port = int(liar.name.rpartition(":")[2])
            started = time.monotonic()
            found = find("other", [("127.0.0.1", port), *at(peers[0])], within=0.5)
            assert time.monotonic() - started < 20
        assert len(found.hits) == 1
        assert len(found.failures) == 1

    def test_what_was_not_asked_for_is_not_shown(self) -> None:
        with odd_node([row("org/advertisement"), row("org/llama")]) as where:
            found = find("llama", [where])
        assert [str(hit.model.repo) for hit in found.hits] == ["org/llama"]

    def test_most_are_believed(self, peers: list[Peer]) -> None:
        digest = next(o.manifest for o in peers[0].shares.offered if "llama" in str(o.repo))
        lie = row("org/llama") | {"manifest": digest.hex, "files": 1, "bytes": 1}
        with odd_node([lie]) as where:
            found = find("org/llama", [where, *at(*peers)])
        [hit] = [hit for hit in found.hits if hit.model.manifest == digest]
        assert (hit.model.files, hit.model.size, len(hit.nodes)) == (2, 5002, 3)

    def test_it_can_be_stopped(self) -> None:
        cancel = Cancel()
        cancel.set()
        with Liar(b"", hangs=True).lying() as liar:
            where = [("127.0.0.1", int(liar.name.rpartition(":")[2]))]
            with pytest.raises(Cancelled):
                search("x", where, client(), cancel, tuning=Tuning(search_within=60))


@contextmanager
def odd_node(rows: list[dict[str, object]]) -> Iterator[tuple[str, int]]:
    """A server that answers every question with all that a node could say."""
    node = {"outlast": 1, "node": "ee" * 20, "version": "1", "swarm_port": 1, "peer_port": 1}
    document = {**node, "private": False, "models": rows, "next": None}
    with Liar(said(document)).lying() as liar:
        yield "127.0.0.1", int(liar.name.rpartition(":")[2])


def row(name: str) -> dict[str, object]:
    return {
        "repo": name,
        "commit": COMMIT.hex,
        "manifest": "ab" * 32,
        "refs": ["main"],
        "files": 1,
        "bytes": 5,
        "partial": False,
        "restricted": False,
    }


class TestNeighbours:
    def test_who_is_met_meanwhile_is_asked_too(self, peers: list[Peer]) -> None:
        tuning = Tuning(search_listen=60.0, search_within=1.0)
        ended = threading.Event()

        @contextmanager
        def meeting(meet: Meet) -> Iterator[None]:
            for peer in (*peers, *peers):
                meet("127.0.0.1", peer.server.port)
            yield
            ended.set()

        cancel = Cancel()
        found = search("llama", [], client(), cancel, discover=meeting, tuning=tuning)
        assert (found.nodes, len(found.hits)) == (2, 2)
        assert ended.is_set()

    def test_among_any_number_of_invented_ones(self, peers: list[Peer]) -> None:
        tuning = Tuning(search_listen=0.0, search_within=60.0, search_first=0.2)

        with socket.create_server(("0.0.0.0", 0), backlog=4096) as silent:  # noqa: S104 - all of 127/8

            @contextmanager
            def meeting(meet: Meet) -> Iterator[None]:
                for n in range(400):
                    meet(f"127.1.{n // 200}.{1 + n % 200}", silent.getsockname()[1])
                for port in range(1, 40):
                    meet("127.2.0.1", port)
                meet("127.0.0.1", peers[0].server.port)
                yield

            found = search("llama", [], client(), Cancel(), discover=meeting, tuning=tuning)
        assert found.nodes == 1
        assert sum(name.startswith("peer 127.2.0.1:") for name in found.failures) <= 8

    def test_on_a_lan(self, peers: list[Peer], monkeypatch: pytest.MonkeyPatch) -> None:
        """Two beacons on the loopback interface, at a port of their own."""
        port = 41_000 + peers[0].server.port % 10_000
        make: Callable[..., Beacon] = partial(Beacon, interfaces=["lo"], group_port=port)
        monkeypatch.setattr("outlast.ops.search.Beacon", make)
        problems: list[str] = []
        with make(b"n" * 20, peers[0].server.port, lambda _: None):
            found = search(
                "other",
                [],
                client(),
                Cancel(),
                discover=partial(on_lan, problem=problems.append),
                tuning=Tuning(search_within=30.0),
            )
        assert [str(hit.model.repo) for hit in found.hits] == ["org/other"]
        assert problems == []


class TestCommand:
    def test_table(self, peers: list[Peer], home: Path) -> None:
        flags = [word for _, port in at(*peers) for word in ("--from", f"peer:127.0.0.1:{port}")]
        call = inside("search", "org/llama", *flags, home=home).ok()
        lines = call.out.splitlines()
        assert lines[0].split() == [
            "MODEL",
            "REVISION",
            "REFS",
            "FILES",
            "SIZE",
            "NODES",
            "HELD",
            "BY",
        ]
        assert lines[2].split()[:6] == ["org/llama", COMMIT.hex[:12], "main", "2", "5.0", "kB"]
        assert lines[2].split()[6] == "2"
        assert all(f"127.0.0.1:{port}" in lines[2] for _, port in at(*peers))
        assert "2 revisions on 2 nodes" in call.err

    def test_json(self, peers: list[Peer], home: Path) -> None:
        [(_, port)] = at(peers[0])
        flags = ("--from", f"peer:127.0.0.1:{port}", "--from", "peer:127.0.0.1:9", "--json")
        call = inside("search", "other", *flags, home=home).ok()
        [model], [silent] = call.of_type("model"), call.of_type("unanswered")
        assert (model["repo"], model["nodes"], model["bytes"]) == ("org/other", 1, 5002)
        assert model["held_by"] == [{"node": peers[0].node.hex(), "name": f"peer 127.0.0.1:{port}"}]
        assert silent["node"] == "peer 127.0.0.1:9"
        assert (model["claims"], model["revoked"]) == ([], "")

    def test_json_says_what_is_claimed_of_what_is_here_too(
        self, peers: list[Peer], home: Path
    ) -> None:
        with Archive(home / "archive", create=True) as archive:
            archive_files(archive, RepoId.parse("org/other"), FILES)
        [(_, port)] = at(peers[0])
        flags = ("--from", f"peer:127.0.0.1:{port}", "--json")
        (model,) = inside("search", "other", *flags, home=home).ok().of_type("model")
        assert {row["claim"]: row["standing"] for row in model["claims"]} == {
            "intact": "holds",
            "published": "absent",
            "observed": "absent",
            "listed": "absent",
        }

    def test_peers_of_the_configuration(self, peers: list[Peer], home: Path) -> None:
        [(_, port)] = at(peers[0])
        config = home / "outlast.toml"
        config.write_text(f'[swarm]\nprivate = true\npeers = ["127.0.0.1:{port}"]\n')
        env = {"OUTLAST_CONFIG": str(config)}
        assert "org/other" in inside("search", "other", home=home, env=env).ok().out
        inside("search", "x", "--from", "lan", home=home, env=env).failed("usage")

    @pytest.mark.parametrize("named", [False, True])
    @pytest.mark.parametrize("about", [About(private=True), About(gated="manual"), About()])
    def test_a_base_that_is_restricted_is_named_to_no_stranger(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, about: About, *, named: bool
    ) -> None:
        """Its manifest is told to the nodes that are asked."""
        with Archive(home / "archive", create=True) as archive:
            revision = archive_files(archive, RepoId.parse("org/base"), FILES)
            with archive.writer() as writer:
                archive.refs.put_about(writer, revision.repo, about)
        listened: list[bool] = []

        @contextmanager
        def lan(_meet: Meet, problem: Callable[[str], None]) -> Iterator[None]:
            listened.append(bool(problem))
            yield

        monkeypatch.setattr("outlast.cli.search.ops.on_lan", lan)
        base = "org/base" if named else revision.digest.hex
        env = {"OUTLAST_SWARM": "1"}
        call = inside("search", "--base", base, "--from", "lan", home=home, env=env).ok()
        assert bool(listened) == about.is_open
        assert ("nodes on the LAN are not asked" in call.err) == (not about.is_open)

    @pytest.mark.parametrize("word", ["swarm", "https://hub", "peer", "10.0.0.7"])
    def test_what_is_no_node(self, home: Path, word: str) -> None:
        inside("search", "x", "--from", word, home=home).failed("usage")

    @pytest.mark.parametrize("word", ["peer:h:99999", "peer:h:x"])
    def test_what_is_no_address(self, home: Path, word: str) -> None:
        inside("search", "x", "--from", word, home=home).failed("bad-name")

    def test_no_node_answers(self, tmp_path: Path) -> None:
        call = inside("search", "x", "--from", "peer:127.0.0.1:9", home=tmp_path).ok()
        assert call.out == ""
        assert "no node answered" in call.err
