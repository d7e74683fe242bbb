"""Who sent the blocks of each piece, so that a wrong piece counts against its sender alone.

libtorrent counts a wrong piece against every peer that sent a block of it, and bans a peer that had
a part in some of them: an honest one too, if a liar sent the other blocks. Only a peer that sent
*all* blocks of a wrong piece is a liar for certain. A ban of any other peer is unjust: the torrent
is to be joined again, where only those that are known to lie stay banned.
"""

from collections.abc import Callable

import libtorrent as lt

from outlast.swarm.settings import HostPort


class Bans:
    """Knows peers by their IP addresses: from the first ban on, an address is one peer. Not
    thread-safe.
    """

    def __init__(self, blocks_of: Callable[[int], int]) -> None:
        """`blocks_of` says how many blocks a peer has to send for a piece."""
        self._blocks_of = blocks_of
        self.in_trouble = False
        """Whether a piece was wrong: from then on each block has to be noted."""
        self._senders: dict[int, dict[int, str]] = {}
        self._right: set[int] = set()
        self._banned: dict[str, HostPort] = {}
        self._pending: set[str] = set()
        self._liars: set[str] = set()
        self._told: set[str] = set()
        self._suspects: dict[str, HostPort] = {}
        self._ports: dict[str, HostPort] = {}

    def judge(self, alert: lt.torrent_alert) -> bool:
        """Notes what an alert says of the blocks that peers sent; whether it says only that."""
        match alert:
            case lt.block_finished_alert():
                host, port = alert.endpoint
                self._ports[host] = host, port
                self.received(alert.piece_index, alert.block_index, host)
            case lt.hash_failed_alert():
                self.wrong(alert.piece_index)
            case lt.peer_ban_alert():
                self.banned(alert.endpoint)
            case _:
                return False
        return True

    def received(self, piece: int, block: int, host: str) -> None:
        """A block was written, which can be later than its piece was found right."""
        if piece not in self._right:
            self._senders.setdefault(piece, {})[block] = host

    def right(self, piece: int) -> None:
        """A piece has its hash."""
        self._right.add(piece)
        self._senders.pop(piece, None)

    def wrong(self, piece: int) -> None:
        """A piece has another hash: its sender is a liar, if that is only one. Blocks of which
        nothing is known may be of another peer.
        """
        self.in_trouble = True
        senders = self._senders.pop(piece, {})
        hosts = set(senders.values())
        if len(hosts) == 1 and len(senders) == self._blocks_of(piece):
            self._liars |= hosts
        self._suspects |= {host: self._ports.get(host, (host, 0)) for host in hosts}
        self._pending.clear()

    def banned(self, address: HostPort) -> None:
        """A peer was banned. Which piece was wrong is said next."""
        host, _ = address
        if host not in self._banned:
            self._banned[host] = address
            self._pending.add(host)

    def take_proven(self) -> list[HostPort]:
        """The addresses of the liars that are banned, each once."""
        found = (self._liars & self._banned.keys()) - self._told
        self._told |= found
        return [self._banned[host] for host in sorted(found)]

    def rejoin(self) -> None:
        """The torrent is joined again, with the liars banned from the beginning."""
        known = self._suspects | self._banned
        self._banned = {host: known[host] for host in self._liars}
        self._suspects = dict(self._banned)
        self._senders.clear()
        self._pending.clear()

    @property
    def liars(self) -> list[HostPort]:
        """The addresses of all liars."""
        known = self._suspects | self._banned
        return [known[host] for host in sorted(self._liars)]

    @property
    def suspects(self) -> list[HostPort]:
        """Peers that are banned or sent parts of wrong pieces, since the torrent was joined, and
        may be honest.
        """
        known = self._suspects | self._banned
        return [known[host] for host in sorted(known.keys() - self._liars)]

    @property
    def is_unjust(self) -> bool:
        """Whether a peer is banned that may be honest."""
        return bool(self._banned.keys() - self._liars - self._pending)

    @property
    def is_lenient(self) -> bool:
        """Whether a liar is not banned: libtorrent takes the blocks of pads for another peer's."""
        return bool(self._liars - self._banned.keys())
