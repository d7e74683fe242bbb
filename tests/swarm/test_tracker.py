"""The tracker: its memory, and what it reads and writes."""

import random
import socket
import string
import urllib.parse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.swarm.torrent import bencode
from outlast.swarm.tracker.state import Peer, Swarm, Swarms, peer_of
from outlast.swarm.tracker.tracker import Tracker
from outlast.swarm.tracker.wire import (
    MAX_SCRAPED,
    Announce,
    failure,
    parse_announce,
    parse_scrape,
    reply,
    scrape_reply,
)
from outlast.swarm.tuning import TrackerTuning

HASH = bytes(range(0x1C, 0x30))
"""Has bytes that are written in every way: `%1C`, `-`, `&`, `+`."""
SPELT = urllib.parse.quote_from_bytes(HASH, safe="")
TUNING = TrackerTuning(swarms=500, peers_in_all=5000, max_interval_s=120)
ONE, OTHER = ("10.0.0.1", 1000), ("10.0.0.2", 1000)


class Desk:
    """Swarms, and a clock."""

    def __init__(self) -> None:
        self.swarms = Swarms(random.Random(1), TUNING)
        self.now = 0.0

    def announce(self, peer: Peer, infohash: bytes = HASH, *, left: int = 1, **more: Any) -> Swarm:
        return self.swarms.announce(infohash, peer, left=left, now=self.now, **more)

    def count(self, infohash: bytes = HASH) -> tuple[int, int]:
        found = self.swarms.scrape(infohash, self.now)
        return (found.complete, found.incomplete) if found else (0, 0)


def test_peers_hear_of_each_other() -> None:
    desk = Desk()
    assert desk.announce(ONE) == Swarm(0, 1, ())
    assert desk.announce(OTHER, left=0) == Swarm(1, 1, (ONE,))
    assert desk.announce(ONE) == Swarm(1, 1, (OTHER,))
    assert desk.announce(OTHER, bytes(20)) == Swarm(0, 1, ())


def test_a_seed_needs_no_other_seed() -> None:
    desk = Desk()
    desk.announce(ONE, left=0)
    assert desk.announce(OTHER, left=0) == Swarm(2, 0, ())


def test_who_leaves_is_gone_and_who_has_finished_counts_once() -> None:
    desk = Desk()
    desk.announce(ONE)
    desk.announce(ONE, left=0, event="completed")
    assert desk.swarms.scrape(HASH, 0) == Swarm(1, 0, (), 1)
    desk.announce(OTHER, event="stopped")
    assert desk.announce(ONE, event="stopped") == Swarm(0, 0, (), 1)
    assert desk.swarms.scrape(HASH, 0) is None
    assert len(desk.swarms) == 0


def test_who_is_silent_for_two_intervals_is_forgotten() -> None:
    desk = Desk()
    desk.announce(ONE)
    desk.now = 2 * TUNING.interval_s - 1
    assert desk.announce(OTHER).peers == (ONE,)
    desk.now += 1
    assert desk.announce(OTHER).peers == ()
    assert len(desk.swarms) == 1
    desk.now += 3 * TUNING.interval_s
    assert desk.count() == (0, 0)


def test_as_many_peers_as_are_wanted_by_chance() -> None:
    desk = Desk()
    everybody = [(f"10.0.{n}.1", 7) for n in range(250)]
    for peer in everybody:
        desk.announce(peer)
    assert desk.announce(ONE, numwant=0).peers == ()
    assert desk.announce(ONE, numwant=-1).peers == ()
    assert len(set(desk.announce(ONE, numwant=7).peers)) == 7
    assert len(set(desk.announce(ONE, numwant=10**9).peers)) == TUNING.max_wanted
    named = {peer for _ in range(40) for peer in desk.announce(ONE).peers}
    assert named == set(everybody)


def test_a_full_swarm_forgets_who_was_silent_the_longest() -> None:
    desk = Desk()
    for n in range(TUNING.peers + 3):
        desk.announce((f"10.{n >> 8}.{n & 255}.1", 7), trusted=n == 0)
        desk.announce(("10.0.0.1", 7))
    assert desk.count() == (0, TUNING.peers)
    everybody = set()
    for _ in range(60):
        everybody |= set(desk.announce(ONE, numwant=TUNING.max_wanted).peers)
    assert ("10.1.244.1", 7) in everybody
    assert ("10.0.0.1", 7) in everybody, "the operator has named it"
    assert ("10.0.1.1", 7) not in everybody


def test_where_all_are_trusted_a_stranger_gets_an_answer_but_no_place() -> None:
    desk = Desk()
    for n in range(TUNING.peers):
        desk.announce((f"10.{n >> 8}.{n & 255}.1", 7), trusted=True)
    assert len(desk.announce(("10.9.9.9", 7)).peers) > 0
    assert len(desk.swarms) == TUNING.peers
    assert desk.announce(("10.9.9.8", 7), trusted=True).incomplete == TUNING.peers
    assert all(("10.9.9.9", 7) not in desk.announce(ONE).peers for _ in range(30))


def test_one_address_does_not_fill_a_swarm() -> None:
    desk = Desk()
    desk.announce(OTHER)
    for port in range(1, 2000):
        desk.announce(("10.0.0.1", port))
    assert desk.count() == (0, TUNING.ports + 1)


def test_swarms_are_bounded_and_trusted_ones_go_last() -> None:
    desk = Desk()
    desk.announce(ONE, b"t" * 20, trusted=True)
    for n in range(TUNING.swarms + 5):
        desk.announce(OTHER, n.to_bytes(20, "big"))
    assert len(desk.swarms) == TUNING.swarms
    assert desk.count(b"t" * 20) == (0, 1)
    assert desk.count((5).to_bytes(20, "big")) == (0, 0)
    assert desk.count((6).to_bytes(20, "big")) == (0, 1)


def test_peers_are_bounded_in_all_and_come_the_less_often_the_more_they_are() -> None:
    desk = Desk()
    for n in range(TUNING.peers_in_all // TUNING.peers + 3):
        for m in range(TUNING.peers):
            found = desk.announce((f"10.{n & 255}.{m & 255}.{m >> 8}", 7), n.to_bytes(20, "big"))
    assert TUNING.peers_in_all - TUNING.peers <= len(desk.swarms) <= TUNING.peers_in_all
    assert found.interval == TUNING.max_interval_s
    assert desk.count((0).to_bytes(20, "big")) == (0, 0)
    desk.now = 2 * TUNING.max_interval_s - 1
    assert desk.count(n.to_bytes(20, "big")) == (0, TUNING.peers)


def test_addresses_are_named_to_whom_they_mean_something() -> None:
    desk = Desk()
    local, other, link = ("127.0.0.1", 1), ("127.0.0.1", 2), peer_of("fe80::1%eth0", 3)
    for peer in (local, link):
        desk.announce(peer)
    assert desk.announce(ONE).peers == ()
    assert desk.announce(OTHER, host="10.0.0.9").peers in {
        (("10.0.0.9", 1), ONE), (ONE, ("10.0.0.9", 1)),
    }  # fmt: skip
    assert set(desk.announce(other).peers) == {local, ONE, OTHER}
    assert desk.announce(other).incomplete == 5


def test_peers_are_written_in_one_way() -> None:
    assert peer_of("::ffff:10.0.0.1", 5) == ("10.0.0.1", 5)
    assert peer_of("FE80:0::1%eth0", 5) == ("fe80::1", 5)
    for junk in ("", "host", "10.0.0.1:5", "10.0.0.256"):
        with pytest.raises(ValueError, match="address"):
            peer_of(junk, 5)


addresses = st.sampled_from(["10.0.0.1", "10.0.0.2", "127.0.0.1", "fd00::1", "fe80::1"])
calls = st.tuples(
    st.integers(0, 2),
    st.tuples(addresses, st.integers(1, 4)),
    st.sampled_from([0, 1]),
    st.sampled_from(["", "started", "completed", "stopped"]),
    st.booleans(),
    st.integers(0, 40),
)


@given(st.lists(calls, max_size=60))
def test_it_remembers_what_a_plain_list_does(
    asked: list[tuple[int, Peer, int, str, bool, int]],
) -> None:
    desk = Desk()
    known: dict[tuple[bytes, Peer], tuple[float, int]] = {}
    for number, peer, left, event, trusted, pause in asked:
        desk.now += pause
        infohash = bytes([number]) * 20
        found = desk.announce(peer, infohash, left=left, event=event, trusted=trusted)
        known[infohash, peer] = desk.now, left
        if event == "stopped":
            del known[infohash, peer]
        known = {who: what for who, what in known.items() if what[0] + 60 > desk.now}
        here = {who[1]: what[1] for who, what in known.items() if who[0] == infohash}
        assert found.complete == sum(lacks == 0 for lacks in here.values())
        assert found.incomplete == len(here) - found.complete
        assert set(found.peers) <= here.keys() - {peer}
        assert len(desk.swarms) >= len(known)


def test_an_announce_is_read() -> None:
    query = f"info_hash={SPELT}&peer_id=x&port=6881&uploaded=0&downloaded=0&left=7&compact=1"
    assert parse_announce(query) == Announce(HASH, 6881, 7)
    more = f"{query}&event=completed&numwant=3&ip=1.2.3.4&key=%00&supportcrypto=1"
    assert parse_announce(more.encode()) == Announce(HASH, 6881, 7, "completed", 3)
    assert parse_announce(f"{query}&numwant=-1&event=paused") == Announce(HASH, 6881, 7)
    assert parse_announce(f"port=1&info_hash={'+' * 20}") == Announce(b"+" * 20, 1, 1)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("", "info_hash"),
        ("port=1", "info_hash"),
        (f"info_hash={SPELT}%00&port=1", "info_hash"),
        (f"info_hash={SPELT[:-1]}&port=1", "info_hash"),
        (f"info_hash={SPELT}", "port"),
        (f"info_hash={SPELT}&port=0", "port"),
        (f"info_hash={SPELT}&port=65536", "port"),
        (f"info_hash={SPELT}&port=-1", "port"),
        (f"info_hash={SPELT}&port=+1", "port"),
        (f"info_hash={SPELT}&port=1_0", "port"),
        (f"info_hash={SPELT}&port=%D9%A3", "port"),
        (f"info_hash={SPELT}&port={'1' * 3000}", "port"),
        (f"info_hash={SPELT}&port=1&left=x", "left"),
        (f"info_hash={SPELT}&port=1&numwant=", "numwant"),
        (f"info_hash={SPELT}&port=1&event=boom", "event"),
        (f"info_hash={SPELT}&port=1&port=2", "twice"),
        ("x" * 5000, "long"),
        ("&".join("abcdefgh" * 20), "many"),
    ],
)
def test_what_is_wrong_with_an_announce(query: str, word: str) -> None:
    found = parse_announce(query)
    assert isinstance(found, str)
    assert word in found
    assert bencode.decode(Tracker().announce(query, "10.0.0.1")) == {
        b"failure reason": found.encode()
    }


letters = st.text(string.ascii_letters + "%&=+;?\x00\udcff\u00e9", max_size=200)


@given(st.one_of(letters, st.binary(max_size=300)), st.sampled_from(["10.0.0.1", "::1", "", "x"]))
def test_no_query_breaks_the_tracker(query: str | bytes, address: str) -> None:
    tracker = Tracker()
    for body in (tracker.announce(query, address), tracker.scrape(query, address)):
        assert isinstance(bencode.decode(body), dict)


peers = st.tuples(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str), st.integers(1, 65535)
)


@given(st.lists(peers, max_size=20), st.integers(0, 500), st.integers(0, 500))
def test_a_reply_is_read_again(named: list[Peer], complete: int, incomplete: int) -> None:
    body = bencode.decode(reply(Swarm(complete, incomplete, tuple(named))))
    assert isinstance(body, dict)
    assert (body[b"complete"], body[b"incomplete"]) == (complete, incomplete)
    assert (body[b"interval"], body[b"min interval"]) == (30, 5)
    read: list[Peer] = []
    for name, family, size in ((b"peers", socket.AF_INET, 4), (b"peers6", socket.AF_INET6, 16)):
        packed = body[name]
        assert isinstance(packed, bytes)
        for at in range(0, len(packed), size + 2):
            host = socket.inet_ntop(family, packed[at : at + size])
            read.append((host, int.from_bytes(packed[at + size : at + size + 2], "big")))
    assert sorted(map(_packed, read)) == sorted(map(_packed, named))


def _packed(peer: Peer) -> tuple[bytes, int]:
    family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
    return socket.inet_pton(family, peer[0]), peer[1]


def test_scrapes() -> None:
    assert parse_scrape(f"info_hash={SPELT}&info_hash={SPELT}&x=1") == (HASH,)
    assert isinstance(parse_scrape(""), str), "no client gets the list of all"
    assert isinstance(parse_scrape("info_hash=x"), str)
    many = "&".join(f"info_hash={chr(97 + n % 26) * 19}{n % 10}" for n in range(MAX_SCRAPED + 1))
    assert isinstance(parse_scrape(many), str)
    assert isinstance(parse_scrape("x" * 5000), str)
    assert bencode.decode(scrape_reply({HASH: Swarm(1, 2, (), 3)})) == {
        b"files": {HASH: {b"complete": 1, b"downloaded": 3, b"incomplete": 2}}
    }
    tracker = Tracker(lambda: 0.0)
    tracker.announce(f"info_hash={SPELT}&port=1&left=0", "10.0.0.1")
    assert bencode.decode(tracker.scrape(f"info_hash={SPELT}&info_hash={'x' * 20}", "")) == {
        b"files": {HASH: {b"complete": 1, b"downloaded": 0, b"incomplete": 0}}
    }


def test_a_failure_is_one_line() -> None:
    assert bencode.decode(failure("no\nway")) == {b"failure reason": b"no\\nway"}


def test_peers_on_this_machine_are_named_by_where_it_was_reached() -> None:
    tracker = Tracker(lambda: 0.0)
    tracker.announce(f"info_hash={SPELT}&port=258&left=0", "127.0.0.1")
    body = bencode.decode(
        tracker.announce(f"info_hash={SPELT}&port=1", "10.0.0.1", host="::ffff:10.0.0.9")
    )
    assert isinstance(body, dict)
    assert body[b"peers"] == bytes([10, 0, 0, 9, 1, 2])
