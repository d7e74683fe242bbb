"""The status of a node: as JSON and back, whatever else is refused, and as tables."""

import json
from dataclasses import replace
from typing import Any

import pytest

from outlast.cli.screen.job_rate import duration
from outlast.cli.screen.render import percent, rate
from outlast.cli.screen.status_tables import Section, sections
from outlast.core.errors import MalformedError
from outlast.core.status import (
    DhtStatus,
    NeighbourStatus,
    NodeStatus,
    PeerStatus,
    SourceShare,
    TrackerStatus,
    TransferStatus,
)

TRANSFER = TransferStatus(
    repo="org/name",
    path="model.safetensors",
    blob="ab" * 32,
    form="capsule",
    state="fetching",
    size=1_000_000_000,
    have=420_000_000,
    pieces=954,
    lacking=3,
    fetcher=True,
    waits_for="10.0.0.2, which fetches it since 40 s",
    down_rate=12_500_000.0,
    up_rate=0.0,
    sources=(
        SourceShare("peer 10.0.0.7:8091", 100_000_000),
        SourceShare("https://hub", 320_000_000),
    ),
)
PEER = PeerStatus(
    address="10.0.0.7:41000",
    client="outlast/0.1.0",
    transport="tcp",
    form="capsule",
    down_rate=1e6,
    up_rate=2e6,
    received=5_000_000,
    sent=7_000_000,
)
NODE = NodeStatus(
    pid=4242,
    command="pull org/name",
    version="0.1.0",
    node="cd" * 20,
    uptime=3_725.9,
    peer_port=8091,
    swarm_port=41001,
    private=False,
    down_rate=12_500_000.0,
    up_rate=3_000_000.0,
    received=420_000_000,
    sent=840_000_000,
    seeding=1,
    damaged=0,
    dht=DhtStatus(enabled=True, nodes=12),
    trackers=(TrackerStatus("http://10.0.0.1:8091/announce", 4, "timed out"),),
    transfers=(TRANSFER,),
    peers=(PEER, replace(PEER, address="10.0.0.8:1", banned=True)),
    neighbours=(
        NeighbourStatus("ef" * 20, "fe80::1%eth0", 8091, 41002, static=False, heard=7.0),
        NeighbourStatus("", "far.example", 8091, 0, static=True, heard=90.0),
    ),
)
PLAIN = replace(
    NODE, received=0, trackers=(), transfers=(), peers=(), neighbours=(), dht=DhtStatus(False, 0)
)


class TestJson:
    @pytest.mark.parametrize("node", [NODE, PLAIN], ids=["full", "empty"])
    def test_there_and_back(self, node: NodeStatus) -> None:
        assert NodeStatus.from_json(json.loads(json.dumps(node.to_json()))) == node

    def test_ratio(self) -> None:
        assert NODE.ratio == 2.0
        assert PLAIN.ratio is None

    @pytest.mark.parametrize(
        "path", [(), ("dht",), ("transfers", 0), ("transfers", 0, "sources", 0)]
    )
    @pytest.mark.parametrize("change", ["less", "more", "none", "list"])
    def test_other_fields(self, path: tuple[str | int, ...], change: str) -> None:
        document: Any = {"node": json.loads(json.dumps(NODE.to_json()))}
        parent, key = document, "node"
        for step in path:
            parent, key = parent[key], step  # type: ignore[assignment]
        if change == "less":
            del parent[key][next(name for name in parent[key] if name != "type")]
        elif change == "more":
            parent[key]["other"] = 1
        else:
            parent[key] = None if change == "none" else []
        with pytest.raises(MalformedError):
            NodeStatus.from_json(document["node"])

    @pytest.mark.parametrize(
        "wrong",
        [
            {"type": "outlast-status-v2"},
            {"pid": -1},
            {"pid": True},
            {"pid": 1.0},
            {"pid": "1"},
            {"pid": 1 << 63},
            {"uptime": -0.1},
            {"uptime": float("inf")},
            {"uptime": float("nan")},
            {"uptime": "1"},
            {"uptime": 10**400},
            {"private": 0},
            {"command": None},
            {"command": "x" * 5000},
            {"peers": {}},
            {"peers": "abc"},
            {"peers": [[]]},
            {"dht": [True, 0]},
        ],
        ids=lambda wrong: str(wrong)[:30],
    )
    def test_wrong_values(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(MalformedError):
            NodeStatus.from_json(NODE.to_json() | wrong)

    def test_whole_numbers_are_rates_too(self) -> None:
        assert NodeStatus.from_json(NODE.to_json() | {"uptime": 5}).uptime == 5


def _table(node: NodeStatus, heading: str) -> list[dict[str, str]]:
    """A table's rows by the headings of their columns."""
    [part] = [part for part in sections([node]) if part.rows and part.rows[0][0] == heading]
    return [dict(zip(part.rows[0], row, strict=True)) for row in part.rows[1:]]


class TestTables:
    def test_a_node(self) -> None:
        head, figures = [part.title for part in sections([NODE])[:2]]
        assert head == "outlast pull org/name (process 4242, node cdcdcdcdcdcd), up 1 h 02 min"
        assert figures == (
            "  down 12.5 MB/s, up 3.0 MB/s, got 420 MB, gave 840 MB, ratio 2.00, "
            "seeding 1 payload, DHT 12 nodes, ports 8091 and 41001"
        )

    def test_a_node_that_rests(self) -> None:
        parts = sections([replace(PLAIN, private=True)])
        assert len(parts) == 2
        assert ", private)" in parts[0].title
        assert "ratio -" in parts[1].title
        assert "DHT off" in parts[1].title

    def test_transfers(self) -> None:
        assert _table(NODE, "FILE") == [
            {
                "FILE": "org/name: model.safetensors",
                "FORM": "capsule",
                "STATE": "fetching, elected",
                "DONE": "42 %",
                "SIZE": "1.0 GB",
                "DOWN": "12.5 MB/s",
                "UP": "-",
                "LACKING": "3 of 954",
                "FROM": "76 % https://hub, 23 % peer 10.0.0.7:8091",
                "WAITS FOR": "10.0.0.2, which fetches it since 40 s",
            }
        ]

    def test_peers(self) -> None:
        banned, fine = _table(NODE, "PEER")
        assert (banned["PEER"], banned[""]) == ("10.0.0.8:1", "BANNED")
        assert (fine["PEER"], fine["CLIENT"], fine["FORM"]) == (
            "10.0.0.7:41000",
            "outlast/0.1.0",
            "capsule",
        )
        assert (fine["DOWN"], fine["UP"], fine["GOT"], fine["GAVE"]) == (
            "1.0 MB/s",
            "2.0 MB/s",
            "5.0 MB",
            "7.0 MB",
        )

    def test_neighbours(self) -> None:
        static, heard = _table(NODE, "NEIGHBOUR")
        assert (static["ADDRESS"], static["HEARD"]) == ("far.example", "1 min 30 s ago, static")
        assert (heard["ADDRESS"], heard["HEARD"]) == ("fe80::1%eth0", "7 s ago")

    def test_trackers(self) -> None:
        assert _table(NODE, "TRACKER") == [
            {"TRACKER": "http://10.0.0.1:8091/announce", "PEERS": "4", "STATE": "timed out"}
        ]

    def test_every_row_is_as_long_as_its_headings(self) -> None:
        for part in sections([NODE, PLAIN]):
            assert isinstance(part, Section)
            assert len({len(row) for row in part.rows}) <= 1
            assert all(number < len(part.rows[0]) for number in part.right)

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0.9, "0 s"),
            (59, "59 s"),
            (60, "1 min 00 s"),
            (3599, "59 min 59 s"),
            (3600, "1 h 00 min"),
            (86399, "23 h 59 min"),
            (86400, "1 day 0 h"),
            (200_000, "2 days 7 h"),
        ],
    )
    def test_durations(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text

    @pytest.mark.parametrize(
        ("part", "whole", "text"),
        [(0, 10, "0 %"), (1, 3, "33 %"), (999, 1000, "99 %"), (5, 5, "100 %"), (0, 0, "100 %")],
    )
    def test_percent(self, part: int, whole: int, text: str) -> None:
        assert percent(part, whole) == text

    def test_rates(self) -> None:
        assert [rate(0), rate(0.4), rate(1500)] == ["-", "-", "1.5 kB/s"]
