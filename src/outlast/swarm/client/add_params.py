"""What libtorrent is told of a torrent with many files, and what it must not be told."""

import contextlib
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import libtorrent as lt

from outlast.codec.merkle import BLOCK
from outlast.core.errors import MalformedError
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent.magnet import HostPort, Link
from outlast.swarm.torrent.payload_torrent import assemble
from outlast.swarm.torrent.read import HINT, read_torrent

NOWHERE: Final = "/nonexistent/outlast"
"""A folder that does not exist: no path that libtorrent makes up in it can be written."""
_REFUSED: Final = (b"similar", b"collections", b"ssl-cert")
"""Keys by which a torrent has its client look into the files of others, or speak TLS."""


def torrent_params(data: bytes) -> tuple[lt.add_torrent_params, lt.torrent_info]:
    """Of a .torrent file: its info dictionary and its hashes, and no more."""
    document = bencode.decode(data)
    assert isinstance(document, dict)
    info, layers = document[b"info"], document.get(b"piece layers")
    assert isinstance(info, dict)
    if any(key in info for key in _REFUSED):
        raise MalformedError("the torrent asks for more than its files", hint=HINT)
    hashes = (
        {k: v for k, v in layers.items() if isinstance(v, bytes)}
        if isinstance(layers, dict)
        else None
    )
    params = lt.add_torrent_params()
    try:
        ti = lt.torrent_info(assemble(bencode.encode(info), hashes))
    except RuntimeError as error:
        raise refused(error) from None
    params.ti = ti
    params.save_path = NOWHERE
    return params, ti


def refused(error: RuntimeError) -> MalformedError:
    return MalformedError(f"not a torrent that can be used: {error}", hint=HINT)


def file_numbers(data: bytes, ti: lt.torrent_info) -> list[int]:
    """The numbers that libtorrent gives to the files; it counts pads too."""
    layout = ti.layout()
    pads = lt.file_storage.flag_pad_file
    found = [n for n in range(layout.num_files()) if not layout.file_flags(n) & pads]
    sizes = [file.size for file in read_torrent(data).files]
    if sizes != [layout.file_size(number) for number in found]:
        raise MalformedError("the files of the torrent can be read in two ways", hint=HINT)
    return found


def have_pieces(ti: lt.torrent_info, lacking: Iterable[int]) -> list[bool]:
    """The pieces that have no part of the files that are lacking."""
    layout, length = ti.layout(), ti.piece_length()
    have = [True] * ti.num_pieces()
    for number in lacking:
        start, size = layout.file_offset(number), layout.file_size(number)
        for piece in range(start // length, -(-(start + size) // length)):
            have[piece] = False
    return have


def blocks_of(ti: lt.torrent_info, piece: int) -> int:
    """How many blocks of a piece are sent: not those of pads alone."""
    layout, size = ti.layout(), ti.piece_size(piece)
    pads = lt.file_storage.flag_pad_file

    def is_sent(start: int) -> bool:
        slices = ti.map_block(piece, start, min(BLOCK, size - start))
        return any(not layout.file_flags(part.file_index) & pads for part in slices)

    return sum(map(is_sent, range(0, size, BLOCK)))


def infohashes(link: Link) -> lt.info_hash_t:
    v1, v2 = link.infohash_v1, link.infohash_v2
    if v1 is None:
        assert v2 is not None
        return lt.info_hash_t(lt.sha256_hash(v2))
    if v2 is None:
        return lt.info_hash_t(lt.sha1_hash(v1))
    return lt.info_hash_t(lt.sha1_hash(v1), lt.sha256_hash(v2))


def infohashes_of(handle: lt.torrent_handle) -> list[bytes]:
    """Those that a torrent has, of both versions."""
    hashes = handle.info_hashes()
    found = []
    if hashes.has_v1():
        found.append(hashes.v1.to_bytes())
    if hashes.has_v2():
        found.append(hashes.v2.to_bytes())
    return found


def connect(handle: lt.torrent_handle, peers: Iterable[HostPort]) -> None:
    """Tells a torrent of peers, if it is still there."""
    for peer in peers:
        with contextlib.suppress(RuntimeError):  # the torrent may be gone
            handle.connect_peer(peer)


def introduce(params: lt.add_torrent_params, link: Link, trackers: Sequence[str] = ()) -> None:
    """Adds a link's web seeds and peers, and our own `trackers`. The link's author chose the URLs,
    and our requests come from inside our network: the session's filter keeps web seeds outside, and
    those that the operator allows inside are given no query (`ssrf_mitigation`).
    """
    params.trackers = list(trackers)
    params.url_seeds = list(link.web_seeds)
    params.peers = list(_addresses(link.peers))


def _addresses(peers: Iterable[HostPort]) -> Iterator[HostPort]:
    """The peers with an IP address; the caller resolves names."""
    for host, port in peers:
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host)
            yield host, port
