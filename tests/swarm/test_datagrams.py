"""Datagrams: what is written is read again, and nothing from outside breaks the reader."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outlast.core.digest import Digest
from outlast.swarm.lan.datagrams import (
    MAX_DATAGRAM,
    PER_DATAGRAM,
    RENDEZVOUS,
    Announcement,
    Want,
    Wish,
    announcement,
    parse,
    stage_of,
    want_key,
    wants,
)
from outlast.swarm.lan.rate_limit import PER_SENDER, DatagramLimit
from outlast.swarm.tuning import LanTuning

HOST6 = "[ff15::efc0:988f]:6771"
NODE = bytes(range(20))
KEY = b"k" * 20

ids = st.binary(min_size=20, max_size=20)
ports = st.integers(1, 65535)
stands = st.builds(
    Wish,
    ids,
    able=st.booleans(),
    fetching=st.booleans(),
    has=st.booleans(),
    stage=st.integers(0, 15),
)
wishes = st.one_of(stands, ids.map(lambda key: Wish(key, gone=True)))


def spell(*lines: str, end: str = "\r\n\r\n\r\n") -> bytes:
    return ("\r\n".join(lines) + end).encode()


def hello(**changes: str) -> bytes:
    headers = {
        "Host": "239.192.152.143:6771",
        "Port": "8091",
        "Infohash": RENDEZVOUS.hex(),
        "cookie": NODE.hex(),
    } | changes
    return spell("BT-SEARCH * HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()))


def wish_list(keys: str, **changes: str) -> bytes:
    headers = {"Port": "8091", "Node": NODE.hex(), "Keys": keys} | changes
    return spell("OUTLAST-WANT * HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()))


def test_an_announcement_byte_by_byte() -> None:
    assert announcement("239.192.152.143:6771", NODE, 8091) == (
        b"BT-SEARCH * HTTP/1.1\r\n"
        b"Host: 239.192.152.143:6771\r\n"
        b"Port: 8091\r\n"
        b"Infohash: 518f4db1f0c04154ff271975aca96d0cc40f7bb2\r\n"
        b"cookie: 000102030405060708090a0b0c0d0e0f10111213\r\n"
        b"\r\n"
        b"\r\n"
    )


def test_a_want_byte_by_byte() -> None:
    fetching = Wish(KEY, able=True, fetching=True, stage=3)
    assert list(wants(HOST6, NODE, 1, [fetching])) == [
        b"OUTLAST-WANT * HTTP/1.1\r\n"
        b"Host: [ff15::efc0:988f]:6771\r\n"
        b"Port: 1\r\n"
        b"Node: 000102030405060708090a0b0c0d0e0f10111213\r\n"
        b"Keys: " + base64.b64encode(KEY + b"\x33") + b"\r\n"
        b"\r\n"
        b"\r\n"
    ]


def test_limits_are_said_apart_and_in_a_header() -> None:
    other = bytes(20)
    said = [Wish(KEY, limit=0), Wish(other, able=True, limit=100_000), Wish(other[::-1], limit=0)]
    none, some = wants(HOST6, NODE, 1, said)
    assert b"\r\nLimit: 0\r\nKeys: " in none
    assert b"\r\nLimit: 100000\r\nKeys: " in some
    found = [value.wishes for data in (none, some) if isinstance(value := parse(data, "a"), Want)]
    assert found == [(said[0], said[2]), (said[1],)]


@pytest.mark.parametrize("limit", ["-1", "+1", "01", "", "1e9", "1" * 16, "\u0661"])
def test_a_limit_that_is_no_number(limit: str) -> None:
    (data,) = wants(HOST6, NODE, 1, [Wish(KEY, limit=7)])
    assert parse(data.replace(b"Limit: 7", f"Limit: {limit}".encode()), "a") is None


def test_a_key_does_not_give_the_blob_away() -> None:
    blob = Digest.of(b"weights")
    assert want_key(blob).hex() == "d7ab28611087325dba6780e82bbbda75a2b74ff1"
    assert want_key(blob) not in bytes.fromhex(blob.hex)


def test_stages_double() -> None:
    mib = 1024 * 1024
    sizes = [0, 4 * mib - 1, 4 * mib, 8 * mib - 1, 8 * mib, 16 * mib, 10**18]
    assert [stage_of(size) for size in sizes] == [0, 0, 1, 1, 2, 3, 15]


@given(ids, ports, st.booleans())
def test_announcements_are_read_again(node: bytes, port: int, asks: bool) -> None:
    data = announcement(HOST6, node, port, asks=asks)
    assert parse(data, "fe80::1%eth0") == Announcement(node, "fe80::1%eth0", port, asks)


@given(ids, ports, st.lists(wishes, max_size=100, unique_by=lambda wish: wish.key))
def test_wants_are_read_again(node: bytes, port: int, said: list[Wish]) -> None:
    datagrams = list(wants(HOST6, node, port, said))
    assert len(datagrams) == -(-len(said) // PER_DATAGRAM)
    assert all(len(data) <= MAX_DATAGRAM for data in datagrams)
    read: list[Wish] = []
    for data in datagrams:
        value = parse(data, "10.0.0.1")
        assert isinstance(value, Want)
        assert (value.node, value.address, value.peer_port) == (node, "10.0.0.1", port)
        read += value.wishes
    assert read == said


def test_what_others_add_is_passed_over() -> None:
    assert parse(hello(**{"X-New": "a: b"}), "a") == Announcement(NODE, "a", 8091)
    upper = spell("BT-SEARCH * HTTP/1.1", "PORT:1", f"INFOHASH:{RENDEZVOUS.hex().upper()}",
                  f"Cookie:{NODE.hex()}", end="\r\n\r\n")  # fmt: skip
    assert parse(upper, "a") == Announcement(NODE, "a", 1)


def test_flags_that_are_not_known_are_passed_over_and_gone_says_all() -> None:
    raw = KEY + b"\x09" + bytes(20) + b"\x01"
    value = parse(wish_list(base64.b64encode(raw).decode()), "a")
    assert isinstance(value, Want)
    assert value.wishes == (Wish(KEY, gone=True), Wish(bytes(20), able=True))


def test_of_a_key_said_twice_the_later_counts() -> None:
    value = parse(wish_list(base64.b64encode(KEY + b"\1" + KEY + b"\4").decode()), "a")
    assert isinstance(value, Want)
    assert value.wishes == (Wish(KEY, has=True),)


def _keys(count: int, more: int = 0) -> str:
    return base64.b64encode(bytes(21 * count + more)).decode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        hello()[:-4],
        hello() + b"x",
        hello().replace(b"\r\n", b"\n"),
        hello().replace(b"BT-SEARCH", b"M-SEARCH"),
        hello(Port="0"),
        hello(Port="65536"),
        hello(Port="+1"),
        hello(Port="1_0"),
        hello(Port="٣"),
        hello(Infohash="0" * 40),
        hello(Infohash=RENDEZVOUS.hex()[:-1]),
        hello(cookie="node"),
        hello(cookie=" ".join([NODE.hex()[:20], NODE.hex()[20:]])),
        hello(port="1"),
        hello(**{"no\x00name": "1"}),
        hello(X="y" * MAX_DATAGRAM),
        hello(**{f"X-{n}": "" for n in range(30)}),
        hello().replace(b"Port: ", b"Port "),
        wish_list(""),
        wish_list("===="),
        wish_list("AAAA"),
        wish_list(_keys(1)[:-1]),
        wish_list(_keys(1, 1)),
        wish_list(_keys(PER_DATAGRAM + 1)),
        wish_list(_keys(1), Node="00"),
        wish_list(_keys(1)).replace(b"Node", b"cookie"),
    ],
)
def test_what_is_not_ours_in_every_respect_is_nothing(data: bytes) -> None:
    assert parse(data, "a") is None


@given(st.binary(max_size=2000))
@example(hello(Port="9" * 5000))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    assert parse(data, "a") is None


@given(st.sampled_from([hello(), wish_list(_keys(3))]), st.data())
def test_no_damage_breaks_the_reader(whole: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(whole)))
    upto = data.draw(st.integers(at, min(len(whole), at + 30)))
    damaged = whole[:at] + data.draw(st.binary(max_size=30)) + whole[upto:]
    value = parse(damaged, "a")
    assert value is None or (len(value.node) == 20 and 0 < value.peer_port < 65536)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_a_sender_over_its_rate_is_dropped_and_others_are_heard() -> None:
    clock = Clock()
    limit = DatagramLimit(clock)
    read = sum(limit.allows("10.0.0.1") for _ in range(100_000))
    assert read == 2 * PER_SENDER
    assert limit.allows("10.0.0.2")
    assert not limit.allows("10.0.0.1")
    clock.now = 10.0
    assert sum(limit.allows("10.0.0.1") for _ in range(100_000)) == read


def test_many_senders_cost_bounded_memory_and_time() -> None:
    limit = DatagramLimit(Clock(), LanTuning(senders=100, datagrams_in_all=500, burst_s=3.0))
    read = sum(limit.allows(f"10.{n >> 8}.{n & 255}.1") for n in range(6000))
    assert len(limit) == 100
    assert read == 1500


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    clock = Clock(100.0)
    limit = DatagramLimit(clock)
    for _ in range(2 * PER_SENDER):
        limit.allows("a")
    assert not limit.allows("a")
    clock.now = 50.0
    assert not limit.allows("a")
