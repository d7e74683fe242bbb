"""What is known of the neighbours: what each offers, the trees of payloads, and which of these
proved false.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from outlast.codec.merkle import Tree
from outlast.codec.payload import Payload
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from outlast.core.threads import DaemonPool
from outlast.node.peers import Neighbour
from outlast.p2p.strategy import PeerOffer
from outlast.p2p.tuning import Tuning
from outlast.sources.peer import MOST_BLOBS

if TYPE_CHECKING:
    from outlast.sources.peer_documents import HeldThere

_log = logging.getLogger(__name__)


class _Asked:
    """One neighbour's answers."""

    def __init__(self, neighbour: Neighbour) -> None:
        self.neighbour = neighbour
        self.held: dict[Digest, HeldThere] = {}
        self.heard: frozenset[Digest] = frozenset()
        """The blobs of the last question, whether it was answered or not."""
        self.due = 0.0
        self.since = 0.0
        """When it was asked last."""
        self.asking = False
        self.silent = False
        self.rejected = ""


class Availability:
    """Asks the neighbours again and again, as long as something is wanted. Thread-safe."""

    def __init__(self, changed: Callable[[], None], tuning: Tuning) -> None:
        """`changed` is called, from any thread, whenever an answer came."""
        self._changed = changed
        self._tuning = tuning
        self._lock = threading.Lock()
        self._asked: dict[bytes, _Asked] = {}
        self._has_asked = False
        self._trees: dict[Digest, Tree] = {}
        self._rejected: frozenset[Digest] = frozenset()
        self._liars: frozenset[str] = frozenset()
        self._pool = DaemonPool(tuning.askers, "offers")

    # Asking

    def ask(self, neighbours: Iterable[Neighbour], wanted: Callable[[], Sequence[Digest]]) -> None:
        """Asks those whose turn it is for the blobs that are `wanted`; forgets those that left."""
        now = time.monotonic()
        present = {neighbour.node: neighbour for neighbour in neighbours}
        blobs = wanted()[:MOST_BLOBS] if present else ()
        soon = frozenset(blobs[: self._tuning.soon])
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
                    asked.since = now
                    due.append(asked)
        for asked in due:
            self._pool.submit(self._ask, asked, blobs)
        self._has_asked = True

    def _ask(self, asked: _Asked, blobs: Sequence[Digest]) -> None:
        source, timeout = asked.neighbour.source, self._tuning.ask_timeout
        held: dict[Digest, HeldThere] | None = None
        try:
            held = dict(source.payloads(blobs, timeout)) if blobs else {}
        except OutlastError as error:  # it is asked again
            if not asked.silent:
                _log.debug("%s does not say what it has: %s", source.name, error)
        with self._lock:
            asked.asking = False
            asked.silent = held is None
            asked.heard = frozenset(blobs)
            asked.due = time.monotonic() + self._tuning.ask_again
            if held is not None:
                asked.held = held
        self._changed()

    def hurry(self, nodes: Iterable[bytes], blob: Digest | None) -> None:
        """Has these nodes asked soon: they say that they have all of a blob. One that has said so
        to us is not asked again, and no node more often than each `ask_hurried` seconds.
        """
        earliest = time.monotonic() - self._tuning.ask_hurried
        with self._lock:
            for asked in filter(None, map(self._asked.get, nodes)):
                held = asked.held.get(blob) if blob is not None else None
                if asked.since <= earliest and (held is None or not held.whole):
                    asked.due = 0.0

    # What they offer

    @property
    def has_asked(self) -> bool:
        """Whether a first round of questions went out."""
        return self._has_asked

    def has_answered(self, blob: Digest) -> bool:
        """Whether all neighbours were asked for a blob, and answered or failed to."""
        with self._lock:
            return self._has_answered(blob)

    def has_answered_all(self, blob: Digest) -> bool:
        """The same of a blob and of the bases of the delta capsules that are offered of it."""
        with self._lock:
            bases = {
                base.sha256
                for asked in self._asked.values()
                if blob in asked.held and not asked.rejected
                for payload in asked.held[blob].forms
                for base in payload.bases
            }
            return self._has_answered(blob) and all(map(self._has_answered, bases))

    def _has_answered(self, blob: Digest) -> bool:
        return all(
            asked.rejected or asked.silent or blob in asked.heard for asked in self._asked.values()
        )

    def offers(self, blob: Digest) -> list[PeerOffer]:
        """What each neighbour has of a blob."""
        with self._lock:
            return [
                PeerOffer(asked.neighbour.source.name, asked.held[blob])
                for asked in self._asked.values()
                if blob in asked.held and not asked.rejected
            ]

    def bases(self) -> list[Digest]:
        """The bases of all delta capsules that are offered."""
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

    def _neighbour(self, source: str) -> Neighbour | None:
        with self._lock:
            for asked in self._asked.values():
                if asked.neighbour.source.name == source:
                    return asked.neighbour
        return None

    # Trees

    @property
    def trees(self) -> Mapping[Digest, Tree]:
        """The trees that are known, by root."""
        return self._trees

    def fetch_tree(self, payload: Payload, within: float) -> bool:
        """Asks the neighbours that offer a payload for its tree, which is checked against the
        root; whether it is known now. Blocks, about `within` seconds at most.
        """
        until = time.monotonic() + within
        if payload.root in self._trees:
            return True
        offers = self.offers(payload.blob)
        for offer in sorted(offers, key=lambda offer: payload not in offer.held.forms):
            neighbour, left = self._neighbour(offer.source), until - time.monotonic()
            if neighbour is None or left <= 0:
                continue
            with contextlib.suppress(OutlastError):
                self._trees[payload.root] = neighbour.source.layer(
                    payload.root, payload.size, min(left, self._tuning.layer_timeout)
                )
                return True
        return False

    # What proved false

    @property
    def rejected(self) -> frozenset[Digest]:
        """The roots of payloads that restored something else than their blob."""
        return self._rejected

    @property
    def liars(self) -> frozenset[str]:
        """The names of the sources that offered them."""
        return self._liars

    def reject_payload(self, payload: Payload, reason: str) -> list[str]:
        """A payload restores another blob. Ignores from now on the neighbours that offered it
        whole, and returns their names. Those that were fetching it were deceived too.
        """
        names = [
            offer.source
            for offer in self.offers(payload.blob)
            if offer.whole and (payload in offer.held.forms or offer.held.root == payload.root)
        ]
        with self._lock:
            for asked in self._asked.values():
                if asked.neighbour.source.name in names:
                    asked.rejected = reason
                    asked.held = {}
            self._liars |= set(names)
            self._rejected |= {payload.root}
        _log.debug("payload %s… rejected (from %s): %s", payload.root.short, names, reason)
        return names
