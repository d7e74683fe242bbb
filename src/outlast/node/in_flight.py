"""Payloads that are on their way to this node: others may have their trees, and what is here. Of a
file whose tree is not known yet they may see samples, which show that it comes.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from outlast.codec.merkle import PIECE, Tree
from outlast.codec.payload import Payload
from outlast.core.digest import Digest


@dataclass(frozen=True, slots=True)
class InFlight:
    """A payload on its way to restore a blob of `size` bytes: `pieces` says how many of its pieces
    are here.
    """

    payload: Payload
    size: int
    tree: Tree
    pieces: Callable[[], int]

    @property
    def have(self) -> int:
        """Bytes of the blob that what is here would restore; not all, for it is not verified."""
        share = min(self.payload.size, self.pieces() * PIECE) / self.payload.size
        return min(self.size - 1, int(share * self.size))


@dataclass(frozen=True, slots=True)
class Arriving:
    """The plain bytes of a blob of `size` bytes that this node fetches. `here`: how many of them
    are here without a gap from the start; `sample(start, stop)` gives some of those.
    """

    size: int
    here: Callable[[], int]
    sample: Callable[[int, int], bytes | None]


class InFlightTable:
    """All payloads on their way, by the blobs that they are to restore. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._payloads: dict[Digest, InFlight] = {}
        self._arriving: dict[Digest, Arriving] = {}

    def note(self, payload_in_flight: InFlight) -> None:
        """A payload is being fetched."""
        with self._lock:
            self._payloads[payload_in_flight.payload.blob] = payload_in_flight

    def note_arriving(self, blob: Digest, arriving: Arriving) -> None:
        """The plain bytes of a blob are being fetched."""
        with self._lock:
            self._arriving[blob] = arriving

    def forget_arriving(self, blob: Digest) -> None:
        with self._lock:
            self._arriving.pop(blob, None)

    def arriving(self, blob: Digest) -> Arriving | None:
        """The plain bytes of a blob, as far as they are here."""
        with self._lock:
            return self._arriving.get(blob)

    def forget(self, payload: Payload) -> None:
        with self._lock:
            known = self._payloads.get(payload.blob)
            if known is not None and known.payload == payload:
                del self._payloads[payload.blob]

    def find(self, blob: Digest) -> InFlight | None:
        """The payload of a blob that is on its way."""
        with self._lock:
            return self._payloads.get(blob)

    def tree(self, root: Digest) -> tuple[Digest, Tree] | None:
        """The tree of a payload that is on its way, and the blob that it is to restore."""
        with self._lock:
            for one in self._payloads.values():
                if one.payload.root == root:
                    return one.payload.blob, one.tree
        return None

    def payload(self, root: Digest) -> Payload | None:
        """The payload with this root that is on its way."""
        with self._lock:
            found = (one.payload for one in self._payloads.values())
            return next((payload for payload in found if payload.root == root), None)
