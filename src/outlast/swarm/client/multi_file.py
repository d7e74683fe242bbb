"""Torrents with many files, as ordinary clients exchange them.

Nothing in such a torrent decides where a byte goes on this machine: each file has a path that the
caller chose, and libtorrent knows no other. Files that are seeded are the archive's: they are never
written to.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import libtorrent as lt

from outlast.core.closing import Closing
from outlast.core.errors import one_line
from outlast.swarm.client.add_params import (
    NOWHERE,
    blocks_of,
    file_numbers,
    have_pieces,
    infohashes,
    introduce,
    refused,
    torrent_params,
)
from outlast.swarm.client.bans import Bans
from outlast.swarm.client.probation import Probation
from outlast.swarm.client.session import TorrentSession
from outlast.swarm.client.turns import Turns
from outlast.swarm.torrent.magnet import HostPort, Link

_log = logging.getLogger(__name__)

_FLAGS: Final = lt.torrent_flags
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
        by_link: bool = False,
        ti: lt.torrent_info | None = None,
        resumes: bool = False,
    ) -> None:
        """`by_link`: a stranger's link names it. `ti` tells of its pieces, where all are to be
        fetched; `resumes`: the files may have some already, so libtorrent checks them before it
        asks a peer for the rest.
        """
        self._session = session
        self._params = params
        self._restricted, self._by_link = restricted, by_link
        self._lock = threading.Lock()
        self._joining = threading.RLock()
        self._banned: list[str] = []
        self._damaged: list[int] = []
        self._failure: tuple[int, str] | None = None
        self._gave: dict[str, int] = {}
        self._total = 0
        self._gave_before: dict[str, int] = {}
        self._gone, self._flushed, self._told = (threading.Event() for _ in range(3))
        self._saved = b""
        self._open = True
        self._writes = not params.flags & _FLAGS.upload_mode
        self._came: set[int] = set()
        self._count, self._resumes = ti.num_pieces() if ti is not None else 0, resumes
        self._met_a_peer, self._received, self._least = False, 0, 0
        self._peers: set[HostPort] = set()
        self._bans = Bans(lambda piece: blocks_of(ti, piece) if ti is not None else 0)
        self._turns = Turns(session.tuning)
        self._probation = Probation(() if resumes else range(self._count), tuning=session.tuning)
        if resumes:
            params.flags |= _FLAGS.stop_when_ready
        elif self._probation:
            params.piece_priorities = [int(self._probation.allows(i)) for i in range(self._count)]
        if ti is not None:
            session.watch(self, on=True)
        self._handle = self._join(params)

    def _join(self, params: lt.add_torrent_params) -> lt.torrent_handle:
        try:
            return self._session.add(
                params, self._take, restricted=self._restricted, by_link=self._by_link
            )
        except RuntimeError as error:
            self._session.watch(self, on=False)
            raise refused(error) from None

    def close(self) -> None:
        """Removes it from the session: on return no file is written to any more."""
        with self._joining:
            if not self._open:
                return
            self._open = False
            with contextlib.suppress(RuntimeError):
                self._handle.pause()
                self._flush()
            self._leave()
            self._session.watch(self, on=False)

    def _flush(self) -> None:
        if self._writes:
            self._flushed.clear()
            self._handle.flush_cache()
            self._flushed.wait(self._session.tuning.close_s)

    def _leave(self) -> None:
        self._gone.clear()
        with contextlib.suppress(RuntimeError):
            self._session.remove(self._handle)
            self._gone.wait(self._session.tuning.close_s)
        self._session.drop_handler(self._handle)

    def connect(self, addresses: Iterable[HostPort]) -> None:
        """Tries these peers (IP address, port)."""
        for address in addresses:
            with self._lock:
                if len(self._peers) < self._session.tuning.peers_looked_at:
                    self._peers.add(address)
            with contextlib.suppress(RuntimeError):
                self._handle.connect_peer(address)

    def announce(
        self, urls: Sequence[str], near: Callable[[], frozenset[HostPort]]
    ) -> contextlib.AbstractContextManager[object]:
        """While it is open: announces to the trackers of a link, and connects to the peers that
        they name. `near`: where the trackers of other nodes are, which may be in this network.
        """
        if not (urls and self._by_link) or self._restricted or self._session.private:
            return contextlib.nullcontext()
        return self._session.links().announce(self._handle, urls, near, self.connect)

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
            self._note_progress(status)
            self._end_probation()
            if not checks:
                self._rejoin_if_needed(status)
            return MultiFileView(
                have=max(status.total_wanted_done, self._least),
                whole=status.is_seeding,
                checks=checks and not self._least,
                peers=status.num_peers,
                copies=max(0.0, status.distributed_copies),
            )
        return MultiFileView(self._least, whole=False, checks=False, peers=0, copies=0.0)

    def _resume(self) -> None:
        """The files of an earlier run are checked: now the rest of the pieces is requested."""
        with contextlib.suppress(RuntimeError):
            pieces = self._handle.status(int(lt.torrent_handle.query_pieces)).pieces
            with self._lock:
                priorities = self._try_first(pieces)
            self._handle.prioritize_pieces(priorities)
            self._handle.resume()

    def _try_first(self, pieces: Sequence[bool]) -> list[int]:
        """Begins the probation of the pieces that lack; the priorities of all pieces."""
        lacks = [index for index, have in enumerate(pieces) if not have]
        self._probation = Probation(lacks, tuning=self._session.tuning)
        return [
            _PRIORITY if have or self._probation.allows(index) else 0
            for index, have in enumerate(pieces)
        ]

    def _note_progress(self, status: lt.torrent_status) -> None:
        """Probation is put off until a first peer is connected, and while bytes are coming."""
        with self._lock:
            before, self._received = self._received, status.total_payload_download
            if not self._met_a_peer or self._received > before:
                self._probation.put_off()
                self._turns.moved()
            self._met_a_peer = self._met_a_peer or status.num_peers > 0

    def _end_probation(self) -> None:
        with self._lock:
            if not self._probation.ends(self._came):
                return
            in_trouble = self._bans.in_trouble
        with contextlib.suppress(RuntimeError):
            self._handle.prioritize_pieces([_PRIORITY] * self._count)
        if not in_trouble:
            self._session.watch(self, on=False)

    def _rejoin_if_needed(self, status: lt.torrent_status) -> None:
        """Joins the torrent again, where a peer that may be honest is banned, a liar is not, or
        libtorrent lets all wait that sent parts of wrong pieces.
        """
        with self._lock:
            bans = self._bans
            wrong = bans.is_unjust or bans.is_lenient
            ends = self._turns.ends(bans.suspects, bans.liars, wrong=wrong)
        if not ends or not self._count or self._resumes or status.is_seeding:
            return
        with self._joining:
            if self._open and self._save():
                self._least = max(self._least, status.total_wanted_done)
                self._rejoin()

    def _save(self) -> bool:
        """Has all that came written to the files, and libtorrent say which pieces those are."""
        with self._lock:
            self._saved = b""
        self._told.clear()
        self._handle.pause()
        self._flush()
        self._handle.save_resume_data(int(lt.torrent_handle.save_info_dict))
        self._told.wait(self._session.tuning.close_s)
        if not self._saved:
            self._handle.resume()
        return bool(self._saved)

    def _rejoin(self) -> None:
        """Leaves and joins, with all pieces that are in the files. A ban lasts as long as the
        torrent: libtorrent has no way to take it back.
        """
        self._count_gave()
        self._gave_before, self._gave, self._total = self._given(), {}, 0
        self._leave()
        params, before = lt.read_resume_data(self._saved), self._params
        for name in ("save_path", "renamed_files", "download_limit", "trackers", "url_seeds"):
            setattr(params, name, getattr(before, name))
        params.flags = before.flags & ~_FLAGS.stop_when_ready
        params.unfinished_pieces = {}  # some blocks may be a liar's
        with self._lock:
            self._turns.next(self._bans.suspects)
            self._bans.rejoin()
            self._met_a_peer, self._received = False, 0
            here = [*params.have_pieces, *([False] * self._count)][: self._count]
            self._came = {index for index, have in enumerate(here) if have}
            params.piece_priorities = self._try_first(here)
            params.banned_peers = list({*self._bans.liars, *self._turns.held_back})
            params.peers = [*before.peers, *self._peers]
        _log.debug("joined again, without %d peers", len(params.banned_peers))
        self._session.hold_bans()
        self._session.watch(self, on=True)
        self._handle = self._join(params)

    def gave(self) -> Mapping[str, int]:
        """Bytes that each peer has sent, by its address without the port, peers that are gone
        included. Bytes of peers that were gone before a call saw them count for "": call it often.
        """
        self._count_gave()
        return {host: count for host, count in self._given().items() if count}

    def _count_gave(self) -> None:
        with contextlib.suppress(RuntimeError):
            for peer in self._handle.get_peer_info()[: self._session.tuning.peers_looked_at]:
                host, port = peer.ip
                key = f"{host} {port}"
                self._gave[key] = max(peer.total_download, self._gave.get(key, 0))
            self._total = self._handle.status().total_payload_download

    def _given(self) -> dict[str, int]:
        """By host: of this time that the torrent was joined, and of those before."""
        found: dict[str, int] = {}
        for key, count in self._gave.items():
            host = key.partition(" ")[0]
            found[host] = found.get(host, 0) + count
        found[""] = max(0, self._total - sum(found.values()))
        for host, count in self._gave_before.items():
            found[host] = found.get(host, 0) + count
        return found

    def take_banned(self) -> list[str]:
        """The addresses of peers that sent wrong pieces and were banned since the last call."""
        with self._lock:
            found, self._banned = self._banned, []
        return found

    def take_damaged(self) -> list[str]:
        """The paths of the seeded files in which damaged pieces were found since the last call."""
        with self._lock:
            pieces, self._damaged = self._damaged, []
        info = self._handle.torrent_file() if pieces else None
        if info is None:
            return []
        files, found = info.files(), dict[str, None]()
        for piece in pieces:
            for part in info.map_block(piece, 0, info.piece_size(piece)):
                if not files.file_flags(part.file_index) & lt.file_flags_t.flag_pad_file:
                    path = files.file_path(part.file_index).replace(os.sep, "/")
                    found[path.removeprefix(f"{info.name()}/")] = None
        return list(found)

    @property
    def failure(self) -> tuple[int, str] | None:
        """Why it stopped: the number of the system's error, and a text."""
        with self._lock:
            return self._failure

    def _take(self, alert: lt.torrent_alert) -> None:
        if self._count and self._judge(alert):
            return
        match alert:
            case lt.piece_finished_alert():
                with self._lock:
                    if alert.piece_index not in self._came:
                        self._turns.right()
                    self._came.add(alert.piece_index)
                    self._bans.right(alert.piece_index)
                self._end_probation()
            case lt.hash_failed_alert():
                with self._lock:
                    self._damaged.append(alert.piece_index)
            case lt.save_resume_data_alert():
                self._saved = lt.write_resume_data_buf(alert.params)
                self._told.set()
            case lt.save_resume_data_failed_alert():
                self._told.set()
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

    def _judge(self, alert: lt.torrent_alert) -> bool:
        """Handles an alert of what a peer sent; whether it was one."""
        with self._lock:
            judged = self._bans.judge(alert)
            self._banned += ["{}:{}".format(*address) for address in self._bans.take_proven()]
        if isinstance(alert, lt.hash_failed_alert):
            self._session.watch(self, on=True)
        return judged


_CHECKING: Final = (
    lt.torrent_status.states.checking_files,
    lt.torrent_status.states.checking_resume_data,
)


def ask(
    session: TorrentSession, link: Link, *, restricted: bool = False, trackers: Sequence[str] = ()
) -> MultiFileTorrent:
    """Asks the peers of a link, and those that our own `trackers` name, for the info dictionary,
    and for nothing else. The link's trackers are for `announce`.
    """
    params = lt.add_torrent_params()
    params.info_hashes = infohashes(link)
    params.save_path = NOWHERE
    params.flags = _FLAGS.default_dont_download | _FLAGS.upload_mode
    introduce(params, link, trackers)
    return MultiFileTorrent(session, params, restricted=restricted, by_link=True)


def fetch(
    session: TorrentSession,
    data: bytes,
    link: Link,
    places: Sequence[Path],
    *,
    restricted: bool = False,
    trackers: Sequence[str] = (),
    rate: int = 0,
) -> MultiFileTorrent:
    """Fetches the files of the .torrent file `data` to `places`, in their order. Files that exist
    are checked, and correct pieces kept. `trackers` are our own. `rate`: bytes per
    second at most, 0 for no limit. Raises :class:`MalformedError`.
    """
    params, ti = torrent_params(data)
    params.renamed_files = dict(zip(file_numbers(data, ti), map(str, places), strict=True))
    params.flags = 0
    params.download_limit = rate or -1
    introduce(params, link, trackers)
    resumes = any(place.exists() for place in places)
    return MultiFileTorrent(
        session, params, restricted=restricted, by_link=True, ti=ti, resumes=resumes
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
    params, ti = torrent_params(data)
    numbers = file_numbers(data, ti)
    params.renamed_files = {
        number: str(place or f"{NOWHERE}/{number}")
        for number, place in zip(numbers, places, strict=True)
    }
    params.flags = _FLAGS.upload_mode
    lacking = [number for number, place in zip(numbers, places, strict=True) if place is None]
    layout = ti.layout()
    if not any(layout.file_size(number) for number in lacking):
        params.flags |= _FLAGS.seed_mode
    else:
        params.have_pieces = have_pieces(ti, lacking)
        gone = set(lacking)
        params.file_priorities = [int(n not in gone) for n in range(layout.num_files())]
    params.trackers = list(trackers)
    return MultiFileTorrent(session, params, restricted=restricted)
