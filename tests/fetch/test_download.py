"""A file that comes from sources and a swarm at once, into one partial."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.codec.hashing import names_of
from outlast.codec.merkle import PIECE, Tree
from outlast.codec.payload import Form, Payload
from outlast.core.cancel import Cancel
from outlast.core.errors import (
    Cancelled,
    DamagedThereError,
    DiskFullError,
    EntryNotFoundError,
    IntegrityError,
    OutlastError,
)
from outlast.core.manifest import FileEntry
from outlast.fetch.download import Download
from outlast.fetch.plan import FetchPlan
from outlast.fetch.source_state import Patience, SourceState
from outlast.fetch.tuning import TUNING
from outlast.sources.hub import HubSource
from outlast.store.layout import Layout
from outlast.store.partials import Partial
from tests.noise import noise
from tests.serve.peers import client
from tests.swarm.sites import until

CHUNK = TUNING.chunk
DATA = noise(9, 10 * PIECE + 99)
NAMES = names_of(DATA)
assert NAMES.merkle_root is not None
TREE = Tree(len(DATA), NAMES.merkle_root, NAMES.layer)
ENTRY = FileEntry("a.bin", len(DATA), sha256=NAMES.sha256)
PLAIN = Payload(NAMES.sha256, Form.PLAIN, len(DATA), NAMES.merkle_root)
PLAN = FetchPlan(PLAIN, TREE, swarm=True)


def piece(index: int) -> memoryview:
    return memoryview(DATA)[index * PIECE : (index + 1) * PIECE]


def source(name: str) -> SourceState:
    return SourceState(HubSource(client(), f"http://{name}", None), Patience(), lambda _: None)


class Swarm:
    """Writes what it is given when it is told to, and what comes by itself."""

    def __init__(self, download: Download) -> None:
        self.download = download
        self.given: dict[int, bytes] = {}
        self.out: set[int] = set()
        self.came: set[int] = set()
        self.closed = 0

    def joined(self, wrote: object) -> "Swarm":
        self.wrote = wrote
        return self

    def give(self, index: int, data: bytes) -> None:
        if not self.closed:
            self.given[index] = data

    def leave_out(self, index: int, *, out: bool = True) -> None:
        (self.out.add if out else self.out.discard)(index)

    def has(self, index: int) -> bool:
        return index in self.came

    def close(self) -> None:
        self.closed += 1

    def write(self, index: int, data: bytes | memoryview | None = None) -> None:
        """A piece is in the file now, and everybody hears of it."""
        self.came.add(index)
        with self.download.partial.path.open("r+b") as file:
            file.seek(index * PIECE)
            file.write(data if data is not None else self.given.get(index, piece(index)))
        self.wrote([index])  # type: ignore[operator]


@pytest.fixture
def partial(tmp_path: Path) -> Iterator[Partial]:
    with Partial(folder(tmp_path), ENTRY.key, len(DATA)) as partial:
        yield partial


def folder(home: Path) -> Layout:
    layout = Layout(home)
    layout.make_folders()
    return layout


@pytest.fixture
def download(partial: Partial) -> Download:
    return Download(ENTRY, partial, PLAN)


@pytest.fixture
def swarm(download: Download) -> Swarm:
    swarm = Swarm(download)
    download.attach(swarm.joined)
    return swarm


def whole(download: Download, cancel: Cancel | None = None) -> bytes:
    """All that the verified pieces make."""
    return b"".join(bytes(data) for data, _ in download.pieces(cancel or Cancel()))


@pytest.fixture
def unsure(partial: Partial) -> Download:
    """A download of which no tree is known: wrong pieces show only at its end."""
    return Download(ENTRY, partial)


class TestMismatch:
    """Two sources sent the file together, and it is wrong."""

    @pytest.fixture(autouse=True)
    def _mixed(self, unsure: Download) -> None:
        self.liar, self.honest = source("liar"), source("honest")
        for index in range(unsure.count):
            lie = index < unsure.count - 4
            data = memoryview(bytes(len(piece(index)))) if lie else piece(index)
            assert unsure.accept(self.liar if lie else self.honest, index, data)
        assert unsure.verdict(unsure.hash(Cancel(), lambda _: None)) is not None

    def test_the_source_of_most_is_asked_alone(self, unsure: Download) -> None:
        assert unsure.find_liar() is None
        assert unsure.missing() == list(range(unsure.count - 4, unsure.count))
        assert unsure.take(self.honest) is None
        assert not unsure.accept(self.honest, unsure.count - 1, piece(unsure.count - 1))
        assert unsure.take(self.liar) is not None

    @pytest.mark.parametrize("why", [IntegrityError("a lie"), EntryNotFoundError("it is gone")])
    def test_what_came_from_a_source_that_is_lost_is_fetched_again(
        self, unsure: Download, why: OutlastError
    ) -> None:
        """Another file may have shown that it lies."""
        self.lose(why)
        assert unsure.find_liar() is None
        assert unsure.missing() == list(range(unsure.count - 4))
        assert self.finish(unsure)

    @pytest.mark.parametrize("why", [IntegrityError("a lie"), EntryNotFoundError("it is gone")])
    def test_a_suspect_that_is_lost_holds_up_no_other(
        self, unsure: Download, why: OutlastError
    ) -> None:
        assert unsure.find_liar() is None
        assert unsure.take(self.honest) is None
        self.lose(why)
        assert not self.finish(unsure)
        assert unsure.find_liar() is None
        assert self.finish(unsure)

    def lose(self, why: OutlastError) -> None:
        self.liar.record_failure(why, path=ENTRY.path, key=ENTRY.key, started=0.0)

    def finish(self, download: Download) -> bool:
        """The honest one sends what is missing; whether the file is right."""
        for index in download.missing():
            assert download.accept(self.honest, index, piece(index))
        return download.verdict(download.hash(Cancel(), lambda _: None)) is None


class TestTree:
    def test_a_wrong_piece_is_refused(self, download: Download) -> None:
        liar = source("liar")
        download.take(liar)
        with pytest.raises(IntegrityError, match="wrong piece 0"):
            download.accept(liar, 0, memoryview(bytes(PIECE)))
        assert not any(download.partial.have)
        assert download.accept(source("honest"), 0, piece(0))

    def test_a_piece_of_a_banned_source_is_refused(self, download: Download) -> None:
        """It was asked for before: right pieces of a source that lied are not wanted either."""
        liar = source("liar")
        download.take(liar)
        liar.ban(IntegrityError("a wrong piece"), ENTRY.path)
        assert not download.accept(liar, 0, piece(0))
        assert not any(download.partial.have)

    def test_a_piece_too_short(self, download: Download) -> None:
        with pytest.raises(IntegrityError):
            download.accept(source("liar"), 1, piece(1)[:-1])

    def test_what_is_torn_is_fetched_again(self, partial: Partial) -> None:
        """As after a crash: the journal says more than the file has."""
        for index in range(11):
            partial.write(index, piece(index))
        partial.write(4, bytes(PIECE))
        download = Download(ENTRY, partial, PLAN)
        found: list[bytes] = []
        thread = threading.Thread(target=lambda: found.append(whole(download)))
        thread.start()
        one = source("one")
        until(lambda: found or not partial.have[4], "it is noticed, or all is read")
        assert download.take(one) == (4, 5)
        download.accept(one, 4, piece(4))
        thread.join()
        assert found == [DATA]

    def test_who_follows_hears_of_it(self, partial: Partial) -> None:
        """It may have passed the wrong piece on."""

        class Watcher:
            def __init__(self) -> None:
                self.epochs = 0

            def advanced(self) -> None: ...

            def mismatched(self) -> None:
                self.epochs += 1

        for index in range(11):
            partial.write(index, piece(index))
        partial.write(4, bytes(PIECE))
        download = Download(ENTRY, partial, PLAN)
        watcher = download.watcher = Watcher()
        stop = Cancel()

        def read() -> None:
            with pytest.raises(Cancelled):
                whole(download, stop)

        thread = threading.Thread(target=read)
        thread.start()
        until(lambda: not partial.have[4], "it is noticed")
        stop.set()
        thread.join()
        assert watcher.epochs == 1


class TestSwarm:
    def test_sources_and_the_swarm_together(self, download: Download, swarm: Swarm) -> None:
        one = source("one")
        first, last = download.take(one) or (0, 0)
        assert (first, last) == (0, CHUNK)
        assert swarm.out == {0, 1, 2, 3}  # no source is asked for them
        for index in range(4, 8):
            swarm.write(index)
        assert download.take(source("two")) == (8, 11)
        assert download.take(one) is None  # all is given, or here
        for index in range(CHUNK):
            assert download.accept(one, index, piece(index))
        download.release(one, first, last)
        assert download.frontier == 0  # given, and not yet in the file
        for index in (*range(CHUNK), *range(8, 11)):
            swarm.write(index)
        assert whole(download) == DATA

    def test_what_the_swarm_brings_has_its_place_in_the_tree(
        self, download: Download, swarm: Swarm
    ) -> None:
        for index in range(11):
            swarm.write(index)
        names = download.hash(Cancel(), lambda _: None)
        assert (names.sha256, names.merkle_root, names.layer) == (
            ENTRY.sha256,
            TREE.root,
            TREE.layer,
        )

    def test_a_wrong_piece_is_not_given(self, download: Download, swarm: Swarm) -> None:
        with pytest.raises(IntegrityError):
            download.accept(source("liar"), 0, memoryview(bytes(PIECE)))
        assert swarm.given == {}

    def test_joined_while_sources_deliver(self, download: Download) -> None:
        one = source("one")
        download.take(one)
        download.accept(one, 0, piece(0))
        swarm = Swarm(download)
        download.attach(swarm.joined)
        assert {1, 2, 3} <= swarm.out  # under way
        download.accept(one, 1, piece(1))
        assert swarm.given == {1: bytes(piece(1))}
        assert download.partial.have[:2] == bytearray([1, 0])

    def test_what_was_not_delivered_is_asked_of_the_swarm(
        self, download: Download, swarm: Swarm
    ) -> None:
        one = source("one")
        first, last = download.take(one) or (0, 0)
        download.release(one, first, last)
        assert swarm.out == set()

    def test_left(self, download: Download, swarm: Swarm) -> None:
        """What was lent and not written is fetched again from sources."""
        one = source("one")
        download.take(one)
        download.accept(one, 0, piece(0))
        download.accept(one, 1, piece(1))
        swarm.write(0)
        download.release(one, 0, CHUNK)
        download.detach()
        assert swarm.closed
        assert download.take(one) == (1, 1 + CHUNK)

    def test_left_while_a_piece_is_given(self, download: Download, swarm: Swarm) -> None:
        """A piece that was given to a swarm that ended is not lent for ever."""
        one = source("one")
        download.take(one)
        give = swarm.give

        def late(index: int, data: bytes) -> None:
            download.detach()
            give(index, data)

        swarm.give = late  # type: ignore[method-assign]
        assert not download.accept(one, 0, piece(0))
        download.release(one, 0, CHUNK)
        assert download.take(one) == (0, CHUNK)

    def test_a_torn_piece(self, partial: Partial) -> None:
        """The swarm is told by joining it anew, without that piece."""
        partial.write(3, memoryview(bytes(PIECE)))
        download = Download(ENTRY, partial, PLAN)
        swarm = Swarm(download)
        download.attach(swarm.joined)
        for index in set(range(11)) - {3}:
            swarm.write(index)
        found: list[bytes] = []
        thread = threading.Thread(target=lambda: found.append(whole(download)))
        thread.start()
        until(lambda: found or download.torn, "it is noticed, or all is read")
        assert not found
        download.detach()
        again = Swarm(download)
        download.attach(again.joined)
        assert not download.torn
        assert download.partial.have[3] == 0
        again.write(3)
        thread.join()
        assert found == [DATA]

    def test_not_joined_again_at_the_end(self, download: Download, swarm: Swarm) -> None:
        """The file is about to get its name: nothing else may have it open."""
        download.settle()
        assert swarm.closed
        again = Swarm(download)
        download.attach(again.joined)
        assert download.swarm is None

    def test_not_joined_after_a_failure(self, download: Download) -> None:
        download.fail(Cancelled("over"))
        download.attach(Swarm(download).joined)
        assert download.swarm is None

    def test_late_news(self, download: Download, swarm: Swarm) -> None:
        """After the end nothing is written to what may be another file by then."""
        download.close()
        swarm.write(2)
        assert download.partial.have[2] == 0

    def test_a_failure_is_told(self, download: Download, swarm: Swarm) -> None:
        swarm.write(0)
        download.fail(DiskFullError("full"))
        with pytest.raises(DiskFullError):
            whole(download)

    def test_resumed(self, tmp_path: Path) -> None:
        """What a swarm wrote is there in the next run, and is checked."""
        layout = folder(tmp_path)
        with Partial(layout, ENTRY.key, len(DATA)) as partial:
            download = Download(ENTRY, partial, PLAN)
            swarm = Swarm(download)
            download.attach(swarm.joined)
            for index in (0, 1, 5):
                swarm.write(index)
        with Partial(layout, ENTRY.key, len(DATA)) as partial:
            assert [index for index, have in enumerate(partial.have) if have] == [0, 1, 5]
            download = Download(ENTRY, partial, PLAN)
            assert download.frontier == 2
            assert download.missing() == [2, 3, 4, 6, 7, 8, 9, 10]
            one = source("one")
            for index in download.missing():
                download.accept(one, index, piece(index))
            assert whole(download) == DATA

    def test_many_at_once(self, download: Download) -> None:
        """Sources deliver while the swarm comes and goes: all pieces come, unchanged."""
        sources = [source(str(number)) for number in range(3)]
        over = threading.Event()

        def deliver(one: SourceState) -> None:
            while not over.is_set():
                span = download.take(one)
                for index in range(*(span or (0, 0))):
                    download.accept(one, index, piece(index))
                if span is not None:
                    download.release(one, *span)

        def come_and_go() -> None:
            while not over.is_set():
                swarm = Swarm(download)
                download.attach(swarm.joined)
                for index in list(swarm.given):
                    swarm.write(index)
                download.detach()

        threads = [threading.Thread(target=deliver, args=(one,)) for one in sources]
        threads.append(threading.Thread(target=come_and_go))
        for thread in threads:
            thread.start()
        try:
            assert whole(download) == DATA
        finally:
            over.set()
            for thread in threads:
                thread.join()


def test_samples_are_of_what_is_here_without_a_gap(download: Download) -> None:
    """And of nothing once it is closed: the file descriptor may be another file's then."""
    hub = source("hub")
    assert download.sample(0, 1) is None
    for index in (0, 2):
        download.accept(hub, index, piece(index))
    assert download.sample(10, 20) == bytes(piece(0)[10:20])
    for span in ((PIECE - 1, PIECE + 1), (2 * PIECE, 2 * PIECE + 1), (5, 5), (-1, 3)):
        assert download.sample(*span) is None
    download.close()
    assert download.sample(10, 20) is None


def test_samples_are_also_of_a_piece_on_its_way(download: Download) -> None:
    """It may take long, and is all that a node can show of a file that has just begun."""
    buffer = memoryview(bytearray(piece(0)))
    with download.showing(0, buffer) as came_so_far:
        assert download.here == 0
        came_so_far(100)
        assert download.here == 100
        assert download.sample(90, 100) == bytes(piece(0)[90:100])
        assert download.sample(90, 101) is None
        came_so_far(PIECE)
        download.accept(source("hub"), 0, buffer)
        assert download.here == PIECE
    with download.showing(2, buffer) as came_so_far:
        came_so_far(100)
        assert download.here == PIECE  # there is a gap before
    with download.showing(1, memoryview(bytearray(piece(1)))) as came_so_far:
        came_so_far(50)
        assert download.sample(PIECE - 9, PIECE + 9) == DATA[PIECE - 9 : PIECE + 9]
        assert download.sample(PIECE + 1, PIECE + 9) == DATA[PIECE + 1 : PIECE + 9]
    assert download.here == PIECE
    assert download.sample(PIECE - 9, PIECE + 9) is None


def test_a_source_is_asked_for_no_piece_that_is_wrong_there(partial: Partial) -> None:
    download, a, b = Download(ENTRY, partial), source("a"), source("b")
    for index in (0, 2):
        a.note_wrong_piece(ENTRY.key, index, DamagedThereError("wrong", piece=index))
    assert download.take(a) == (1, 2)
    spans = list(iter(lambda: download.take(a), None))
    assert spans
    assert all(not first <= index < last for first, last in spans for index in (0, 2))
    assert download.take(b) == (0, 1)
    assert a.serves(ENTRY.key)
