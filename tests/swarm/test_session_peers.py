"""Sessions and who they deal with: liars, strangers, listeners on the line."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import libtorrent as lt
import pytest

from outlast.codec.merkle import PIECE, Tree
from outlast.core.errors import BadConfigError
from outlast.swarm.client import session
from outlast.swarm.client.events import PeerBanned
from outlast.swarm.client.session import TorrentSession
from outlast.swarm.schedule import Rates
from outlast.swarm.settings import SwarmSettings
from outlast.swarm.torrent import payload_torrent as metainfo
from outlast.swarm.tuning import TUNING
from tests.swarm.sessions import DATA, HOST, TREE, connect, flushed, peer, tree_of
from tests.swarm.sites import until

_WRONG = bytes(byte ^ 1 for byte in range(256))
_ELSEWHERE = "127.0.0.2"
"""Who is banned is banned by address: a liar has its own."""


class TestLiars:
    def test_a_wrong_piece(self, tmp_path: Path) -> None:
        """Who sends it is banned; it comes from another."""
        with peer(tmp_path / "b") as b, peer(tmp_path / "a") as a, liar(tmp_path) as port:
            torrent = b.fetch()
            torrent.connect([(_ELSEWHERE, port)])
            until(lambda: b.of(PeerBanned), "the liar is banned")
            a.seed()
            connect(torrent, a)
            until(lambda: flushed(torrent) and b.whole, "all of it came")
            assert b.path.read_bytes() == DATA
            assert b.of(PeerBanned) == [PeerBanned(TREE.root, f"{_ELSEWHERE}:{port}")]
            assert torrent in b.session._watched  # after probation too: there was a liar

    def test_who_is_banned_does_not_come_back(self, tmp_path: Path) -> None:
        """Not by dialling in either, which comes from another port each time."""
        with peer(tmp_path / "b") as b, liar(tmp_path) as port:
            b.fetch().connect([(_ELSEWHERE, port)])
            until(lambda: b.of(PeerBanned), "the liar is banned")
            assert not any(greeted(b.address, _ELSEWHERE) for _ in range(5))
            assert greeted(b.address, "127.0.0.3")

    def test_a_liar_stays_banned_where_it_is_joined_again(self, tmp_path: Path) -> None:
        with peer(tmp_path / "b") as b, liar(tmp_path) as port:
            torrent = b.fetch()
            torrent.connect([(_ELSEWHERE, port)])
            until(lambda: b.of(PeerBanned), "the liar is banned")
            assert not torrent.is_unjust
            torrent.close()
            b.fetch().connect([(_ELSEWHERE, port)])
            # A torrent hangs up on all until its files were looked at.
            until(lambda: greeted(b.address, "127.0.0.3"), "another peer is greeted")
            assert not any(greeted(b.address, _ELSEWHERE) for _ in range(5))

    def test_an_honest_peer_is_not_lost(self, tmp_path: Path) -> None:
        """Both send blocks of the same pieces, and no probation keeps those few. libtorrent may ban
        the honest one too: then the torrent is joined again.
        """
        at_once = replace(TUNING.client, probation_s=0)
        slow = SwarmSettings(rates=Rates(lan_up=24 * PIECE))
        with (
            peer(tmp_path / "a", settings=slow) as a,
            peer(tmp_path / "b", tuning=at_once) as b,
            liar(tmp_path) as port,
        ):
            a.seed()
            torrents = [b.fetch()]
            both = [(_ELSEWHERE, port), a.address]
            torrents[0].connect(both)

            def came() -> bool:
                torrents[-1].flush()
                if torrents[-1].is_unjust:
                    torrents[-1].close()
                    torrents.append(b.fetch(bytes(i in b.noted for i in range(TREE.count))))
                    torrents[-1].connect(both)
                return b.whole

            until(came, "all of it came")
            assert b.path.read_bytes() == DATA
            named = PeerBanned(TREE.root, f"{_ELSEWHERE}:{port}")
            assert b.of(PeerBanned) in ([], [named])

    def test_few_pieces_come_before_the_first_are_right(self, tmp_path: Path) -> None:
        """Of a liar that is alone no more is taken."""
        with peer(tmp_path / "b") as b, liar(tmp_path) as port:
            torrent = b.fetch()
            torrent.connect([(_ELSEWHERE, port)])
            until(lambda: b.of(PeerBanned), "the liar is banned")
            view = torrent.view()
            assert view.wasted >= PIECE  # the last piece counts as if it were as long as others
            assert view.down <= 2 * PIECE


def greeted(address: tuple[str, int], host: str) -> bytes:
    """What a session answers to a handshake that comes from `host`; nothing where it hangs up."""
    infohash = metainfo.infohash(TREE)[:20]
    answer = b""
    with (
        socket.create_connection(address, timeout=120, source_address=(host, 0)) as sock,
        suppress(ConnectionError),
    ):
        sock.sendall(b"\x13BitTorrent protocol" + bytes(8) + infohash + b"-XX0000-" + b"x" * 12)
        while len(answer) < 68 and (more := sock.recv(4096)):
            answer += more
    return answer


@contextmanager
def liar(folder: Path) -> Iterator[int]:
    """A client of others that says to have it all, and whose bytes are wrong; its port."""
    path = folder / "lies"
    path.write_bytes(DATA.translate(_WRONG))
    settings: lt.settings_pack = {
        "listen_interfaces": f"{_ELSEWHERE}:0",
        "outgoing_interfaces": _ELSEWHERE,
        "enable_dht": False,
        "enable_lsd": False,
        "disable_hash_checks": True,
        "allow_multiple_connections_per_ip": True,
    }
    session = lt.session(settings)
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(metainfo.torrent(TREE))
    params.save_path = str(folder)
    params.renamed_files = {0: str(path)}
    params.flags = lt.torrent_flags.seed_mode
    session.add_torrent(params)
    until(session.listen_port, "it listens")
    yield session.listen_port()


class TestWhoMay:
    def test_restricted(self, tmp_path: Path) -> None:
        """Strangers get nothing of what is for static peers; all else they do."""
        with peer(tmp_path / "a", static=("192.0.2.1",)) as a, peer(tmp_path / "b") as b:
            a.seed(restricted=True)
            torrent = b.fetch()
            connect(torrent, a)
            other = a.session.seed(*tiny(a.folder), restricted=False)
            got: list[int] = []
            target = b.folder / "tiny"
            target.write_bytes(bytes(other.tree.size))
            open_one = b.session.fetch(other.tree, target, b"\x00", got.extend, restricted=False)
            connect(open_one, a)
            until(lambda: flushed(open_one) and got, "what is open came")
            assert torrent.view().down == 0
            assert b.noted == []
            a.session.set_static([HOST])
            connect(torrent, a)
            until(lambda: flushed(torrent) and b.whole, "a static peer gets it")

    def test_a_restricted_fetch_asks_no_stranger(self, tmp_path: Path) -> None:
        with peer(tmp_path / "a") as a, peer(tmp_path / "b", static=()) as b:
            a.seed()
            torrent = b.fetch(restricted=True)
            connect(torrent, a)
            b.session.set_static([HOST])
            connect(torrent, a)
            until(lambda: flushed(torrent) and b.whole, "it came from who is none")
            assert torrent.restricted

    @pytest.mark.parametrize("private", [True, False])
    def test_private(self, tmp_path: Path, *, private: bool) -> None:
        """The handshake shows no infohash, and one that does is not answered."""
        settings = SwarmSettings(private=private)
        infohash = metainfo.infohash(TREE)[:20]
        with peer(tmp_path / "a", settings=settings) as a:
            a.seed()
            with peer(tmp_path / "b", settings=settings) as b, tapped(a.address) as tap:
                torrent = b.fetch()
                torrent.connect([(HOST, tap.port)])
                until(lambda: flushed(torrent) and b.whole, "it came")
                assert (infohash in greeted(a.address, HOST)) is not private
                assert (infohash in tap.seen) is not private
                assert (b"BitTorrent protocol" in tap.seen) is not private


@dataclass(slots=True)
class Tap:
    """Passes connections on; `seen` is how they began, in both directions."""

    port: int
    seen: bytearray = field(default_factory=bytearray)


@contextmanager
def tapped(address: tuple[str, int]) -> Iterator[Tap]:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server((HOST, 0)))
        tap = Tap(server.getsockname()[1])
        carriers: list[threading.Thread] = []
        socks: list[socket.socket] = [server]

        def carry(source: socket.socket, target: socket.socket) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    tap.seen.extend(data[: max(0, 10_000 - len(tap.seen))])
                    target.sendall(data)
            with suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    near = server.accept()[0]
                    socks.append(near)
                    far = socket.create_connection(address)
                    socks.append(far)
                    for pair in ((near, far), (far, near)):
                        carriers.append(threading.Thread(target=carry, args=pair, daemon=True))
                        carriers[-1].start()

        accepter = threading.Thread(target=accept, daemon=True)
        accepter.start()
        yield tap
        for sock in socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in (accepter, *carriers):
            thread.join()
        for sock in socks:
            sock.close()


def tiny(folder: Path) -> tuple[Tree, Path]:
    path = folder / "tiny"
    path.write_bytes(b"tiny")
    return tree_of(b"tiny"), path


class TestListening:
    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        with peer(tmp_path / "a") as a, pytest.raises(BadConfigError, match="cannot listen"):
            TorrentSession(SwarmSettings(port=a.session.port), (), lambda _: None)

    @pytest.mark.parametrize("tries", [0, 1])
    @pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v4 and v6"])
    def test_a_port_that_another_program_was_quicker_to_take(
        self, monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily, tries: int
    ) -> None:
        """It takes another one, and not one for IPv4 and one for IPv6."""
        dual = family == socket.AF_INET6
        if dual and not socket.has_dualstack_ipv6():
            pytest.skip("this machine has no IPv6")
        with socket.create_server(("", 0), family=family, dualstack_ipv6=dual) as taken:
            port, free = taken.getsockname()[1], session._free_port
            ports = iter([port])
            monkeypatch.setattr(session, "_free_port", lambda: next(ports, 0) or free())
            with ExitStack() as stack:
                if dual and not tries:
                    stack.enter_context(pytest.raises(BadConfigError, match=f"port {port}"))
                tuning = replace(TUNING.client, port_tries=tries)
                chosen = stack.enter_context(
                    TorrentSession(SwarmSettings(), (), lambda _: None, tuning=tuning)
                )
                assert (chosen.port == port) == (tries == 0)
                assert chosen.port

    def test_used_after_its_end(self, tmp_path: Path) -> None:
        """Threads of a transfer may be late."""
        with peer(tmp_path / "a") as a:
            torrent = a.seed()
            a.session.close()
            torrent.connect([(HOST, 1)])
            torrent.leave_out(1)
            torrent.give(1, b"x")
            torrent.flush()
            assert torrent.availability() == []
            torrent.close()
            torrent.close()
            a.session.close()
