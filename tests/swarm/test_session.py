"""Two sessions of libtorrent in one process: what one gives and the other writes."""

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import libtorrent as lt
import pytest

from outlast.codec.merkle import PIECE
from outlast.swarm.client.events import PayloadDamaged, TorrentFailed
from outlast.swarm.schedule import Rates
from outlast.swarm.settings import SwarmSettings
from tests.swarm.sessions import DATA, TREE, Peer, connect, flushed, peer
from tests.swarm.sites import until


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Peer, Peer]]:
    with peer(tmp_path / "a") as a, peer(tmp_path / "b") as b:
        yield a, b


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
            given.flush()  # as a fetch does now and then
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
        torrent.close()
        assert a.noted == [1]

    def test_left_out(self, pair: tuple[Peer, Peer]) -> None:
        """No peer is asked for a piece that comes from another source."""
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

        def came() -> bool:
            torrent.flush()
            return torrent.view().down >= TREE.size

        until(came, "all of it came")
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

        def failed() -> bool:
            torrent.flush()
            return bool(b.of(TorrentFailed))

        until(failed, "it fails")
        assert isinstance(torrent.failure, OSError)
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
        # A peer that has the piece is there now: it is not taken.
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
        """Nothing takes its place: it is told, or nothing of it is offered any more."""
        a, b = pair
        a.seed()
        a.path.unlink()
        torrent = b.fetch()
        connect(torrent, a)

        def is_gone() -> bool:
            peers = [peer for peer in torrent.peers() if not peer.connecting]
            return bool(peers) and peers[0].progress == 0

        until(lambda: a.of(TorrentFailed) or is_gone(), "it is told, or gone")
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
        """Nothing is read before a peer asks for it."""
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
