"""Counts the peers of the torrents of a model's files, as trackers and the DHT name them. Nothing
is announced: who asks takes no part. Ask for open models only: an infohash gives away that a file
is looked for.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote_from_bytes, urlsplit

from outlast.codec.payload import Form
from outlast.core.cancel import Cancel
from outlast.core.errors import MalformedError, OutlastError, UnreachableError, one_line
from outlast.ops.holders.independence import SWARM
from outlast.ops.holders.places import state_of
from outlast.ops.holders.tuning import Tuning
from outlast.ops.holders.values import Holder, HolderKind, HolderState, WantedFiles
from outlast.sources.http import HttpClient
from outlast.store.archive import Archive
from outlast.swarm.client.dht import Dht
from outlast.swarm.settings import HostPort, SwarmSettings
from outlast.swarm.torrent import bencode
from outlast.swarm.torrent.payload_torrent import infohash_of, truncated

DHT: Final = "DHT"
_NOTE = 120


@dataclass(frozen=True, slots=True)
class Torrents:
    """The truncated infohashes of files, and the numbers of the wanted files that each is of."""

    files: Mapping[bytes, frozenset[int]]
    unknown: int
    """Files that have bytes, and no torrent that is known here."""

    def holder(self, name: str, wanted: WantedFiles, peers: Mapping[bytes, int]) -> Holder:
        """What follows where a tracker or the DHT names so many `peers` of each torrent."""
        found = frozenset[int]().union(*(self.files[h] for h, n in peers.items() if n))
        complete = found and len(found) == sum(bool(entry.size) for entry in wanted.entries)
        if complete:
            found = frozenset(range(len(wanted.entries)))
        most = max(peers.values(), default=0)
        state = HolderState.PARTIAL if found else HolderState.ABSENT
        told = [f"up to {most} {'peer' if most == 1 else 'peers'} of a file"] if most else []
        if self.unknown:
            told.append(f"{self.unknown} files have no torrent that is known here")
        return Holder(
            name,
            HolderKind.SWARM,
            SWARM,
            HolderState.COMPLETE if complete else state,
            found,
            wanted.size_of(found),
            note="; ".join(told),
        )


def torrents_of(archive: Archive | None, wanted: WantedFiles, tuning: Tuning) -> Torrents:
    """The torrents of the largest files: that of the plain bytes, where their merkle root is known,
    and that of the capsule, where it is here. All archives encode it alike.
    """
    files: dict[bytes, frozenset[int]] = {}
    numbers = sorted(
        (n for n, entry in enumerate(wanted.entries) if entry.size),
        key=lambda n: -wanted.entries[n].size,
    )
    unknown = 0
    for number in numbers[: tuning.swarms]:
        entry = wanted.entries[number]
        known = [] if entry.merkle_root is None else [(entry.merkle_root, entry.size)]
        if archive is not None and entry.sha256 is not None:
            tree = archive.tree(entry.sha256, Form.CAPSULE)
            known += [] if tree is None else [(tree.root, tree.size)]
        unknown += not known
        for root, size in known:
            infohash = truncated(infohash_of(root, size))
            files[infohash] = files.get(infohash, frozenset()) | {number}
    return Torrents(files, unknown + len(numbers[tuning.swarms :]))


# Trackers


def ask_tracker(
    http: HttpClient, url: str, torrents: Torrents, wanted: WantedFiles, *, tuning: Tuning
) -> Holder:
    """Asks a tracker how many peers it knows that have each file whole (BEP 48)."""
    shown = shown_tracker(url)
    path = urlsplit(url).path
    folder, _, last = path.rpartition("/")
    if urlsplit(url).scheme not in {"http", "https"} or not last.startswith("announce"):
        raise UnreachableError(f"{shown} has no address at which peers are only counted")
    base, _, query = url.partition("?")
    scrape = f"{base[: len(base) - len(path)]}{folder}/scrape{last.removeprefix('announce')}"
    asked = "&".join(f"info_hash={quote_from_bytes(name, safe='')}" for name in torrents.files)
    with http.ask(
        f"{scrape}?{f'{query}&' if query else ''}{asked}", timeout=tuning.answer
    ) as response:
        if response.status != 200:
            raise UnreachableError(f"{shown} answers with HTTP status {response.status}")
        document = bencode.decode(response.read_all(tuning.scrape, tuning.answer), tuning.scrape)
    return torrents.holder(shown, wanted, _seeds(document, torrents.files))


def _seeds(document: object, asked: Iterable[bytes]) -> dict[bytes, int]:
    rows = document.get(b"files") if isinstance(document, dict) else None
    if not isinstance(rows, dict):
        raise MalformedError("the tracker refuses to count peers")
    found: dict[bytes, int] = {}
    for infohash in asked:
        row = rows.get(infohash)
        count = row.get(b"complete") if isinstance(row, dict) else None
        found[infohash] = count if isinstance(count, int) and count > 0 else 0
    return found


def shown_tracker(url: str) -> str:
    """A tracker without its query, in which there may be a secret."""
    return f"tracker {url.partition('?')[0]}"


# The DHT


@dataclass(slots=True)
class _Peers:
    """The peers of a torrent that the DHT named."""

    most: int
    changed: threading.Event
    peers: set[HostPort] = field(default_factory=set)

    def add(self, found: Sequence[HostPort]) -> None:
        before = len(self.peers)
        self.peers.update(found[: max(0, self.most - before)])
        if len(self.peers) > before:
            self.changed.set()


def ask_dht(
    settings: SwarmSettings,
    torrents: Torrents,
    wanted: WantedFiles,
    cancel: Cancel,
    tuning: Tuning,
) -> Holder:
    """Asks the DHT for the peers of each file, for at most `lookup` seconds. Raises
    :class:`UnreachableError` if no node of it answers.
    """
    until = time.monotonic() + tuning.lookup
    changed = threading.Event()
    named = {name: _Peers(tuning.swarm_peers, changed) for name in torrents.files}
    with Dht(settings, 0) as dht:
        for name, peers in named.items():
            dht.look_up(name, peers.add)
        quiet_since = time.monotonic()
        while (now := time.monotonic()) < until:
            cancel.check()
            if changed.wait(tuning.poll):
                changed.clear()
                quiet_since = now
            if all(each.peers for each in named.values()) and now > quiet_since + tuning.quiet:
                break
        if not dht.nodes:
            raise UnreachableError("no node of the DHT answers")
    return torrents.holder(DHT, wanted, {name: len(each.peers) for name, each in named.items()})


def failed_swarm(name: str, error: BaseException | None) -> Holder:
    """A tracker, or the DHT, that named no peer; `error` is None if it did not answer in time."""
    note = one_line(str(error), _NOTE) if isinstance(error, OutlastError) else ""
    return Holder(name, HolderKind.SWARM, SWARM, state_of(error), note=note)
