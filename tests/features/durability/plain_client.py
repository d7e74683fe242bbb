"""An ordinary BitTorrent client that has nothing: it knows none of our words, and believes its own
check of each piece alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import libtorrent as lt

_POLL, _CALL = 0.02, 0.5
_QUIET, _FIRST = 2.0, 60.0
"""Seconds without a new piece after which what lacks does not come; and before the first piece."""


@dataclass(frozen=True, slots=True)
class Came:
    """What a client got: so many pieces of a torrent of `count` that it `accepted`: it says that
    they are right; those of them that are `wrong` all the same; how often it `refused` one.
    """

    count: int
    accepted: int
    wrong: tuple[int, ...]
    refused: int

    @property
    def whole(self) -> bool:
        return self.accepted == self.count


def fetch(
    torrent: Path,
    folder: Path,
    files: Mapping[str, bytes],
    seed: tuple[str, int],
    *,
    listens: str = "127.0.0.1:0",
    rate: int = 0,
    enough: int = 1 << 30,
    seconds: float = 120.0,
) -> Came:
    """Fetches a torrent into an empty folder from one seed, at most `rate` bytes/s, until it has
    all, or `enough` pieces, or nothing more comes. `files` are the right bytes by path.
    """
    with _session(listens, rate) as session:
        wishes = lt.load_torrent_file(str(torrent))
        wishes.save_path = str(folder)
        info = wishes.ti
        assert info is not None
        wishes.flags &= ~lt.torrent_flags.auto_managed & ~lt.torrent_flags.paused
        handle = session.add_torrent(wishes)
        refused = _wait(session, handle, seed, enough, time.monotonic() + seconds)
        handle.flush_cache()
        _until(session, lt.cache_flushed_alert, time.monotonic() + seconds)
        have = [number for number, has in enumerate(handle.status().pieces) if has]
    wrong = tuple(number for number in have if not _is_right(info, number, folder, files))
    return Came(info.num_pieces(), len(have), wrong, refused)


@contextmanager
def _session(listens: str, rate: int) -> Iterator[lt.session]:
    categories = lt.alert.category_t
    session = lt.session(
        {
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "listen_interfaces": listens,
            "enable_outgoing_utp": False,  # our nodes speak TCP
            "allow_multiple_connections_per_ip": True,
            "download_rate_limit": rate,
            "min_reconnect_time": 1,
            "alert_mask": int(
                categories.status_notification
                | categories.error_notification
                | categories.storage_notification
            ),
        }
    )
    try:
        yield session
    finally:
        session.pause()


def _wait(
    session: lt.session,
    handle: lt.torrent_handle,
    seed: tuple[str, int],
    enough: int,
    until: float,
) -> int:
    """Until it has all, or enough, or nothing more comes; how often a piece was refused. It calls
    the seed again and again: that may seed it a moment later, or have closed the line.
    """
    refused, count, last, called = 0, 0, time.monotonic(), 0.0
    while (now := time.monotonic()) < until:
        status = handle.status()
        refused += _heard(session, lambda alert: isinstance(alert, lt.hash_failed_alert))
        if status.num_pieces != count:
            count, last = status.num_pieces, now
        if status.is_seeding or count >= enough or now - last > (_QUIET if count else _FIRST):
            break
        if not status.num_peers and now - called > _CALL:
            handle.connect_peer(seed)
            called = now
        time.sleep(_POLL)
    return refused + _heard(session, lambda alert: isinstance(alert, lt.hash_failed_alert))


def _until(session: lt.session, kind: type[lt.alert], until: float) -> None:
    while not _heard(session, lambda alert: isinstance(alert, kind)):
        assert time.monotonic() < until, f"no {kind.__name__}"
        time.sleep(_POLL)


def _heard(session: lt.session, is_it: Callable[[lt.alert], bool]) -> int:
    return sum(map(is_it, session.pop_alerts()))


def _is_right(info: lt.torrent_info, piece: int, folder: Path, files: Mapping[str, bytes]) -> bool:
    """Whether the bytes on the disk of an accepted piece are those of the files."""
    layout = info.layout()
    for part in info.map_block(piece, 0, info.piece_size(piece)):
        if layout.file_flags(part.file_index) & lt.file_storage.flag_pad_file:
            continue
        path = Path(layout.file_path(part.file_index))
        right = files[Path(*path.parts[1:] or path.parts).as_posix()]
        with (folder / path).open("rb") as file:
            file.seek(part.offset)
            if file.read(part.size) != right[part.offset : part.offset + part.size]:
                return False
    return True
