"""The peer port and its bounds: hostile requests, slow clients, rates."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.server.http.pace import SharedPace
from outlast.server.tuning import TUNING
from outlast.swarm.schedule import Rates
from tests.serve.node import until
from tests.serve.peers import PLAIN, V1, WEIGHTS, Peer, fill, get, sha
from tests.serve.wire import Wire, once, several


class TestHostile:
    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/outlast/v1",
            "/outlast/v1/",
            "/outlast/v1/node/",
            "/outlast/v2/node",
            "//outlast/v1/node",
            "/outlast/v1/blobs/../node",
            "/outlast/v1/blobs/%2e%2e%2fnode",
            f"/outlast/v1/blobs/{'A' * 64}",
            f"/outlast/v1/blobs/{'a' * 63}",
            f"/outlast/v1/blobs/{'a' * 64}/x",
            "/outlast/v1/blobs/%00",
            "/api/models",
            "/metrics",
        ],
    )
    def test_paths_that_lead_nowhere(self, peer: Peer, path: str) -> None:
        reply = once(peer.url, path)
        assert reply.status == 404
        assert json.loads(reply.body)["error"]

    @pytest.mark.parametrize(
        ("path", "method"), [("/payloads", "GET"), ("/node", "POST"), ("/node", "DELETE")]
    )
    def test_methods(self, peer: Peer, path: str, method: str) -> None:
        reply = once(peer.url, V1 + path, method)
        assert reply.status == 405
        assert method not in reply.headers["allow"]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"{}",
            b'{"blobs":{}}',
            b'{"blobs":[1]}',
            b'{"blobs":["x"]}',
            b'{"blobs":[],"blobs":[]}',
            b'{"blobs":[NaN]}',
            b"[" * 100_000,
            b"\xff\xfe",
            json.dumps({"blobs": [f"{n:064x}" for n in range(1001)]}).encode(),
        ],
    )
    def test_bodies(self, peer: Peer, body: bytes) -> None:
        reply = once(peer.url, f"{V1}/payloads", "POST", body)
        assert reply.status == 400
        assert json.loads(reply.body)["error"]

    def test_a_body_too_long(self, peer: Peer) -> None:
        # Which, depends on how much of it is here before the request is looked at.
        assert once(peer.url, f"{V1}/payloads", "POST", bytes(1 << 20)).status in {413, 431}

    def test_a_thousand_blobs(self, peer: Peer) -> None:
        body = json.dumps({"blobs": [f"{n:064x}" for n in range(1000)]}).encode()
        assert json.loads(once(peer.url, f"{V1}/payloads", "POST", body).body) == {"payloads": {}}

    def test_a_body_that_does_not_come(self, peer: Peer) -> None:
        with peer.beside(body_timeout=0.05), Wire(peer.url) as wire:
            wire.send(
                b"POST /outlast/v1/payloads HTTP/1.1\r\nHost: [::]\r\nContent-Length: 9\r\n\r\n{"
            )
            assert wire.ended()

    def test_too_many_connections(self, tmp_path: Path) -> None:
        peer = fill(tmp_path / "home")
        with (
            peer.archive,
            peer.serving(tuning=replace(TUNING, peer_connections=3)),
            several(peer.url, 3) as wires,
        ):
            for wire in wires:
                wire.ask(f"{V1}/node")
                assert wire.reply().status == 200
            assert get(peer, "/node").status == 503
            wires[0].close()
            until(lambda: get(peer, "/node").status == 200, "a free place")

    def test_a_client_that_takes_nothing_is_dropped(self, tmp_path: Path) -> None:
        peer = fill(tmp_path / "home")
        with (
            peer.archive,
            peer.serving(tuning=replace(TUNING, peer_stall=0.2)),
            Wire(peer.url, buffer=4096) as wire,
        ):
            big = peer.archive.layout.blob(sha(PLAIN))
            wire.ask(f"{V1}/blobs/{sha(PLAIN)}")
            assert wire.head().status == 200
            until(lambda: _open_files(big) == 0, "the end of the reply")
            rest = 0
            while data := wire.read(1 << 20):
                rest += len(data)
            assert rest < len(PLAIN)


def _open_files(path: Path) -> int:
    links = Path("/proc/self/fd").iterdir()
    return sum(link.exists() and link.samefile(path) for link in links)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TestRates:
    def test_no_limit(self) -> None:
        assert SharedPace(lambda: 0, Clock()).reserve(1000) == (1000, 0.0)

    def test_turns_are_as_long_as_the_rate_says(self) -> None:
        clock = Clock()
        pace = SharedPace(lambda: 1_000_000, clock)
        total = 0
        while total < 5_000_000:
            count, delay = pace.reserve(10_000_000)
            total += count
            clock.now += delay
        assert clock.now - 100 == pytest.approx(total / 1_000_000)

    def test_all_who_share_it_get_the_same(self) -> None:
        clock = Clock()
        pace = SharedPace(lambda: 1_000_000, clock)
        turns = [pace.reserve(10_000_000) for _ in range(4)]
        assert len({count for count, _ in turns}) == 1
        assert [delay for _, delay in turns] == pytest.approx(
            [count * (n + 1) / 1e6 for n, (count, _) in enumerate(turns)]
        )

    def test_idle_time_saves_up_little(self) -> None:
        clock = Clock()
        pace = SharedPace(lambda: 1_000_000, clock)
        clock.now += 3600
        sent = 0
        while True:
            count, delay = pace.reserve(10_000_000)
            if delay:
                break
            sent += count
        assert sent <= 250_000

    def test_a_new_rate_holds_soon(self) -> None:
        clock, rate = Clock(), [0]
        pace = SharedPace(lambda: rate[0], clock)
        assert pace.reserve(1 << 40)[0] < 1 << 25
        rate[0], clock.now = 1000, clock.now + 1
        assert pace.reserve(1 << 40)[0] < 1 << 20

    @pytest.mark.parametrize("data", [PLAIN, WEIGHTS], ids=["plain", "capsule"])
    def test_bytes_are_the_same(self, tmp_path: Path, data: bytes) -> None:
        peer = fill(tmp_path / "home")
        peer.rates = Rates(lan_up=40_000_000)
        with peer.archive, peer.serving():
            assert get(peer, f"/blobs/{sha(data)}").body == data
            assert (
                get(peer, f"/blobs/{sha(data)}", Range="bytes=99-999999").body
                == (data[99:1_000_000])
            )

    def test_what_counts_as_lan(self, tmp_path: Path) -> None:
        peer = fill(tmp_path / "home")
        peer.rates = Rates(up=1)  # at a byte a second this would take a month
        with peer.archive, peer.serving():
            assert get(peer, f"/blobs/{sha(PLAIN)}").complete
