"""What a link may have this machine ask: web seeds and trackers outside, none inside."""

import contextlib
import ipaddress
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.errors import MalformedError, UnreachableError
from outlast.ops.pull_link import LinkWishes
from outlast.swarm.client.announce import LinkAnnounce, TrackerRules, announce
from outlast.swarm.client.link_hosts import LinkHosts
from outlast.swarm.client.own_networks import is_own, own_networks
from outlast.swarm.settings import HostPort, SwarmSettings
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent.magnet import Link
from outlast.swarm.torrent.read import read_torrent
from tests.net import Net, needs_lab
from tests.swarm.seeds import Puller, client, make_torrent, write
from tests.swarm.web_seeds import WebSeed

ALLOWED = SwarmSettings(link_hosts=("127.0.0.0/8",))
SPELLINGS = ("127.0.0.1", "127.1", "0x7f.1", "2130706433", "localhost.", "[::ffff:127.0.0.1]")
FILES = {"config.json": b"{}", "model.bin": bytes(range(256)) * 16384}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "theirs" / "model", FILES)


@pytest.fixture
def puller(tmp_path: Path) -> Puller:
    return Puller(tmp_path / "archive", SwarmSettings())


def seeded(torrent: bytes, *urls: str) -> Link:
    return replace(read_torrent(torrent), web_seeds=urls)


@contextmanager
def web_seed(
    folder: Path | None = None, onward: str = "", host: str = "127.0.0.1"
) -> Iterator[WebSeed]:
    with WebSeed(folder, onward, host).serving() as found:
        yield found


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        *(
            (address, False)
            for address in (
                *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254"),  # noqa: S104
                *("169.254.169.254", "172.31.0.1", "192.168.1.1", "198.18.0.1", "224.0.0.251"),
                *("240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0"),
                *("fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1"),
                *("64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "2001:0:7f00:1::"),
            )
        ),
    ],
)
def test_addresses_inside_are_not_asked(address: str, allowed: bool) -> None:
    hosts = LinkHosts()
    assert hosts.admits(address) == allowed
    assert (hosts.filter().access(address.partition("%")[0]) == 0) == allowed


def test_an_allowed_network_is_no_more_than_that() -> None:
    hosts = LinkHosts(["10.1.0.0/16", "fd00:1::/64"])
    for address, allowed in (
        ("10.1.255.255", True),
        ("::ffff:10.1.0.1", True),
        ("10.2.0.0", False),
        ("fd00:1::7", True),
        ("fd00:2::7", False),
    ):
        assert hosts.admits(address) == allowed
        assert (hosts.filter().access(address) == 0) == allowed


GLOBAL = ("2606:4700:1::1", "2606:4700:1::77", "1.2.3.4", "1.2.3.77")
"""Addresses of the internet: of a machine, and of its neighbours."""


@pytest.mark.net
@needs_lab()
def test_a_network_of_this_machine_is_inside_though_its_addresses_are_global() -> None:
    """A home's IPv6 prefix leads to the same machines as its private addresses."""
    with Net() as net:
        host = net.lan().host("one")
        with host.inside():
            assert all(map(LinkHosts().admits, GLOBAL))
            host.namespace.ip("address add 2606:4700:1::1/64 dev eth0 nodad")
            host.namespace.ip("address add 1.2.3.4/24 dev lo")
            hosts = LinkHosts()
            for address in GLOBAL:
                assert not hosts.admits(address)
                assert hosts.filter().access(address) == 1
            allowed = LinkHosts(["2606:4700:1::/64"])
            assert [allowed.admits(address) for address in GLOBAL] == [True, True, False, False]
            assert hosts.admits("2606:4700:2::1")
            assert hosts.admits("1.2.4.4")
            with pytest.raises(UnreachableError, match="inside this network"):
                ask("http://[2606:4700:1::1]:9/announce", rules())


def test_an_address_of_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its networks are not known."""
    monkeypatch.setattr("outlast.swarm.client.link_hosts.own_networks", tuple)
    monkeypatch.setattr("outlast.swarm.client.link_hosts.is_own", lambda a: a == "8.8.8.8")
    assert not LinkHosts().admits("8.8.8.8")
    assert not LinkHosts().admits("::ffff:8.8.8.8")
    assert LinkHosts().admits("8.8.4.4")
    assert LinkHosts(["8.8.8.8"]).admits("8.8.8.8")


def test_a_network_that_is_most_of_the_internet_closes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As some tunnels have it."""
    nets = [ipaddress.ip_network(text) for text in ("0.0.0.0/1", "2000::/3")]
    monkeypatch.setattr("outlast.swarm.client.own_networks._version_4", lambda: nets[:1])
    monkeypatch.setattr("outlast.swarm.client.own_networks._version_6", lambda: nets[1:])
    assert own_networks() == ()
    assert is_own("127.0.0.1")
    assert not is_own("192.0.2.254")


def test_a_web_seed_alone_will_do(folder: Path, puller: Puller) -> None:
    puller.settings = ALLOWED
    with web_seed(folder.parent) as seed:
        steering = f"{seed.url}admin?do=x&file="
        link = seeded(make_torrent(folder), steering, seed.url)
        result = puller.pull_link(link, make_torrent(folder))
    assert seed.asked
    assert not any("do=x" in path for path in seed.asked)
    assert sum(result.fetched.values()) >= sum(map(len, FILES.values()))


def test_no_web_seed_inside_is_asked(folder: Path, puller: Puller) -> None:
    torrent = make_torrent(folder)
    with web_seed(folder.parent) as seed, client() as peer:
        peer.seed(torrent, folder.parent, rate=2 << 20)
        urls = [f"http://{host}:{seed.port}/" for host in SPELLINGS]
        puller.pull_link(seeded(torrent, *urls), torrent, peer)
    assert not seed.asked


def test_no_web_seed_inside_is_redirected_to(folder: Path, puller: Puller) -> None:
    """One that the operator allows sends its clients to an address that is not."""
    puller.settings = SwarmSettings(link_hosts=("127.0.0.2",))
    torrent = make_torrent(folder)
    with web_seed(folder.parent) as inside, web_seed(None, inside.url, "127.0.0.2") as other:
        url = f"http://127.0.0.2:{other.port}/"
        with pytest.raises(UnreachableError):
            puller.pull_link(seeded(torrent, url), torrent, wishes=LinkWishes(patience=2))
    assert other.asked
    assert not inside.asked


# Trackers

SAID = LinkAnnounce(b"i" * 20, b"p" * 20, 4711, 1)
PEERS = bencode.encode(
    {
        b"interval": 60,
        b"peers": bytes([8, 8, 8, 8, 0, 80, 127, 0, 0, 1, 0, 22, 9, 9, 9, 9, 0, 0]),
        b"peers6": socket.inet_pton(socket.AF_INET6, "::1") + b"\0\x16",
    }
)
NAMED = (("8.8.8.8", 80), ("127.0.0.1", 22), ("::1", 22))


def rules(*allowed: str, near: frozenset[HostPort] = frozenset()) -> TrackerRules:
    return TrackerRules(LinkHosts(allowed), lambda: near)


def ask(url: str, allowed: TrackerRules, seconds: float = 30.0) -> tuple[HostPort, ...]:
    return announce(url, SAID, allowed, event="started", seconds=seconds).peers


@contextmanager
def tracker(answer: bytes = PEERS, onward: str = "", host: str = "127.0.0.1") -> Iterator[WebSeed]:
    with web_seed(None, onward, host) as found:
        found.answer = answer
        yield found


@pytest.mark.parametrize("host", SPELLINGS)
@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_no_tracker_inside_is_asked(scheme: str, host: str) -> None:
    refused = "inside this network|is unknown"  # not all systems know "localhost."
    with tracker() as found, pytest.raises(UnreachableError, match=refused):
        ask(f"{scheme}://{host}:{found.port}/announce", rules())
    assert not found.asked


@pytest.mark.parametrize("host", [*SPELLINGS[:4], "localhost"])
def test_one_that_is_allowed_is_asked_at_announce_alone(host: str) -> None:
    with tracker() as found:
        url = f"http://{host}:{found.port}/"
        assert ask(f"{url}x/announce", rules("127.0.0.1")) == NAMED
        for path in ("admin", "admin?do=x", "announce?do=x", "announce/x"):
            with pytest.raises(UnreachableError, match="at /announce alone"):
                ask(url + path, rules("127.0.0.1"))
    (asked,) = found.asked
    path, _, query = asked.partition("?")
    assert path == "/x/announce"
    assert query.startswith(f"info_hash={'i' * 20}&peer_id={'p' * 20}&port=4711&")
    assert query.endswith("&event=started")


def test_the_tracker_of_a_neighbour_is_asked_at_its_port_alone() -> None:
    with tracker() as theirs, tracker() as other:
        near = rules(near=frozenset({("127.0.0.1", theirs.port)}))
        assert ask(f"{theirs.url}announce", near) == NAMED
        with pytest.raises(UnreachableError, match="inside this network"):
            ask(f"{other.url}announce", near)
    assert (len(theirs.asked), other.asked) == (1, [])


def test_no_tracker_inside_is_redirected_to() -> None:
    with tracker() as inside, tracker(onward=inside.url, host="127.0.0.2") as other:
        with pytest.raises(UnreachableError, match="inside this network"):
            ask(f"{other.url}announce", rules("127.0.0.2"))
        assert (len(other.asked), inside.asked) == (1, [])
        assert ask(f"{other.url}announce", rules("127.0.0.0/8")) == NAMED


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[", "http://a:x/", "http://é/"])
def test_a_redirect_to_what_is_no_url(location: str) -> None:
    answer = f"HTTP/1.1 302 x\r\nLocation: {location}\r\n\r\n".encode("latin-1")
    with raw(lambda peer: peer.sendall(answer)) as url, pytest.raises(MalformedError):
        ask(url, rules("127.0.0.1"))


def test_a_tracker_outside_names_no_peer_inside() -> None:
    assert rules().peers("8.8.8.8", NAMED) == NAMED[:1]
    assert rules("127.0.0.1").peers("8.8.8.8", NAMED) == NAMED[:2]
    assert rules().peers("10.0.0.1", NAMED) == NAMED


@contextmanager
def raw(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """A tracker that answers one request in its own way."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                with contextlib.suppress(OSError):  # it has heard enough
                    answer(peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/announce"
        thread.join()


def endless(peer: socket.socket) -> None:
    while True:
        peer.sendall(b"HTTP/1.1 200 x\r\n" + b"x" * 65536)


def drip(peer: socket.socket) -> None:
    peer.settimeout(0.01)
    while True:
        peer.sendall(b"x")
        try:
            if not peer.recv(1):
                return
        except TimeoutError:
            pass


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 2OO x\r\n\r\n",
        b"HTTP/1.1 200 x\r\n\r\n<html>",
        b"HTTP/1.1 200 x\r\n\r\n" + b"l" * 100_000,
        b"HTTP/1.1 200 x\r\n\r\nd14:failure reason2:noe",
        b"HTTP/1.1 200 x\r\n" + b"x" * 20_000 + b"\r\n\r\n" + PEERS,
    ],
)
def test_an_answer_that_is_none(answer: bytes) -> None:
    with raw(lambda peer: peer.sendall(answer)) as url, pytest.raises(MalformedError):
        ask(url, rules("127.0.0.1"))


def test_an_answer_without_end() -> None:
    with raw(endless) as url, pytest.raises(MalformedError, match="too long"):
        ask(url, rules("127.0.0.1"))


def test_an_answer_that_drips() -> None:
    with raw(drip) as url, pytest.raises(UnreachableError, match=r"takes too long|timed out"):
        ask(url, rules("127.0.0.1"), seconds=0.3)


@pytest.mark.parametrize("refuses", [False, True])
def test_a_tracker_by_udp(refuses: bool) -> None:
    heard: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            data, peer = server.recvfrom(4096)
            server.sendto(data[8:12] + b"????" + b"connected", peer)  # a guess
            server.sendto(data[8:16] + b"connect!", peer)
            data, peer = server.recvfrom(4096)
            heard.append(data)
            action = 3 if refuses else 1
            counts = struct.pack(">III", 60, 0, 2)
            peers = bytes([8, 8, 8, 8, 0, 80, 127, 0, 0, 1, 0, 22])
            server.sendto(struct.pack(">I", action) + data[12:16] + counts + peers, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"udp://127.0.0.1:{server.getsockname()[1]}/announce"
        if refuses:
            with pytest.raises(MalformedError):
                ask(url, rules("127.0.0.1"))
        else:
            assert ask(url, rules("127.0.0.1")) == NAMED[:2]
        thread.join()
    (data,) = heard
    assert data[:12] == b"connect!\0\0\0\1"
    assert data[16:56] == SAID.infohash + SAID.peer_id
    assert (data[80:84], data[96:]) == (b"\0\0\0\2", struct.pack(">H", 4711))


@pytest.mark.parametrize("private", [False, True])
def test_peers_are_found_by_the_trackers_of_a_link(
    folder: Path, puller: Puller, private: bool
) -> None:
    """In private mode nothing is announced, and no web seed asked."""
    puller.settings = replace(ALLOWED, private=private)
    torrent = make_torrent(folder)
    with client() as peer, tracker() as found, web_seed(folder.parent) as seed:
        host, port = peer.address
        peer.seed(torrent, folder.parent)
        where = socket.inet_aton(host) + port.to_bytes(2, "big")
        found.answer = bencode.encode({b"interval": 60, b"peers": where})
        link = replace(seeded(torrent, seed.url), trackers=(f"{found.url}announce",))
        if private:
            with pytest.raises(UnreachableError):
                puller.pull_link(link, torrent, wishes=LinkWishes(patience=2))
        else:
            puller.pull_link(link, torrent)
    assert bool(found.asked) != private
    assert not (private and seed.asked)
    assert any(path.endswith("event=stopped") for path in found.asked) != private
