"""What a link may have this machine ask: web seeds and trackers outside, none inside."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.core.errors import UnreachableError
from outlast.ops.pull_link import LinkWishes
from outlast.swarm.client.link_hosts import LinkHosts
from outlast.swarm.settings import SwarmSettings
from outlast.swarm.torrent.magnet import Link
from outlast.swarm.torrent.read import read_torrent
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


def test_a_web_seed_alone_will_do(folder: Path, puller: Puller) -> None:
    puller.settings = ALLOWED
    with web_seed(folder.parent) as seed:
        result = puller.pull_link(seeded(make_torrent(folder), seed.url), make_torrent(folder))
    assert seed.asked
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
