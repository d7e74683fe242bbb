"""A source that is too slow to be of use is passed over, whatever it sends meanwhile."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

import pytest

from outlast.core.control import Control
from outlast.core.errors import UnreachableError
from outlast.core.events import FileDone
from outlast.core.names import RepoId
from outlast.core.threads import beside
from outlast.fetch.source_state import Patience
from outlast.p2p.resolve import describe
from outlast.p2p.tuning import TUNING
from outlast.sources.http import HttpClient, Response, _reporting
from outlast.sources.hub import HubSource
from outlast.sources.in_time import HeadInTime
from outlast.sources.settings import HttpSettings
from outlast.sources.tuning import Tuning
from tests.hubsim import HubSim
from tests.pull.kit import BIG, FILES, MIB, QUICK, Puller, check_pulled, file_requests
from tests.pull.wires import socks_proxy
from tests.serve.node import SECONDS
from tests.serve.peers import client

STRICT = Tuning(least_rate=20_000, least_bytes=1)


@contextmanager
def dripping(head: bytes, ended: threading.Event | None = None) -> Iterator[str]:
    """A server that sends one byte of a header after the other, and never the last. `ended` is set
    when a client goes.
    """
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        while not over.is_set():
            with suppress(OSError), listener.accept()[0] as sock:
                sock.recv(1 << 16)
                sock.sendall(head)
                while not over.wait(0.05):
                    sock.sendall(b"a")
            if ended is not None:
                ended.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_headers_that_drip(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeadInTime, "head_s", 0.3)
    with dripping(head) as url, pytest.raises(UnreachableError):
        client().get(url)


def test_headers_that_drip_through_a_socks_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeadInTime, "head_s", 0.3)
    with dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ") as url, socks_proxy() as proxy:
        settings = HttpSettings(proxies={"all": f"socks5h://127.0.0.1:{proxy.port}"})
        with pytest.raises(UnreachableError):
            HttpClient(settings).get(url)
        assert proxy.asked


def read_to_the_end(answer: Response) -> None:
    buffer = memoryview(bytearray(10))
    while answer.readinto(buffer):
        pass


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("head", [b"2;extension=", b"2\r\n{}\r\n0\r\nTrailer: ", b"2\r\n{}\r\n"])
def test_what_frames_a_body_drips(head: bytes) -> None:
    """The length of a chunk, and what follows the last, are read whole, whatever they hold."""
    strict = Tuning(head_s=0.3)
    with dripping(CHUNKED + head) as url:
        http = HttpClient(HttpSettings(), tuning=strict)
        with http.get(url) as answer, pytest.raises(UnreachableError, match="too slowly"):
            answer.read_all(1000, 30.0)
        with http.get(url) as answer, pytest.raises(UnreachableError, match="too long"):
            read_to_the_end(answer)


def test_how_a_read_fails_that_we_ended_is_not_told() -> None:
    """The kernel says "reset" where a byte comes between the end and the reader's turn."""
    with pytest.raises(UnreachableError, match="too long"), _reporting("http://hub.example"):
        raise TimeoutError("the answer takes too long") from ConnectionResetError(104, "reset")


@pytest.mark.parametrize("head", [b"", b"Content-Length: 100000\r\n\r\n"])
def test_access_that_drips(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeadInTime, "head_s", 0.3)
    with dripping(b"HTTP/1.1 200 OK\r\n" + (head or b"X-Slow: ")) as url:
        hub = HubSource(HttpClient(HttpSettings()), url)
        with pytest.raises(UnreachableError):
            hub.check_access(RepoId.parse("org/name"), timeout=0.3)


def test_what_a_request_may_take_bounds_its_head_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its bytes comes in time."""
    monkeypatch.setattr(HeadInTime, "head_s", 1000.0)
    with dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ") as url:
        asked = beside(partial(client().get, url, timeout=0.2))
        assert isinstance(asked.exception(SECONDS), UnreachableError)


def test_headers_that_drip_from_the_first_source(
    hub: HubSim, pull: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HeadInTime, "head_s", 0.3)
    with dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ") as url:
        pull("org/name", url, hub.url)
    check_pulled(pull.home)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: ", CHUNKED + b"2;extension="])
def test_one_that_drips_is_left_when_the_next_has_answered(
    hub: HubSim, head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before its time is over; and its connection is not kept."""
    ended = threading.Event()
    monkeypatch.setattr(HeadInTime, "head_s", 1000.0)
    with dripping(head, ended) as url:
        http = HttpClient(HttpSettings(read_timeout=1000.0), tuning=Tuning(head_s=1000.0))
        sources = [HubSource(http, url), HubSource(http, hub.url)]
        tuning = replace(TUNING, next_source_after=0.05)
        control, patience = Control(), Patience(tries=1)
        found = describe(
            sources, RepoId.parse("org/name"), "main", patience, control, tuning=tuning
        )
        assert found[1] is sources[1]
        assert ended.wait(SECONDS)


def test_metadata_that_drips(hub: HubSim, pull: Puller) -> None:
    """It is asked for once, and the next source has it."""
    hub.set_faults([{"action": "slow", "rate": 1000, "what": "info"}])
    pull.sources = STRICT
    with pytest.raises(UnreachableError, match="too slowly"):
        pull("org/name", hub.url)
    assert len(hub.requests(what="info")) == 1
    with HubSim(hub.root, mode="thread") as other:
        pull("org/name", hub.url, other.url)
    check_pulled(pull.home)


@pytest.mark.parametrize("file", ["small.bin", BIG])
def test_a_file_that_drips(hub: HubSim, pull: Puller, file: str) -> None:
    hub.set_faults([{"action": "slow", "rate": 1000, "what": "resolve", "file": file}])
    pull.tuning = replace(QUICK, slow_after=0.05, least_rate=MIB)
    with HubSim(hub.root, mode="thread") as other:
        pull("org/name", hub.url, other.url)
        if any(one.file == file for one in file_requests(hub)):
            assert any(one.file == file for one in file_requests(other))
    check_pulled(pull.home)


def test_a_small_file_that_drips_fast_enough_to_be_no_error(hub: HubSim, pull: Puller) -> None:
    hub.set_faults([{"action": "slow", "rate": 2000, "what": "resolve", "file": "small.bin"}])
    pull.tuning = replace(QUICK, small_hedge_after=0.05)
    with HubSim(hub.root, mode="thread") as other:
        pull("org/name", hub.url, other.url)
        slow = [one.file for one in file_requests(hub)].count("small.bin")
        quick = [one.file for one in file_requests(other)].count("small.bin")
    check_pulled(pull.home)
    assert (slow, quick) in {(0, 1), (1, 1)}
    done = [event.path for event in pull.events if isinstance(event, FileDone)]
    assert len(done) == len(set(done)) == len(FILES)
