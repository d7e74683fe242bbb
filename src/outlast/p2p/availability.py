"""What the neighbours say that they have of the files of one transfer."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from outlast.core.threads import DaemonPool
from outlast.node.peers import Neighbour
from outlast.p2p.strategy import Offer
from outlast.sources.peer import MOST_BLOBS

if TYPE_CHECKING:
    from outlast.sources.peer_documents import HeldThere

_ASKERS: Final = 8
_AGAIN: Final = 4.0
_TIMEOUT: Final = 5.0
SOON: Final = 256
"""So many of the blobs that are wanted are about to be fetched: whoever was not asked for them is
asked at once.
"""


class _Asked:
    """One neighbour's answers."""

    def __init__(self, neighbour: Neighbour) -> None:
        self.neighbour = neighbour
        self.held: dict[Digest, HeldThere] = {}
        self.heard: frozenset[Digest] = frozenset()
        """What it was last asked for, and answered or did not."""
        self.due = 0.0
        self.asking = False
        self.silent = False
        self.rejected = ""


class Offers:
    """Asks again and again, as long as something is wanted. Thread-safe."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """`changed` is called, from any thread, whenever an answer came."""
        self._changed = changed
        self._lock = threading.Lock()
        self._asked: dict[bytes, _Asked] = {}
        self._pool = DaemonPool(_ASKERS, "offers")

    def ask(self, neighbours: Iterable[Neighbour], wanted: Callable[[], Sequence[Digest]]) -> None:
        """Asks those whose turn it is for what is `wanted`; forgets those that are gone."""
        now = time.monotonic()
        present = {neighbour.node: neighbour for neighbour in neighbours}
        blobs = wanted()[:MOST_BLOBS] if present else ()
        soon = frozenset(blobs[:SOON])
        due: list[_Asked] = []
        with self._lock:
            for node in self._asked.keys() - present.keys():
                del self._asked[node]
            for node, neighbour in present.items():
                asked = self._asked.get(node)
                if asked is None or asked.neighbour != neighbour:
                    asked = self._asked[node] = _Asked(neighbour)
                news = asked.due <= now or not (asked.silent or soon <= asked.heard)
                if news and not asked.asking and not asked.rejected:
                    asked.asking = True
                    due.append(asked)
        for asked in due:
            self._pool.submit(self._ask, asked, blobs)

    def _ask(self, asked: _Asked, blobs: Sequence[Digest]) -> None:
        held: dict[Digest, HeldThere] | None = None
        with contextlib.suppress(OutlastError):  # it is asked again
            held = dict(asked.neighbour.source.payloads(blobs, _TIMEOUT)) if blobs else {}
        with self._lock:
            asked.asking = False
            asked.silent = held is None
            asked.heard = frozenset(blobs)
            asked.due = time.monotonic() + _AGAIN
            if held is not None:
                asked.held = held
        self._changed()

    def hurry(self, nodes: Iterable[bytes]) -> None:
        """These nodes have news: they are asked at once."""
        with self._lock:
            for node in nodes:
                if node in self._asked:
                    self._asked[node].due = 0.0

    def knows(self, blob: Digest) -> bool:
        """Whether all that are there were asked for it, and have answered or failed to."""
        with self._lock:
            return all(
                asked.rejected or asked.silent or blob in asked.heard
                for asked in self._asked.values()
            )

    def bases(self) -> list[Digest]:
        """What those capsules lean on that were named."""
        with self._lock:
            return list(
                {
                    base.sha256: None
                    for asked in self._asked.values()
                    for held in asked.held.values()
                    for payload in held.forms
                    for base in payload.bases
                }
            )

    def of(self, blob: Digest) -> list[Offer]:
        """Who has what of a blob."""
        with self._lock:
            return [
                Offer(asked.neighbour.source.name, asked.held[blob])
                for asked in self._asked.values()
                if blob in asked.held and not asked.rejected
            ]

    def neighbour(self, source: str) -> Neighbour | None:
        """Who goes by the name of a lane."""
        with self._lock:
            for asked in self._asked.values():
                if asked.neighbour.source.name == source:
                    return asked.neighbour
        return None

    def reject_payload(self, sources: Iterable[str], reason: str) -> None:
        """These said of some payload that it restores a blob, and it does not."""
        named = set(sources)
        with self._lock:
            for asked in self._asked.values():
                if asked.neighbour.source.name in named:
                    asked.rejected = reason
                    asked.held = {}
