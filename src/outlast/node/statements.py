"""The signed statements that a node gives to others: those about a manifest that travel, the most
useful ones first, bounded in number and in bytes.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from outlast.core.claims import Weight
from outlast.core.digest import Digest
from outlast.sources.peer_documents import MOST_STATEMENTS
from outlast.store.archive import Archive
from outlast.store.index import load_manifest

MOST_BYTES: Final = 1024 * 1024
"""Bytes of them together: an honest one has 1 to 4 KB, one of 16 keys of RSA 16 KB."""
_KEPT: Final = 8
"""Answers that are remembered, as their signatures take up to 0.1 s to check. Guess: the models of
which several nodes ask at one time."""


class StatementsGiven:
    """Of an archive. Thread-safe."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._known: OrderedDict[Digest, tuple[object, tuple[bytes, ...]]] = OrderedDict()

    def about(self, manifest: Digest) -> Sequence[bytes]:
        """Those about a manifest that is here; none where nothing weighs them."""
        stamp = self._archive.attestations.stamp(manifest)
        if stamp is None or self._archive.weigher is None:
            return ()
        with self._lock:
            known = self._known.get(manifest)
        if known is not None and known[0] == stamp:
            return known[1]
        found = self._chosen(manifest)
        with self._lock:
            self._known[manifest] = stamp, found
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found

    def _chosen(self, manifest: Digest) -> tuple[bytes, ...]:
        weigher = self._archive.weigher
        assert weigher is not None
        repo = load_manifest(self._archive.layout, manifest).repo
        ranked = []
        for stored in self._archive.attestations.of(manifest):
            found = weigher.weigh(repo, manifest, stored.data)
            if found.weight is not Weight.NOTHING:
                size = len(stored.data)
                ranked.append((-found.weight, not found.urgent, size, stored.digest, stored.data))
        chosen: list[bytes] = []
        left = MOST_BYTES
        for _, _, size, _, data in sorted(ranked):
            if size <= left and len(chosen) < MOST_STATEMENTS:
                chosen.append(data)
                left -= size
        return tuple(chosen)
