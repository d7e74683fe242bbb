"""Beacons on the loopback of this machine, each test on a port of its own."""

import contextlib
import errno
import functools
import itertools
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Never

import pytest

from outlast.swarm.lan.beacon import Beacon
from outlast.swarm.lan.datagrams import (
    MAX_NODES,
    MAX_WISHES,
    Announcement,
    Heard,
    Want,
    Wish,
    announcement,
    wants,
)
from outlast.swarm.lan.interfaces import Channel
from outlast.swarm.lan.multicast import GROUP4, Group, scan
from tests.swarm.ears import PATIENCE, Ears

KEY = b"k" * 20
_numbers = itertools.count(int.from_bytes(os.urandom(2), "big"))


@pytest.fixture
def port() -> int:
    """Tests run side by side, and would hear each other."""
    return 20_000 + next(_numbers) % 12_000


@contextlib.contextmanager
def ears(port: int, count: int = 2) -> Iterator[list[Ears]]:
    """So many nodes, that run."""
    with contextlib.ExitStack() as stack:
        found = [
            Ears(bytes([n]) * 20, interfaces=["lo"], group_port=port) for n in range(1, count + 1)
        ]
        for each in found:
            stack.enter_context(each.beacon)
        yield found


@contextlib.contextmanager
def voice() -> Iterator[socket.socket]:
    """A stranger's socket, that sends to the group over the loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        own = struct.pack("@4s4si", bytes(4), socket.inet_aton("127.0.0.1"), 0)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        yield sender


def test_nodes_that_start_together_find_each_other(port: int) -> None:
    with ears(port, 4) as nodes:
        for one in nodes:
            assert one.knows(*(other for other in nodes if other is not one))
            assert one.node not in one.nodes()
            assert {value.address for value in one.heard} == {"127.0.0.1"}
            assert {value.peer_port for value in one.heard} == {8091}
            assert one.problems == []


def test_who_comes_later_is_answered_and_so_is_a_known_node_that_starts_anew(port: int) -> None:
    with ears(port, 1) as [first]:
        for _ in range(2):
            later = Ears(b"l" * 20, interfaces=["lo"], group_port=port)
            with later.beacon:
                assert later.knows(first)
                assert first.knows(later)


def test_wants_are_said_at_once_again_and_taken_back(port: int) -> None:
    with ears(port) as [one, other]:
        one.beacon.want([Wish(KEY, able=True)])
        assert other.until(lambda: len(other.said(KEY)) >= 2)
        assert set(other.said(KEY)) == {Wish(KEY, able=True)}
        one.beacon.want([Wish(KEY, able=True, fetching=True)])
        assert other.until(lambda: other.said(KEY)[-1].fetching)
        one.beacon.want([Wish(KEY, gone=True)])
        assert other.until(lambda: other.said(KEY)[-1].gone)
        other.forget()
        one.beacon.want([Wish(b"o" * 20)])
        assert other.until(lambda: len(other.said(b"o" * 20)) >= 2)
        assert other.said(KEY) == []


def test_who_ends_takes_its_wishes_back(port: int) -> None:
    with ears(port, 1) as [one]:
        with Ears(b"l" * 20, interfaces=["lo"], group_port=port).beacon as leaving:
            leaving.want([Wish(KEY, fetching=True)])
            assert one.until(lambda: one.said(KEY) != [])
        assert one.until(lambda: one.said(KEY)[-1].gone)


def test_a_thousand_wishes_arrive(port: int) -> None:
    said = {bytes([n >> 8, n & 255]) * 10: n for n in range(1000)}
    with ears(port) as [one, other]:
        one.beacon.want([Wish(key, able=True) for key in said])
        heard: set[bytes] = set()

        def all_heard() -> bool:
            wanted = [value for value in other.heard if isinstance(value, Want)]
            heard.update(wish.key for value in wanted for wish in value.wishes)
            return heard == set(said)

        assert other.until(all_heard)


def test_a_node_that_wants_is_a_stranger_too(port: int) -> None:
    """Its announcement may have been lost."""
    with ears(port, 1) as [one], voice() as stranger:
        listener = Ears(b"l" * 20, interfaces=["lo"], group_port=port)
        with listener.beacon:
            assert listener.knows(one)
            listener.forget()
            for data in wants("h", b"s" * 20, 7, [Wish(KEY)]):
                stranger.sendto(data, (GROUP4, port))
            assert one.until(lambda: one.said(KEY) != [])
            assert listener.knows(one)


def heard_all(ears: Ears, nodes: set[bytes]) -> bool:
    return nodes <= ears.nodes()


def test_invalid_and_many_datagrams_do_no_harm(port: int) -> None:
    rubbish = [b"", b"\0" * 1400, os.urandom(1399), b"x" * 9000, b"BT-SEARCH * HTTP/1.1\r\n\r\n"]
    with ears(port) as [one, other], voice() as stranger:
        assert one.knows(other)
        for data in rubbish * 4:
            stranger.sendto(data, (GROUP4, port))
        crowd = [b"f" + number.to_bytes(19, "big") for number in range(MAX_NODES + 50)]
        for start in range(0, len(crowd), 40):  # what the socket's buffer can take at once
            some = set(crowd[start : start + 40])
            for node in some:
                stranger.sendto(announcement("h", node, 7), (GROUP4, port))
            assert one.until(functools.partial(heard_all, one, some))
        assert len(one.beacon._known) == MAX_NODES
        assert one.problems == []


def test_whom_the_operator_does_not_accept_is_not_heard(port: int) -> None:
    asked: list[str] = []
    often = threading.Event()

    def refuse(address: str) -> bool:
        asked.append(address)
        if len(asked) > 2:
            often.set()
        return False

    deaf = Ears(b"d" * 20, interfaces=["lo"], group_port=port, accepts=refuse)
    with ears(port, 1) as [one], deaf.beacon:
        assert one.knows(deaf)
        one.beacon.want([Wish(KEY)])
        assert often.wait(PATIENCE)
        assert deaf.heard == []
        assert set(asked) == {"127.0.0.1"}


def test_what_is_sent_to_this_machine_alone_does_not_get_in(port: int) -> None:
    with ears(port) as [one, other], voice() as stranger:
        assert one.knows(other)
        stranger.sendto(announcement("h", b"u" * 20, 7), ("127.0.0.1", port))
        stranger.sendto(announcement("h", b"m" * 20, 7), (GROUP4, port))
        assert one.until(lambda: b"m" * 20 in one.nodes())
        assert b"u" * 20 not in one.nodes()


def test_an_interface_that_is_not_there_yet_is_waited_for(port: int) -> None:
    beacon = Beacon(b"n" * 20, 1, lambda _: None, interfaces=["none0"], group_port=port)
    with beacon:
        beacon.want([Wish(KEY)])
    assert scan(["none0"]) == []
    [loopback] = scan(["lo"])
    assert (loopback.address, loopback.is_loopback) == ("127.0.0.1", True)


def test_a_bug_in_who_listens_ends_the_beacon_and_is_seen(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[threading.ExceptHookArgs] = []
    ended = threading.Event()

    def note(args: threading.ExceptHookArgs) -> None:
        seen.append(args)
        ended.set()

    def faulty(_: Heard) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(threading, "excepthook", note)
    beacon = Beacon(b"n" * 20, 1, faulty, interfaces=["lo"], group_port=port)
    with ears(port, 1), beacon:
        assert ended.wait(PATIENCE)
    assert [args.exc_type for args in seen] == [ZeroDivisionError]


def test_a_beacon_that_never_started_can_be_closed(port: int) -> None:
    beacon = Beacon(b"n" * 20, 1, lambda _: None, group_port=port)
    beacon.close()
    beacon.close()


@pytest.mark.parametrize(("node", "peer_port"), [(b"n", 1), (b"n" * 20, 0), (b"n" * 20, 65536)])
def test_a_name_or_port_that_cannot_be(node: bytes, peer_port: int) -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        Beacon(node, peer_port, lambda _: None)


def test_of_too_many_wishes_the_oldest_are_said(port: int) -> None:
    first = KEY
    with ears(port) as [one, other]:
        one.beacon.want([Wish(first)])
        one.beacon.want([Wish(n.to_bytes(20, "big")) for n in range(2 * MAX_WISHES)])
        assert other.until(lambda: len(other.said(first)) >= 2)


def test_announcements_say_that_they_ask_at_first_alone(port: int) -> None:
    late = Ears(b"l" * 20, interfaces=["lo"], group_port=port)
    with ears(port) as [one, other]:

        def asked() -> int:
            found = [v for v in one.heard if isinstance(v, Announcement) and v.asks]
            return len([v for v in found if v.node == late.node])

        assert one.knows(other)
        with late.beacon:
            assert one.until(lambda: asked() == 3)


def test_what_may_not_be_sent_is_said_once_until_it_is_mended(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall answers so."""
    send, refused = Group.send, threading.Semaphore(0)

    def forbidden(*_: object) -> Never:
        refused.release()
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Group, "send", forbidden)
    with ears(port) as [one, other]:
        for _ in range(6):
            assert refused.acquire(timeout=PATIENCE)
        monkeypatch.setattr(Group, "send", send)
        assert one.knows(other)
        assert other.knows(one)
    said = "looking for neighbours through lo (IPv4): Operation not permitted"
    assert one.problems == other.problems == [said]


def test_a_port_that_another_program_keeps_to_itself(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as selfish:
        selfish.bind((GROUP4, port))
        with ears(port) as [one, other]:
            assert one.complains()
            selfish.close()
            assert one.knows(other)
    assert one.problems == [
        "looking for neighbours through the AF_INET group: Address already in use"
    ]


def test_datagrams_go_one_hop_far(port: int) -> None:
    four, six = Group(socket.AF_INET, port), Group(socket.AF_INET6, port)
    with contextlib.closing(four), contextlib.closing(six):
        assert four._sender.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 1
        assert six._sender.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS) == 1


def test_when_an_interface_is_announced_on(port: int) -> None:
    [loopback] = scan(["lo"])
    group = Group(socket.AF_INET, port)
    with contextlib.closing(group):
        channel = Channel(loopback, group, 100.0, resend_s=1.0)
        times, asks = [], []
        for _ in range(5):
            times.append(channel.at)
            asks.append(channel.begins)
            channel.announced(channel.at, sent=True)
        assert times == pytest.approx([100.0, 100.3, 101.0, 161.0, 221.0])
        assert asks == [True, True, True, False, False]
        channel.announced(300.0, sent=False)
        assert channel.at == 301.0


def test_the_more_nodes_are_known_the_less_often_one_answers(port: int) -> None:
    """Each answer is 0.2 s after the last one, and 10 ms more for each node that is known."""
    beacon = Beacon(b"n" * 20, 1, lambda _: None, group_port=port)
    with contextlib.closing(beacon):
        before = time.monotonic()
        beacon._read(announcement("h", bytes(20), 7), "10.0.0.1")
        assert before <= beacon._answer_at <= time.monotonic() + 0.1
        for number in range(1, 50):
            beacon._answered, beacon._answer_at = time.monotonic(), float("inf")
            beacon._read(announcement("h", bytes([number]) * 20, 7), "10.0.0.1")
            pause = beacon._answer_at - beacon._answered
            assert pause == pytest.approx(0.2 + 0.01 * (number + 1))
