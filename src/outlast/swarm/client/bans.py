"""Who sent the blocks of each piece, so that a wrong piece counts against its sender alone.

libtorrent counts a wrong piece against every peer that sent a block of it, and bans a peer that had
a part in some of them: an honest one too, if a liar sent the other blocks. Only a peer that sent
*all* blocks of a wrong piece is a liar for certain. A ban of any other peer is unjust: the torrent
is to be joined again, where only those that are known to lie stay banned.
"""

from outlast.codec.merkle import BLOCK, Tree
from outlast.swarm.settings import HostPort


class Bans:
    """Knows peers by their IP addresses: from the first ban on, an address is one peer. Not
    thread-safe.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._senders: dict[int, dict[int, str]] = {}
        self._right: set[int] = set()
        self._banned: dict[str, HostPort] = {}
        self._pending: set[str] = set()
        self._liars: set[str] = set()
        self._told: set[str] = set()

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
        senders = self._senders.pop(piece, {})
        hosts = set(senders.values())
        if len(hosts) == 1 and len(senders) == -(-self._tree.length(piece) // BLOCK):
            self._liars |= hosts
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

    @property
    def is_unjust(self) -> bool:
        """Whether a peer is banned that may be honest."""
        return bool(self._banned.keys() - self._liars - self._pending)
