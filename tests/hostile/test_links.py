"""Magnet links and .torrent files of strangers: refused with one line and a hint, in little memory.

A file that once broke something goes into the folder of its kind; nothing else is to be done.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.errors import MalformedError
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent.bencode import Encodable
from outlast.swarm.torrent.magnet import Link, parse_magnet
from outlast.swarm.torrent.read import read_torrent
from tests.store.build import check_error
from tests.swarm.test_revision_torrent import FILES, make

HERE = Path(__file__).parent
TORRENTS = sorted(path.name for path in (HERE / "torrents").iterdir())
MAGNETS = sorted(path.name for path in (HERE / "magnets").iterdir())
MIB = 1024 * 1024
_READ = """
import sys
from outlast.core.errors import MalformedError
from outlast.swarm.torrent.read import read_torrent
def most():
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
data = eval(sys.argv[1])
open("/proc/self/clear_refs", "w").write("5")  # forgets what was most before
before = most()
try:
    read_torrent(data)
except MalformedError:
    print(most() - before)
else:
    sys.exit("it was read")
"""
GOOD = make(FILES).file(trackers=["http://a.example/announce"], web_seeds=["http://b.example/"])


@pytest.mark.parametrize("case", TORRENTS)
def test_the_torrent_is_refused(case: str) -> None:
    data = (HERE / "torrents" / case).read_bytes()
    with pytest.raises(MalformedError) as refused:
        read_torrent(data)
    check_error(refused.value)


@pytest.mark.parametrize("case", MAGNETS)
def test_the_magnet_link_is_refused(case: str) -> None:
    text = (HERE / "magnets" / case).read_text()
    with pytest.raises(MalformedError) as refused:
        parse_magnet(text)
    check_error(refused.value)


@pytest.mark.parametrize(
    "bomb",
    [
        "b'd4:info' + b'l' * (30 << 20)",
        "b'd4:infol' + b'de' * (15 << 20) + b'ee'",
        "b'd4:infol' + b'i1e' * (10 << 20) + b'ee'",
        "b'd4:info%d:' % (60 << 20)",
        "b'x' * (65 << 20)",
    ],
    ids=["deep", "wide", "numbers", "a promise", "too long"],
)
def test_a_bomb_takes_little_memory(bomb: str) -> None:
    """In a process of its own: to trace a million values would take longer than to read them."""
    command = [sys.executable, "-c", _READ, bomb]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 128 * MIB


def check(link: Link) -> None:
    """What everybody who reads links relies upon."""
    assert link.infohash_v1 is not None or link.infohash_v2 is not None
    assert len(link.infohash_v1 or bytes(20)) == 20
    assert len(link.infohash_v2 or bytes(32)) == 32
    assert link.name.isprintable()
    assert len(link.trackers) <= 100
    for root, tree in link.trees.items():
        assert tree.root == root
    again = parse_magnet(link.magnet())
    assert again.infohash_v2 == link.infohash_v2
    assert again.infohash_v1 == link.infohash_v1
    assert again.trackers == link.trackers
    assert again.web_seeds == link.web_seeds
    assert again.peers == link.peers


@given(st.data())
def test_a_changed_torrent_is_read_or_refused(data: st.DataObject) -> None:
    changed = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        end = at + data.draw(st.integers(0, 3))
        changed[at:end] = data.draw(st.binary(max_size=4))
    try:
        link = read_torrent(bytes(changed))
    except MalformedError as error:
        check_error(error)
    else:
        check(link)


KEYS = st.sampled_from(
    b"info|files|file tree|length|name|path|pieces|pieces root|piece length|piece layers|attr|"
    b"meta version|announce|announce-list|url-list||a|symlink path".split(b"|")
)
VALUES: st.SearchStrategy[Encodable] = st.recursive(
    st.sampled_from([0, 1, 2, 16384, MIB, -1, 2**50, b"", b"a", b"p", b"..", bytes(20), bytes(32)])
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=6), st.dictionaries(KEYS, VALUES, max_size=3))
def test_what_looks_like_a_torrent_is_read_or_refused(
    info: dict[bytes, Encodable], top: dict[bytes, Encodable]
) -> None:
    whole: dict[bytes, Encodable] = {b"name": b"a", b"piece length": MIB, **info}
    try:
        link = read_torrent(bencode.encode({**top, b"info": whole}))
    except MalformedError as error:
        check_error(error)
    else:
        check(link)


FIELDS = st.tuples(
    st.sampled_from(["xt", "dn", "xl", "tr", "ws", "x.pe", "xt.1", "tr.2", "so", "kt"]),
    st.text(max_size=20)
    | st.sampled_from(["urn:btih:" + "a" * 40, "urn:btmh:1220" + "b" * 64, "http://a/", "[::1]:1"])
    | st.builds("{}:{}".format, st.text("az09.[]:%", min_size=1), st.integers(0, 99_999)),
)


@given(st.lists(FIELDS, max_size=8) | st.text(max_size=60))
def test_any_magnet_link_is_read_or_refused(fields: list[tuple[str, str]] | str) -> None:
    text = fields if isinstance(fields, str) else "&".join("=".join(field) for field in fields)
    try:
        link = parse_magnet("magnet:?" + text)
    except MalformedError as error:
        check_error(error)
    else:
        check(link)
        assert parse_magnet(link.magnet()) == link
