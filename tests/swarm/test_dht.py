"""The DHT of sessions on loopback: what is announced there, and what is not."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.errors import BadConfigError
from outlast.swarm.client import dht_port
from outlast.swarm.client import multi_file as foreign
from outlast.swarm.client.dht import Dht
from outlast.swarm.client.session import TorrentSession
from outlast.swarm.settings import SwarmSettings
from outlast.swarm.torrent.magnet import HostPort, Link
from outlast.swarm.torrent.payload_torrent import truncated
from outlast.swarm.tuning import TUNING
from tests.ports import free_port
from tests.swarm.sessions import DATA, HOST, flushed, peer, tree_of
from tests.swarm.sites import until

KINDS = pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])


@pytest.fixture
def settings() -> SwarmSettings:
    """Of a node that enters the DHT by a router of its own network."""
    return SwarmSettings(dht=True, dht_routers=((HOST, free_port()),))


def router(settings: SwarmSettings) -> Dht:
    ((_, port),) = settings.dht_routers
    return Dht(SwarmSettings(dht=True, dht_port=port, dht_routers=settings.dht_routers), 1)


def test_what_is_restricted_is_not_announced(tmp_path: Path, settings: SwarmSettings) -> None:
    """Though all else is; no node hears of it, a static peer or not."""
    other = DATA[: 3 << 20]
    found: dict[str, set[HostPort]] = {"open": set(), "restricted": set()}
    with (
        router(settings),
        peer(tmp_path / "a", settings=settings) as a,
        Dht(settings, 4711) as asker,
    ):
        openly = a.seed()
        (tmp_path / "other").write_bytes(other)
        secret = a.session.seed(tree_of(other), tmp_path / "other", restricted=True)
        for name, torrent in (("open", openly), ("restricted", secret)):
            asker.join([torrent.infohash], found[name].update)
        ports = {a.session.port, 4711}

        def is_found() -> bool:
            return ports <= {port for _, port in found["open"]}

        until(is_found, "the open one is found")
        until(lambda: found["restricted"], "it finds its own announcement")
        assert {port for _, port in found["restricted"]} == {4711}


def test_a_link_is_announced_at_the_port_of_its_session(
    tmp_path: Path, settings: SwarmSettings
) -> None:
    infohash, found = b"l" * 20, set[HostPort]()
    with (
        router(settings),
        peer(tmp_path / "a", settings=settings) as a,
        Dht(settings, 4711) as asker,
        foreign.ask(a.session, Link(None, infohash)),
    ):
        asker.join([infohash], found.update)
        port = a.session.links().port
        until(lambda: (HOST, port) in found, "it finds the one that asks")
        assert a.session.port not in {each for _, each in found}


def test_static_peers_are_not_all_that_it_knows(tmp_path: Path, settings: SwarmSettings) -> None:
    """A session that lets only static peers near what is restricted has a whole DHT: the router is
    no static peer, and it is asked until it answers.
    """
    with router(settings), peer(tmp_path / "a", static=("192.0.2.1",), settings=settings) as a:
        until(lambda: a.session.dht_nodes, "it knows the router")


def test_a_router_that_comes_late(settings: SwarmSettings) -> None:
    with Dht(settings, 4711) as asker:
        until(lambda: asker.asked > 1, "it has asked in vain")
        with router(settings):
            until(lambda: asker.nodes, "it knows the router")


@KINDS
def test_a_port_that_another_program_was_quicker_to_take(
    settings: SwarmSettings, monkeypatch: pytest.MonkeyPatch, kind: socket.SocketKind
) -> None:
    """libtorrent opens the port for TCP too, whatever it is free for."""
    with socket.socket(socket.AF_INET, kind) as taken, router(settings):
        taken.bind(("", 0))
        free = dht_port.udp_port
        ports = iter([taken.getsockname()[1]])
        monkeypatch.setattr(dht_port, "udp_port", lambda wanted: next(ports, 0) or free(wanted))
        with Dht(settings, 4711) as asker:
            until(lambda: asker.nodes, "it knows the router")


def test_what_is_fetched_is_asked_for_until_a_peer_comes(
    tmp_path: Path, settings: SwarmSettings
) -> None:
    """A node that is the first to fetch finds the first seed soon after that comes, and not only
    with its next announcement.
    """
    long = replace(TUNING.client, dht_first_s=1e6, dht_closed_s=1e6, dht_alone_s=0.5)
    with (
        router(settings),
        peer(tmp_path / "b", settings=settings, tuning=long) as b,
    ):
        fetched, node = b.fetch(), b.session._dht
        assert node is not None
        place = node._places[truncated(fetched.infohash)]
        until(lambda: node.nodes and node.asked > 3, "it has asked")
        found: list[HostPort] = []
        place.found = found.extend
        until(lambda: found, "it finds itself")
        with peer(tmp_path / "a", settings=settings) as a:
            a.seed()
            until(lambda: (HOST, a.session.port) in found, "it finds the seed")
        assert not place.seeks


def test_a_session_finds_what_another_seeds(tmp_path: Path, settings: SwarmSettings) -> None:
    with (
        router(settings),
        peer(tmp_path / "a", settings=settings) as a,
        peer(tmp_path / "b", settings=settings) as b,
    ):
        a.seed()
        torrent = b.fetch()
        until(lambda: flushed(torrent) and b.whole, "it has all of it")
        assert b.path.read_bytes() == DATA


def test_what_left_is_not_heard_of(tmp_path: Path, settings: SwarmSettings) -> None:
    found: list[HostPort] = []
    with router(settings), peer(tmp_path / "a", settings=settings) as a:
        torrent = a.seed()
        with Dht(settings, 4711) as asker:
            asker.join([torrent.infohash], found.extend)
            until(lambda: found, "it is found")
            asker.leave([torrent.infohash])
            asker.leave([torrent.infohash])
            torrent.close()
            found.clear()
            count = asker.asked
            until(lambda: asker.asked > count + 1, "time passes")
            assert not found


@KINDS
def test_a_port_that_is_taken(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("", 0))
        port = taken.getsockname()[1]
        with pytest.raises(BadConfigError, match=f"port {port}"):
            TorrentSession(SwarmSettings(dht=True, dht_port=port), (), lambda _: None)


@pytest.mark.parametrize(
    ("routers", "host", "port", "may"),
    [
        ((("router.example", 1),), "192.168.1.1", 7000, False),
        ((("router.example", 1),), "127.0.0.1", 7000, False),
        ((("router.example", 1),), "8.8.8.8", 7000, True),
        ((("router.example", 1),), "8.8.8.8", 80, False),
        (((HOST, 1),), "192.168.1.1", 7000, True),
        (((HOST, 1),), "192.168.1.1", 22, False),
        ((), "192.168.1.1", 7000, False),
    ],
)
def test_who_may_be_a_peer(
    routers: tuple[HostPort, ...], host: str, port: int, *, may: bool
) -> None:
    """No node is sent to a service of the system, or from outside to addresses inside."""
    with Dht(SwarmSettings(dht=True, dht_routers=routers), 4711) as dht:
        assert dht.may_be(host, port) == may
