"""Private mode, as tcpdump sees it: nothing leaves that says what is here, or that anything is."""

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import libtorrent
import pytest

from outlast.swarm.torrent.payload_torrent import infohash_of
from tests.net import Capture, Net, Packet, needs_lab
from tests.net.capture import TCP, UDP, streams
from tests.net.liar import tree_of
from tests.net.node import MODEL, Model, Node, make_model
from tests.net.program import until

pytestmark = [pytest.mark.net, needs_lab("tcpdump")]
_ANNOUNCING = (b"BT-SEARCH", b"OUTLAST-WANT", b"announce", b"info_hash", b"get_peers", b"M-SEARCH")
_API = 8091
_PRIVATE = "[swarm]\nprivate = true\n"


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@pytest.fixture
def model(net: Net) -> Model:
    return make_model(net.folder / "model", 6, 3, name=MODEL)


def spelled(name: bytes) -> set[bytes]:
    """The ways in which a hash may be written."""
    text = name.hex().encode()
    quoted = quote_from_bytes(name).encode()
    return {name, text, text.upper(), base64.b32encode(name), quoted, quoted.lower()}


def telltales(node: Node, model: Model, folder: Path) -> set[bytes]:
    """Names of the model, of its files, and all infohashes of their torrents."""
    org, _, name = MODEL.partition("/")
    found = {name.encode(), org.encode() + b"/", *(path.encode() for path in model.files)}
    hashes = set()
    for data in model.files.values():
        tree = tree_of(data)
        hashes.add(infohash_of(tree.root, tree.size))
    node.run("share", MODEL, "--out", folder, "--v1", "--blobs")
    for path in folder.rglob("*.torrent"):
        known = libtorrent.load_torrent_file(str(path)).info_hashes
        hashes |= {known.v1.to_bytes()} if known.has_v1() else set()
        hashes |= {known.v2.to_bytes()} if known.has_v2() else set()
    assert len(hashes) >= len(model.files) + 3
    for one in hashes:
        found |= spelled(one) | spelled(one[:20])
    return found


def leaks(said: list[bytes], secrets: set[bytes]) -> set[bytes]:
    return {secret for secret in secrets if any(secret in text for text in said)}


def strays(packets: list[Packet], *friends: str) -> list[Packet]:
    """What went to hosts other than `friends`. IPv6 itself looks for routers and neighbours."""
    return [
        packet
        for packet in packets
        if packet.target not in friends and packet.protocol in {TCP, UDP}
    ]


def test_the_reader_would_find_it(net: Net, model: Model) -> None:
    """Without private mode all of it does leave: the test can see."""
    lan = net.lan()
    seed, node = Node(lan.host("seed")), Node(lan.host("node"))
    seed.add(model)
    secrets = telltales(seed, model, net.folder / "torrents")
    with Capture(node.host) as capture:
        seed.serve()
        node.pull("--from", "swarm").ok()
    found = leaks(streams(capture.packets()), secrets)
    assert any(infohash_of(tree_of(d).root, len(d))[:20] in found for d in model.files.values())
    assert leaks(streams(capture.left()), set(_ANNOUNCING))


def test_a_private_node_without_peers_is_silent(net: Net, model: Model) -> None:
    """It serves and holds a model, its neighbours ask around and search, and it says nothing."""
    lan = net.lan()
    node, other = Node(lan.host("node"), settings=_PRIVATE), Node(lan.host("other"))
    node.add(model)
    secrets = telltales(node, model, net.folder / "torrents")
    with Capture(node.host) as capture:
        node.serve()
        pull = other.pull()
        assert pull.wait() != 0
        other.start("search", "crowded").wait()
        until(lambda: node.status() is not None, "it is there")
        node.stop()
    left = capture.left()
    assert strays(left) == [], strays(left)[:5]
    assert leaks(streams(left), secrets | set(_ANNOUNCING)) == set()


def test_private_nodes_that_know_each_other(net: Net, model: Model) -> None:
    """Two nodes with each other as static peers exchange a model: no other host hears of it, and
    what BitTorrent sends between them tells those on the way nothing. The node API between them
    is HTTP, which names what it is asked for (docs/guide/share.md).
    """
    lan = net.lan()
    hosts = [lan.host("a"), lan.host("b")]
    a, b = (
        Node(host, settings=f'{_PRIVATE}peers = ["{other.address}:8091"]\n')
        for host, other in zip(hosts, hosts[::-1], strict=True)
    )
    bystander = Node(lan.host("bystander"))
    bystander.serve()
    a.add(model)
    secrets = telltales(a, model, net.folder / "torrents")
    with Capture(a.host) as from_a, Capture(b.host) as from_b:
        a.serve()
        b.pull("--from", "swarm").ok(90)
        b.check(model)
        a.stop()
    for capture, friend in ((from_a, b.host), (from_b, a.host)):
        left = capture.left()
        assert strays(left, friend.address, friend.address6) == []
        assert leaks(streams(left), set(_ANNOUNCING)) == set()
        assert leaks(streams([p for p in left if _API not in p.ports]), secrets) == set()


def test_a_private_pull_from_a_hub_tells_the_hub_alone(net: Net, model: Model) -> None:
    """A pull that names a hub asks it; no other host hears of it."""
    from tests.swarm.test_net_crowd import hub_on  # noqa: PLC0415 - one function of its neighbour

    lan = net.lan()
    origin = lan.host("origin")
    hub = hub_on(origin, model)
    try:
        node = Node(lan.host("node"), settings=_PRIVATE, hub=hub.url)
        with Capture(node.host) as capture:
            node.pull().ok()
        node.check(model)
    finally:
        hub.stop()
    left = capture.left()
    assert strays(left, origin.address, origin.address6) == []
    assert not any(p.is_multicast for p in left if p.protocol == UDP)


def test_hashes_are_recognised_however_they_are_written() -> None:
    name = hashlib.sha1(b"x").digest()
    text = b"GET /announce?info_hash=" + quote_from_bytes(name).encode() + b"&port=1"
    assert leaks([text], spelled(name))
    assert not leaks([re.sub(rb"%", b"", text)], spelled(name))
