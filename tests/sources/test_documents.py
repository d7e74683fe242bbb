"""Large JSON documents: how many are in memory at the same time, from any number of sources."""

import hashlib
import json
import multiprocessing
import resource
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from outlast.core import manifest
from outlast.core.digest import GitOid
from outlast.core.errors import Cancelled, ExhaustedError, OutlastError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.sources.documents import large
from outlast.sources.documents.large import ROOM, Room, read_json
from outlast.sources.folder import FolderSource
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.in_time import QUESTION, OpenSockets
from outlast.sources.modelscope import ModelScopeSource
from outlast.sources.peer import PeerSource
from outlast.sources.settings import HttpSettings
from outlast.sources.tuning import TUNING, Tuning
from tests import campaign
from tests.serve.node import SECONDS, until

REPO = RepoId.parse("org/name")
COMMIT = GitOid("1" * 40)
ENTRY = FileEntry("a.bin", 1, git_sha1=GitOid("2" * 40))
MANIFEST = Revision.of(REPO, COMMIT, [], [ENTRY]).to_bytes()
OFFER = {
    "repo": str(REPO),
    "commit": COMMIT.hex,
    "manifest": hashlib.sha256(MANIFEST).hexdigest(),
    "refs": ["main"],
    "files": 0,
    "bytes": 0,
    "partial": True,
}
ANSWERS: dict[str, Any] = {
    "/revision/": {"sha": COMMIT.hex, "id": "org/name", "siblings": []},
    "/tree/": [],
    "/models?": {"models": [OFFER], "next": None},
    "/manifests/": MANIFEST,
    "/outlast-manifest.json": MANIFEST,
    "/repo/files": {"Success": True, "Data": {"Files": []}},
    "/revisions": {"Success": True, "Data": {"RevisionMap": {"Branches": [{"Revision": "main"}]}}},
    "/api/v1/models/org/name": {"Success": True, "Data": {"Path": "org", "Name": "name"}},
}
SOURCES: dict[str, Callable[[HttpClient, int], Any]] = {
    "hub": lambda http, port: HubSource(http, f"http://127.0.0.1:{port}"),
    "peer": lambda http, port: PeerSource(http, "127.0.0.1", port),
    "folder": lambda http, port: FolderSource(http, f"http://127.0.0.1:{port}"),
    "modelscope": lambda http, port: ModelScopeSource(http, f"http://127.0.0.1:{port}"),
}


class Server(BaseHTTPRequestHandler):
    """Says what ANSWERS has for the first part of a path, or for every path the same."""

    always: ClassVar[bytes] = b""

    def do_GET(self) -> None:
        found: Any = next((told for part, told in ANSWERS.items() if part in self.path), {})
        body = self.always or (found if isinstance(found, bytes) else json.dumps(found).encode())
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for at in range(0, len(body), 1 << 20):
            self.wfile.write(body[at : at + (1 << 20)])

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


class Counted:
    """How many run at the same time, and how many do at most. None ends before `least` have begun
    to want to run.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = self.total = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        with self.lock:
            self.now += 1
            self.total += 1
            self.most = max(self.most, self.now)
        threading.Event().wait(0.02)  # time for the others, if they may
        yield
        with self.lock:
            self.now -= 1


@pytest.mark.parametrize("kind", SOURCES)
def test_large_documents_are_parsed_one_at_a_time(
    kind: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where each comes to a source of its own."""
    counted = Counted()
    parse = manifest.load_json

    def load(*args: Any, **more: Any) -> Any:
        with counted.running():
            return parse(*args, **more)

    monkeypatch.setattr(large, "load_json", load)
    monkeypatch.setattr(manifest, "load_json", load)
    monkeypatch.setattr(large, "TUNING", replace(TUNING, small_document=1))
    client = HttpClient(HttpSettings(proxies={}), tuning=Tuning(small_document=1))
    with client as http, ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(SOURCES[kind](http, port).describe, REPO, "main") for _ in range(6)]
        assert {future.result(SECONDS).repo for future in asked} == {REPO}
    assert counted.total >= 6
    assert counted.most == 1
    assert ROOM._left == TUNING.large_documents


class Body:
    """An answer of which `size` bytes may be in memory."""

    def __init__(self, size: int, come: threading.Event) -> None:
        self.size = size
        self.come = come
        self.claimed = threading.Event()

    def read_all(self, _limit: int, within: float, large: Callable[[int, float], None]) -> bytes:
        large(self.size, within)
        self.claimed.set()
        assert self.come.wait(SECONDS)
        return b"[]"


class TestRoom:
    @pytest.fixture
    def room(self, monkeypatch: pytest.MonkeyPatch) -> Room:
        room = Room(100)
        monkeypatch.setattr(large, "ROOM", room)
        return room

    def read(self, body: Any, within: float = SECONDS) -> object:
        return read_json(body, 10, within, lambda found: found)

    def test_what_does_not_fit_waits(self, room: Room) -> None:
        come = threading.Event()
        first, second, third = Body(60, come), Body(60, come), Body(40, come)
        with ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(self.read, first)]
            assert first.claimed.wait(SECONDS)
            asked += [pool.submit(self.read, second)]
            asked += [pool.submit(self.read, third)]
            assert third.claimed.wait(SECONDS)
            assert not second.claimed.is_set()
            come.set()
            assert [one.result(SECONDS) for one in asked] == [[], [], []]
        assert room._left == 100

    def test_one_that_is_larger_than_all_comes_alone(self, room: Room) -> None:
        come = threading.Event()
        come.set()
        assert self.read(Body(1000, come)) == []
        assert room._left == 100

    def test_it_does_not_wait_for_ever(self, room: Room) -> None:
        with room.shared() as claim:
            claim(100, 0)
            with pytest.raises(ExhaustedError):
                self.read(Body(1, threading.Event()), within=0.1)
        assert room._left == 100

    def test_a_question_that_was_ended_waits_no_more(self, room: Room) -> None:
        sockets = OpenSockets()
        with room.shared() as claim:
            claim(100, 0)
            token = QUESTION.set(sockets)
            threading.Timer(0.1, sockets.close).start()
            with pytest.raises(Cancelled):
                self.read(Body(1, threading.Event()))
            QUESTION.reset(token)

    def test_what_fails_gives_its_room_back(self, room: Room) -> None:
        class Fails(Body):
            def read_all(self, *args: Any) -> bytes:
                args[2](50, 1.0)
                raise ExhaustedError("no")

        with pytest.raises(ExhaustedError):
            self.read(Fails(1, threading.Event()))
        assert room._left == 100


class TestAnswers:
    """What is claimed for an answer, and when."""

    def claims(self, port: int, limit: int, wait: float = 0.0, **tuning: Any) -> list[int]:
        found: list[int] = []

        def claim(size: int, _seconds: float) -> None:
            found.append(size)
            threading.Event().wait(wait)

        client = HttpClient(HttpSettings(proxies={}), tuning=Tuning(**tuning))
        with client as http, http.get(f"http://127.0.0.1:{port}/outlast-manifest.json") as response:
            response.read_all(limit, SECONDS, claim)
        return found

    def test_nothing_for_a_small_one(self, port: int) -> None:
        assert self.claims(port, 10_000) == []

    def test_as_much_as_it_says_to_have(self, port: int) -> None:
        assert self.claims(port, 10_000, small_document=10) == [len(MANIFEST)]

    def test_a_wait_for_room_does_not_count_as_slowness(
        self, port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor what the socket holds meanwhile."""
        body = b" " * (3 << 20)
        monkeypatch.setattr(Server, "always", body)
        strict = {"least_rate": 5_000_000, "least_bytes": 8_000_000}
        assert self.claims(port, len(body), wait=2.0, **strict) == [len(body)]


BOMBS: dict[str, Callable[[int], bytes]] = {
    "arrays": lambda n: b"[" + b"[]," * n + b"[]]",
    "objects": lambda n: b"[" + b'{"":0},' * n + b"[]]",
    "nesting": lambda n: b"[" * n + b"]" * n,
    "numbers": lambda n: b"[" + b"1.5," * n + b"1]",
    "one number": lambda n: b"1" * n,
    "texts": lambda n: b"[" + b'"\\ud83d",' * n + b"1]",
    "one text": lambda n: b'["' + "\U0001f600".encode() * n + b'"]',
    "keys": lambda n: b"{" + b",".join(b'"%d":0' % i for i in range(n)) + b"}",
    "one key": lambda n: b"{" + b'"a":0,' * n + b'"a":0}',
}


def peak(kind: str, bomb: str, count: int, at_once: int) -> int:
    """Bytes of memory that so many questions take at the same time; in a process of its own."""
    Server.always = BOMBS[bomb](count)
    if kind == "modelscope":
        Server.always = b'{"Success":true,"Data":' + Server.always + b"}"
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        http = HttpClient(HttpSettings(proxies={}))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        def ask() -> None:
            with pytest.raises(OutlastError):
                SOURCES[kind](http, server.server_address[1]).describe(REPO, "main")

        with ThreadPoolExecutor(at_once) as pool:
            for one in [pool.submit(ask) for _ in range(at_once)]:
                one.result()
        server.shutdown()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


@pytest.mark.torture
@pytest.mark.skipif(not campaign.LONG, reason="a long one: make torture")
@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("kind", SOURCES)
def test_six_bombs_at_once_cost_little_more_than_one(kind: str, bomb: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    count = 1_000_000
    with spawn.Pool(1, maxtasksperchild=1) as pool:
        one = pool.apply(peak, (kind, bomb, count, 1))
        six = pool.apply(peak, (kind, bomb, count, 6))
    length = len(BOMBS[bomb](count))
    assert one < 1_000_000_000
    assert six < 3 * one + 6 * length + 100_000_000  # allocators keep some of what was freed


def test_a_document_that_is_read_is_let_go(port: int) -> None:
    until(lambda: ROOM._left == TUNING.large_documents, "room")
    http = HttpClient(HttpSettings(proxies={}))
    HubSource(http, f"http://127.0.0.1:{port}").describe(REPO, "main")
    assert ROOM._left == TUNING.large_documents
