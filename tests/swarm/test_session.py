"""Two sessions of libtorrent in one process, on loopback."""

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import libtorrent as lt
import pytest

from outlast.codec.hashing import names_of
from outlast.codec.merkle import PIECE, Tree
from outlast.model.errors import BadConfigError
from outlast.swarm import metainfo
from outlast.swarm.events import PayloadDamaged, PeerBanned, SessionEvent, TorrentFailed
from outlast.swarm.schedule import Rates
from outlast.swarm.session import Session
from outlast.swarm.settings import SwarmSettings
from outlast.swarm.torrent import Torrent
from tests.swarm.sites import until

DATA = Random(3).randbytes(20 * PIECE + 4321)
HOST = "127.0.0.1"


def tree_of(data: bytes) -> Tree:
    names = names_of(data)
    assert names.merkle_root is not None
    return Tree(len(data), names.merkle_root, names.layer)


TREE = tree_of(DATA)


@dataclass(slots=True)
class Peer:
    """A session, and a folder for its files; `noted` are the pieces that it heard were written."""

    session: Session
    folder: Path
    events: list[SessionEvent] = field(default_factory=list)
    noted: list[int] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.session.port

    @property
    def path(self) -> Path:
        return self.folder / "payload"

    def seed(self, data: bytes = DATA, *, restricted: bool = False) -> Torrent:
        """Seeds `data` as what the tree describes, whether it is that or not."""
        self.path.write_bytes(data)
        self.path.chmod(0o444)
        return self.session.seed(TREE, self.path, restricted=restricted)

    def fetch(self, have: bytes = bytes(TREE.count), *, restricted: bool = False) -> Torrent:
        """Begins to fetch it; of the pieces in `have` what is there is kept."""
        if not self.path.exists():
            self.path.touch()
            os.truncate(self.path, TREE.size)
        return self.session.fetch(TREE, self.path, have, self.noted.extend, restricted=restricted)

    @property
    def whole(self) -> bool:
        return len(set(self.noted)) == TREE.count

    def of(self, kind: type[SessionEvent]) -> list[SessionEvent]:
        return [event for event in self.events if isinstance(event, kind)]


@contextmanager
def peer(
    folder: Path, *, static: tuple[str, ...] = (HOST,), settings: SwarmSettings | None = None
) -> Iterator[Peer]:
    folder.mkdir()
    events: list[SessionEvent] = []
    with Session(settings or SwarmSettings(), static, events.append) as session:
        yield Peer(session, folder, events)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Peer, Peer]]:
    with peer(tmp_path / "a") as a, peer(tmp_path / "b") as b:
        yield a, b


def connect(torrent: Torrent, *others: Peer) -> None:
    torrent.connect(other.address for other in others)


def flushed(torrent: Torrent) -> bool:
    """As whoever fetches does now and then."""
    torrent.flush()
    return True


def settled(torrent: Torrent) -> None:
    """Nothing more is to be told of a torrent: everything was, in order."""
    torrent.close()


class TestFetching:
    def test_all(self, pair: tuple[Peer, Peer]) -> None:
        a, b = pair
        a.seed()
        torrent = b.fetch()
        connect(torrent, a)
        until(lambda: b.whole, "all pieces are noted")
        assert b.path.read_bytes() == DATA
        assert sorted(b.noted) == list(range(TREE.count))  # each once
        assert torrent.failure is None
        assert [p for p in torrent.peers() if p.down >= len(DATA)]

    def test_noted_is_written(self, pair: tuple[Peer, Peer]) -> None:
        """What is said to be in the file can be read from it by then."""
        a, b = pair
        a.seed()
        wrong: list[int] = []

        def wrote(pieces: list[int]) -> None:
            with b.path.open("rb") as file:
                for piece in pieces:
                    file.seek(piece * PIECE)
                    data = memoryview(file.read(TREE.length(piece)))
                    if not TREE.matches(piece, data):
                        wrong.append(piece)
            b.noted.extend(pieces)

        b.path.touch()
        os.truncate(b.path, TREE.size)
        torrent = b.session.fetch(TREE, b.path, bytes(TREE.count), wrote, restricted=False)
        connect(torrent, a)
        until(lambda: b.whole, "all pieces are noted")
        assert wrong == []

    def test_resumed(self, pair: tuple[Peer, Peer]) -> None:
        """What is there is neither fetched nor written again."""
        a, b = pair
        a.seed()
        half = 11 * PIECE
        b.path.write_bytes(DATA[:half] + bytes(TREE.size - half))
        torrent = b.fetch(bytes([1] * 11 + [0] * (TREE.count - 11)))
        connect(torrent, a)
        rest = set(range(11, TREE.count))
        until(lambda: flushed(torrent) and set(b.noted) >= rest, "the rest is noted")
        assert b.path.read_bytes() == DATA
        assert torrent.view().down == TREE.size - half

    def test_given(self, pair: tuple[Peer, Peer]) -> None:
        """Pieces that came another way are written, noted and handed on."""
        a, b = pair
        given, other = a.fetch(), b.fetch()
        connect(other, a)
        for index in range(TREE.count):
            given.leave_out(index)
        for index in range(TREE.count):
            given.give(index, DATA[index * PIECE : (index + 1) * PIECE])

        def noted() -> bool:
            given.flush()  # as whoever gives it does now and then
            return a.whole and b.whole

        until(noted, "both have it")
        assert a.path.read_bytes() == DATA
        assert b.path.read_bytes() == DATA

    def test_a_wrong_piece_is_not_given(self, pair: tuple[Peer, Peer]) -> None:
        """libtorrent checks too; nothing wrong is noted."""
        a, _ = pair
        torrent = a.fetch()
        torrent.give(0, bytes(PIECE))
        torrent.give(1, DATA[PIECE : 2 * PIECE])

        def noted() -> bool:
            torrent.flush()
            return 1 in a.noted

        until(noted, "the right one is noted")
        settled(torrent)
        assert a.noted == [1]

    def test_left_out(self, pair: tuple[Peer, Peer]) -> None:
        """Nobody is asked for what somebody else fetches."""
        a, b = pair
        a.seed()
        torrent = b.fetch()
        for index in range(5):
            torrent.leave_out(index)
        connect(torrent, a)

        def rest() -> bool:
            torrent.flush()
            return len(b.noted) == TREE.count - 5

        until(rest, "all others came")
        assert min(b.noted) == 5
        torrent.leave_out(3, out=False)

        def third() -> bool:
            torrent.flush()
            return 3 in b.noted

        until(third, "it came when it was wanted again")

    def test_closed_early(self, tmp_path: Path) -> None:
        """On return nothing is written any more, and all that is noted is in the file."""
        slow = SwarmSettings()
        with peer(tmp_path / "a", settings=slow) as a, peer(tmp_path / "b") as b:
            a.session.set_rates(Rates(lan_up=8 * PIECE))
            a.seed()
            torrent = b.fetch()
            connect(torrent, a)
            until(lambda: torrent.view().down > 2 * PIECE, "some of it came")
            torrent.close()
            noted, data = sorted(b.noted), b.path.read_bytes()
            changed = b.path.stat().st_mtime_ns
            for index in noted:
                at = index * PIECE
                assert data[at : at + PIECE] == DATA[at : at + PIECE]
            b.session.close()  # waits for all that libtorrent does
            assert b.path.stat().st_mtime_ns == changed
            assert sorted(b.noted) == noted
        assert len(set(noted)) < TREE.count

    def test_closed_by_two_at_once(self, pair: tuple[Peer, Peer]) -> None:
        """Neither returns before it is closed."""
        a, b = pair
        a.seed()
        torrent = b.fetch()
        connect(torrent, a)
        until(lambda: torrent.view().down > 0, "something came")
        ended: list[bool] = []

        def close() -> None:
            torrent.close()
            ended.append(b.session.torrent(TREE.root) is None)

        threads = [threading.Thread(target=close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ended == [True] * 4

    def test_alerts_that_were_lost(
        self, pair: tuple[Peer, Peer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is there is asked for."""
        a, b = pair
        a.seed()
        torrent = b.fetch()
        take = torrent.take
        lost = lt.piece_finished_alert | lt.cache_flushed_alert | lt.torrent_finished_alert
        monkeypatch.setattr(torrent, "take", lambda a: isinstance(a, lost) or take(a))
        connect(torrent, a)
        until(lambda: torrent.view().down >= TREE.size, "all of it came")
        assert b.noted == []
        monkeypatch.setattr(torrent, "take", take)

        def known() -> bool:
            torrent.resync()
            return b.whole

        until(known, "it is known")
        assert b.path.read_bytes() == DATA

    def test_what_is_told_raises(self, pair: tuple[Peer, Peer]) -> None:
        """The torrent says why it does not go on; the session does."""
        a, b = pair
        a.seed()

        def full(_: list[int]) -> None:
            raise OSError(28, "full")

        b.path.touch()
        os.truncate(b.path, TREE.size)
        torrent = b.session.fetch(TREE, b.path, bytes(TREE.count), full, restricted=False)
        connect(torrent, a)
        until(lambda: torrent.failure is not None, "it fails")
        torrent.close()
        again = b.fetch()
        connect(again, a)
        until(lambda: b.whole, "the next one comes")

    def test_a_file_that_cannot_be_written(self, pair: tuple[Peer, Peer]) -> None:
        a, b = pair
        a.seed()
        path = b.folder / "nowhere" / "payload"
        torrent = b.session.fetch(TREE, path, bytes(TREE.count), b.noted.extend, restricted=False)
        (b.folder / "nowhere").write_text("not a folder")
        connect(torrent, a)
        until(lambda: torrent.failure is not None, "it fails")
        assert isinstance(torrent.failure, OSError)
        assert b.of(TorrentFailed)
        assert b.noted == []


class TestSeeding:
    def test_never_written(self, pair: tuple[Peer, Peer]) -> None:
        """What is damaged is found, told and left as it is; the rest is given."""
        a, b = pair
        damaged = bytearray(DATA)
        damaged[7 * PIECE + 5] ^= 1
        a.seed(bytes(damaged))
        before = a.path.stat()
        torrent = b.fetch()
        connect(torrent, a)

        def rest() -> bool:
            torrent.flush()
            return len(b.noted) == TREE.count - 1

        until(rest, "the rest came")
        until(lambda: a.of(PayloadDamaged), "the damage is told")
        assert a.of(PayloadDamaged)[0] == PayloadDamaged(TREE.root, 7)
        assert 7 not in b.noted
        # Somebody who has the piece is there now: it is not taken.
        assert a.session.torrent(TREE.root) is not None
        a.session.close()
        after = a.path.stat()
        assert a.path.read_bytes() == damaged
        assert (after.st_mtime_ns, after.st_size, after.st_ino) == (
            before.st_mtime_ns,
            before.st_size,
            before.st_ino,
        )
        assert stat.S_IMODE(after.st_mode) == 0o444

    def test_a_file_that_went(self, pair: tuple[Peer, Peer]) -> None:
        """Nothing takes its place."""
        a, b = pair
        a.seed()
        a.path.unlink()
        connect(b.fetch(), a)
        until(lambda: a.of(TorrentFailed), "it is told")
        assert not a.path.exists()
        assert b.noted == []

    def test_what_is_sent_to_a_seed(self, pair: tuple[Peer, Peer]) -> None:
        a, b = pair
        one, other = a.seed(), b.seed()
        connect(one, b)
        one.give(0, bytes(PIECE))
        other.close()
        one.close()
        assert a.path.read_bytes() == DATA

    def test_restarted(self, tmp_path: Path) -> None:
        """Nothing is read before somebody asks for it."""
        with peer(tmp_path / "a") as a:
            a.seed()
            os.posix_fadvise(fd := os.open(a.path, os.O_RDONLY), 0, 0, os.POSIX_FADV_NORMAL)
            os.close(fd)
            before = read_bytes()
            again = a.session.seed(TREE, a.path, restricted=False)
            assert again.view().down == 0
            assert read_bytes() - before < PIECE


def read_bytes() -> int:
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["rchar"])


class TestLiars:
    def test_a_wrong_piece(self, tmp_path: Path) -> None:
        """Who sends it is banned; it comes from another."""
        with peer(tmp_path / "b") as b, peer(tmp_path / "a") as a, liar(tmp_path) as port:
            torrent = b.fetch()
            torrent.connect([(HOST, port)])
            until(lambda: b.of(PeerBanned), "the liar is banned")
            a.seed()
            connect(torrent, a)
            until(lambda: flushed(torrent) and b.whole, "all of it came")
            assert b.path.read_bytes() == DATA
            assert b.of(PeerBanned) == [PeerBanned(TREE.root, f"{HOST}:{port}")]


@contextmanager
def liar(folder: Path) -> Iterator[int]:
    """A client of others that says to have it all, and whose bytes are wrong; its port."""
    path = folder / "lies"
    path.write_bytes(bytes(byte ^ 1 for byte in DATA))
    settings: lt.settings_pack = {
        "listen_interfaces": f"{HOST}:0",
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
            with socket.create_connection(a.address, timeout=5) as sock:
                hello = b"\x13BitTorrent protocol" + bytes(8) + infohash + b"-XX0000-" + b"x" * 12
                sock.sendall(hello)
                answer = b""
                try:
                    while len(answer) < 68 and (more := sock.recv(4096)):
                        answer += more
                except OSError:
                    pass
            assert (infohash in answer) is not private
            with peer(tmp_path / "b", settings=settings) as b, tapped(a.address) as tap:
                torrent = b.fetch()
                torrent.connect([(HOST, tap.port)])
                until(lambda: flushed(torrent) and b.whole, "it came")
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
            Session(SwarmSettings(port=a.session.port), (), lambda _: None)

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
