"""Torrents with many files, as ordinary clients exchange them.

Nothing in such a torrent decides where a byte goes on this machine: each file has a path that the
caller chose, and libtorrent knows no other. Files that are seeded are the archive's: they are never
written to.
"""

import contextlib
import ipaddress
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import libtorrent as lt

from outlast.core.closing import Closing
from outlast.core.errors import MalformedError, one_line
from outlast.swarm.client.probation import Probation
from outlast.swarm.client.session import TorrentSession
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent.magnet import HostPort, Link
from outlast.swarm.torrent.payload_torrent import assemble
from outlast.swarm.torrent.read import HINT, read_torrent

_NOWHERE: Final = "/nonexistent/outlast"
_FLAGS: Final = lt.torrent_flags
_REFUSED: Final = (b"similar", b"collections", b"ssl-cert")
"""Keys by which a torrent has its client look into the files of others, or speak TLS."""
_PRIORITY: Final = 4
"""Of a piece like any other."""


@dataclass(frozen=True, slots=True)
class MultiFileView:
    """A torrent's progress: `have` bytes of its files (while it `checks` the files of an earlier
    run: those found so far), `whole` when all; and its peers. `copies` counts those that the peers
    have together; below 1, pieces are missing.
    """

    have: int
    whole: bool
    checks: bool
    peers: int
    copies: float


class MultiFileTorrent(Closing):
    """One such torrent in a session. Thread-safe; ends with `close`."""

    def __init__(
        self,
        session: TorrentSession,
        params: lt.add_torrent_params,
        *,
        restricted: bool = False,
        count: int = 0,
        resumes: bool = False,
    ) -> None:
        """`count` is that of its pieces, where all are to be fetched; `resumes`: the files may
        have some already, so libtorrent checks them before it asks a peer for the rest.
        """
        self._session = session
        self._lock = threading.Lock()
        self._banned: list[str] = []
        self._damaged: list[int] = []
        self._failure: tuple[int, str] | None = None
        self._gave: dict[str, int] = {}
        self._gone, self._flushed = threading.Event(), threading.Event()
        self._open = True
        self._writes = not params.flags & _FLAGS.upload_mode
        self._came: set[int] = set()
        self._count, self._resumes = count, resumes
        self._met_a_peer, self._received = False, 0
        self._probation = Probation(() if resumes else range(count), tuning=session.tuning)
        if resumes:
            params.flags |= _FLAGS.stop_when_ready
        elif self._probation:
            params.piece_priorities = [int(self._probation.allows(i)) for i in range(count)]
        try:
            self._handle = session.add(params, self._take, restricted=restricted)
        except RuntimeError as error:
            raise _refused(error) from None

    def close(self) -> None:
        """Removes it from the session: on return no file is written to any more."""
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(RuntimeError):
            self._handle.pause()
            if self._writes:
                self._flushed.clear()
                self._handle.flush_cache()
                self._flushed.wait(self._session.tuning.close_s)
            self._session.remove(self._handle)
            self._gone.wait(self._session.tuning.close_s)
        self._session.drop_handler(self._handle)

    def connect(self, addresses: Iterable[HostPort]) -> None:
        """Tries these peers (IP address, port)."""
        for address in addresses:
            with contextlib.suppress(RuntimeError):
                self._handle.connect_peer(address)

    @property
    def info(self) -> bytes | None:
        """The info dictionary, once a peer has sent it; only its hash is checked."""
        with contextlib.suppress(RuntimeError):
            found = self._handle.torrent_file()
            return bytes(found.info_section()) if found is not None else None
        return None

    def view(self) -> MultiFileView:
        """How it is now: asks libtorrent, and waits for its answer."""
        with contextlib.suppress(RuntimeError):
            status = self._handle.status(int(lt.torrent_handle.query_distributed_copies))
            checks = status.state in _CHECKING
            if self._resumes and not checks and status.flags & _FLAGS.paused:
                self._resumes = False
                self._resume()
            self._put_off_probation(status)
            self._end_probation()
            return MultiFileView(
                have=status.total_wanted_done,
                whole=status.is_seeding,
                checks=checks,
                peers=status.num_peers,
                copies=max(0.0, status.distributed_copies),
            )
        return MultiFileView(0, whole=False, checks=False, peers=0, copies=0.0)

    def _resume(self) -> None:
        """The files of an earlier run are checked: now the rest of the pieces is requested."""
        with contextlib.suppress(RuntimeError):
            pieces = self._handle.status(int(lt.torrent_handle.query_pieces)).pieces
            with self._lock:
                lacks = [index for index, have in enumerate(pieces) if not have]
                self._probation = Probation(lacks, tuning=self._session.tuning)
                priorities = [
                    _PRIORITY if have or self._probation.allows(index) else 0
                    for index, have in enumerate(pieces)
                ]
            self._handle.prioritize_pieces(priorities)
            self._handle.resume()

    def _put_off_probation(self, status: lt.torrent_status) -> None:
        """Until a first peer is connected, and while bytes are coming."""
        with self._lock:
            before, self._received = self._received, status.total_payload_download
            if not self._met_a_peer or self._received > before:
                self._probation.put_off()
            self._met_a_peer = self._met_a_peer or status.num_peers > 0

    def _end_probation(self) -> None:
        with self._lock:
            if not self._probation.ends(self._came):
                return
        with contextlib.suppress(RuntimeError):
            self._handle.prioritize_pieces([_PRIORITY] * self._count)

    def gave(self) -> Mapping[str, int]:
        """Bytes that each peer has sent, by its address without the port, peers that are gone
        included. Bytes of peers that were gone before a call saw them count for "": call it often.
        """
        total = 0
        with contextlib.suppress(RuntimeError):
            for peer in self._handle.get_peer_info()[: self._session.tuning.peers_looked_at]:
                host, port = peer.ip
                key = f"{host} {port}"
                self._gave[key] = max(peer.total_download, self._gave.get(key, 0))
            total = self._handle.status().total_payload_download
        found: dict[str, int] = {}
        for key, count in self._gave.items():
            host = key.partition(" ")[0]
            found[host] = found.get(host, 0) + count
        found[""] = max(0, total - sum(found.values()))
        return {host: count for host, count in found.items() if count}

    def take_banned(self) -> list[str]:
        """The addresses of peers that were banned since the last call."""
        with self._lock:
            found, self._banned = self._banned, []
        return found

    def take_damaged(self) -> list[int]:
        """The seeded pieces that were found damaged since the last call."""
        with self._lock:
            found, self._damaged = self._damaged, []
        return found

    @property
    def failure(self) -> tuple[int, str] | None:
        """Why it stopped: the number of the system's error, and a text."""
        with self._lock:
            return self._failure

    def _take(self, alert: lt.torrent_alert) -> None:
        match alert:
            case lt.peer_ban_alert():
                with self._lock:
                    self._banned.append("{}:{}".format(*alert.endpoint))
            case lt.piece_finished_alert():
                with self._lock:
                    self._came.add(alert.piece_index)
                self._end_probation()
            case lt.hash_failed_alert():
                with self._lock:
                    self._damaged.append(alert.piece_index)
            case lt.file_error_alert() | lt.torrent_error_alert():
                with self._lock:
                    text = one_line(alert.error.message(), 200)
                    self._failure = self._failure or (alert.error.value(), text)
            case lt.cache_flushed_alert():
                self._flushed.set()
            case lt.torrent_removed_alert():
                self._gone.set()
            case _:
                pass


_CHECKING: Final = (
    lt.torrent_status.states.checking_files,
    lt.torrent_status.states.checking_resume_data,
)


def ask(session: TorrentSession, link: Link, *, restricted: bool = False) -> MultiFileTorrent:
    """Asks the peers of a link for the info dictionary, and for nothing else."""
    params = lt.add_torrent_params()
    params.info_hashes = _infohashes(link)
    params.save_path = _NOWHERE
    params.flags = _FLAGS.default_dont_download | _FLAGS.upload_mode
    _introduce(params, link)
    return MultiFileTorrent(session, params, restricted=restricted)


def fetch(
    session: TorrentSession,
    data: bytes,
    link: Link,
    places: Sequence[Path],
    *,
    restricted: bool = False,
    rate: int = 0,
) -> MultiFileTorrent:
    """Fetches the files of the .torrent file `data` to `places`, in their order. Files that exist
    are checked, and correct pieces kept. `rate`: bytes per second at most, 0 for no limit.
    Raises :class:`MalformedError`.
    """
    params, ti = _params(data)
    params.renamed_files = dict(zip(_numbers(data, ti), map(str, places), strict=True))
    params.flags = 0
    params.download_limit = rate or -1
    _introduce(params, link)
    resumes = any(place.exists() for place in places)
    # Version 1 counts a wrong piece against all that sent a part of it. A resumed torrent of
    # version 2 has no probation: libtorrent 2.1 may leave peers idle that sent parts of the last
    # wrong pieces, if it may ask them for nothing else.
    tries_first = not resumes or not ti.info_hashes().has_v2()
    return MultiFileTorrent(
        session,
        params,
        restricted=restricted,
        count=ti.num_pieces() if tries_first else 0,
        resumes=resumes and tries_first,
    )


def seed(
    session: TorrentSession,
    data: bytes,
    places: Sequence[Path | None],
    *,
    restricted: bool,
    trackers: Sequence[str] = (),
) -> MultiFileTorrent:
    """Seeds the files of the .torrent file `data` in place; None for a file that is not in the
    archive: then the pieces with a part of it are not seeded.
    """
    params, ti = _params(data)
    numbers = _numbers(data, ti)
    params.renamed_files = {
        number: str(place or f"{_NOWHERE}/{number}")
        for number, place in zip(numbers, places, strict=True)
    }
    params.flags = _FLAGS.upload_mode
    lacking = [number for number, place in zip(numbers, places, strict=True) if place is None]
    layout = ti.layout()
    if not any(layout.file_size(number) for number in lacking):
        params.flags |= _FLAGS.seed_mode
    else:
        params.have_pieces = _have(ti, lacking)
        gone = set(lacking)
        params.file_priorities = [int(n not in gone) for n in range(layout.num_files())]
    params.trackers = list(trackers)
    return MultiFileTorrent(session, params, restricted=restricted)


def _params(data: bytes) -> tuple[lt.add_torrent_params, lt.torrent_info]:
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
        raise _refused(error) from None
    params.ti = ti
    params.save_path = _NOWHERE
    return params, ti


def _refused(error: RuntimeError) -> MalformedError:
    return MalformedError(f"not a torrent that can be used: {error}", hint=HINT)


def _numbers(data: bytes, ti: lt.torrent_info) -> list[int]:
    """The numbers that libtorrent gives to the files; it counts pads too."""
    layout = ti.layout()
    pads = lt.file_storage.flag_pad_file
    found = [n for n in range(layout.num_files()) if not layout.file_flags(n) & pads]
    sizes = [file.size for file in read_torrent(data).files]
    if sizes != [layout.file_size(number) for number in found]:
        raise MalformedError("the files of the torrent can be read in two ways", hint=HINT)
    return found


def _have(ti: lt.torrent_info, lacking: Iterable[int]) -> list[bool]:
    """The pieces that have no part of the files that are lacking."""
    layout, length = ti.layout(), ti.piece_length()
    have = [True] * ti.num_pieces()
    for number in lacking:
        start, size = layout.file_offset(number), layout.file_size(number)
        for piece in range(start // length, -(-(start + size) // length)):
            have[piece] = False
    return have


def _infohashes(link: Link) -> lt.info_hash_t:
    v1, v2 = link.infohash_v1, link.infohash_v2
    if v1 is None:
        assert v2 is not None
        return lt.info_hash_t(lt.sha256_hash(v2))
    if v2 is None:
        return lt.info_hash_t(lt.sha1_hash(v1))
    return lt.info_hash_t(lt.sha1_hash(v1), lt.sha256_hash(v2))


def _introduce(params: lt.add_torrent_params, link: Link) -> None:
    """Adds a link's trackers, web seeds and peers. Its author chose the URLs, and our requests
    come from inside our network: none may do anything on a server that is no tracker or hub.
    """
    params.trackers = [url for url in link.trackers if _is_harmless(url, "/announce")]
    params.url_seeds = [url for url in link.web_seeds if _is_harmless(url)]
    params.peers = list(_addresses(link.peers))


def _is_harmless(url: str, path: str = "") -> bool:
    parts = urlsplit(url)
    try:
        inside = not ipaddress.ip_address(parts.hostname or "").is_global
    except ValueError:
        inside = "." not in (parts.hostname or "") or (parts.hostname or "").endswith(".local")
    if not inside or parts.scheme == "udp":
        return True
    return not parts.query and parts.path.endswith(path or "/")


def _addresses(peers: Iterable[HostPort]) -> Iterator[HostPort]:
    """The peers with an IP address; the caller resolves names."""
    for host, port in peers:
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host)
            yield host, port
