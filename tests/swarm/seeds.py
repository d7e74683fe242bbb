"""An ordinary client that seeds, and a pull of a link, both on the loopback."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import libtorrent as lt

from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.events import Event
from outlast.node.node import Node
from outlast.node.policy import SharePolicy, Sharing
from outlast.node.scope import Neighbourhood
from outlast.ops.pull_link import LinkWanted, LinkWishes, PulledLink, pull_link
from outlast.sources.peer import peer_client
from outlast.sources.settings import HttpSettings
from outlast.store.archive import Archive
from outlast.swarm.settings import SwarmSettings
from outlast.swarm.torrent.magnet import Link, parse_magnet
from outlast.swarm.torrent.read import read_torrent

LOOPBACK = "127.0.0.1"
ELSEWHERE = "127.0.0.2"
PATIENCE = 20.0


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def make_torrent(folder: Path, flags: int = 0) -> bytes:
    """The .torrent file of a folder, as libtorrent makes it: of both versions, unless `flags` of
    `create_torrent` say otherwise.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = [
        lt.create_file_entry(str(path.relative_to(folder.parent)), path.stat().st_size)
        for path in paths
    ]
    made = lt.create_torrent(entries, 1 << 20, flags)
    lt.set_piece_hashes(made, str(folder.parent))
    return lt.bencode(made.generate())


def magnet_of(torrent: bytes) -> Link:
    """The link of a .torrent file."""
    return parse_magnet(lt.make_magnet_uri(lt.load_torrent_buffer(torrent)))


class Client:
    """Seeds the torrents that it is given, below a folder, whatever is in the files."""

    def __init__(self, host: str) -> None:
        self._session = lt.session(
            {
                "listen_interfaces": f"{host}:0",
                "outgoing_interfaces": host,
                "enable_dht": False,
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "allow_multiple_connections_per_ip": True,
            }
        )
        self.address = host, self._session.listen_port()

    def seed(self, torrent: bytes, folder: Path, *, lies: bool = False, rate: int = 0) -> None:
        """`folder` is above the one that the torrent names."""
        params = lt.load_torrent_buffer(torrent)
        params.save_path = str(folder)
        params.flags = lt.torrent_flags.upload_mode
        params.upload_limit = rate or -1
        if lies:
            assert params.ti is not None
            params.flags |= lt.torrent_flags.no_verify_files
            params.have_pieces = [True] * params.ti.num_pieces()
        else:
            params.flags |= lt.torrent_flags.seed_mode
        self._session.add_torrent(params)

    def close(self) -> None:
        self._session.pause()


@contextlib.contextmanager
def client(host: str = LOOPBACK) -> Iterator[Client]:
    with contextlib.closing(Client(host)) as found:
        yield found


class Peer(Protocol):
    """Anything that seeds."""

    @property
    def address(self) -> tuple[str, int]: ...


class Puller:
    """An archive that pulls links from the loopback; by default it announces nothing."""

    def __init__(self, home: Path, settings: SwarmSettings | None = None) -> None:
        self.home = home
        self.settings = settings or SwarmSettings(private=True)
        self.events: list[Event] = []
        self.cancel = Cancel()
        self.hear: Callable[[Event], None] = lambda _event: None

    @contextlib.contextmanager
    def archive(self) -> Iterator[Archive]:
        with Archive(self.home, create=True) as archive:
            yield archive

    @contextlib.contextmanager
    def node(self, archive: Archive) -> Iterator[Node]:
        sharing = Sharing(archive, SharePolicy())
        control = Control(self._heard, self.cancel)
        http = peer_client(HttpSettings())
        with Node(archive, sharing, self.settings, http, control, lan=False) as node:
            node.session.set_static([LOOPBACK, ELSEWHERE])
            yield node

    def _heard(self, event: Event) -> None:
        self.events.append(event)
        self.hear(event)

    def pull(
        self,
        wanted: Link | bytes,
        *peers: Peer,
        wishes: LinkWishes | None = None,
        dry_run: bool = False,
    ) -> PulledLink:
        """Pulls a link, or a .torrent file, from these clients."""
        torrent = wanted if isinstance(wanted, bytes) else b""
        link = read_torrent(wanted) if isinstance(wanted, bytes) else wanted
        return self.pull_link(link, torrent, *peers, wishes=wishes, dry_run=dry_run)

    def pull_link(
        self,
        link: Link,
        torrent: bytes,
        *peers: Peer,
        wishes: LinkWishes | None = None,
        dry_run: bool = False,
    ) -> PulledLink:
        """The same, with the link's own trackers and web seeds beside what `torrent` says."""
        link = replace(link, peers=tuple(peer.address for peer in peers))
        with self.archive() as archive, self.node(archive) as node:
            return pull_link(
                archive,
                LinkWanted(link, torrent),
                Neighbourhood(node),
                wishes or LinkWishes(patience=PATIENCE),
                Control(self._heard, self.cancel),
                dry_run=dry_run,
            )
