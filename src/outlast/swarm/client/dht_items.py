"""Small signed items in the distributed hash table (BEP 44): the owner of a key puts one, and all
who know the key find it.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import libtorrent as lt

from outlast.core.cancel import Cancel
from outlast.core.closing import Closing
from outlast.core.errors import NotFoundError, UnreachableError, UsageError
from outlast.swarm.client.alerts import Alerts
from outlast.swarm.client.dht_port import DhtPort
from outlast.swarm.settings import SwarmSettings
from outlast.swarm.tuning import TUNING

MOST_VALUE: Final = 900
"""Bytes of a value; BEP 44 allows 1,000 with its length."""
MOST_SALT: Final = 64
SECONDS: Final = 30.0
"""Guess: libtorrent asks a node for 15 s at most before it turns to others."""
_TICK: Final = 0.2
"""Seconds between looks at whether a wait is over."""


@dataclass(frozen=True, slots=True)
class DhtItem:
    """A value that the owner of a key signed, and its number among theirs: higher is newer."""

    value: bytes
    sequence: int


@dataclass(frozen=True, slots=True)
class DhtKey:
    """An Ed25519 key: the 32 bytes of its secret, and of its public part."""

    seed: bytes = field(repr=False)
    public: bytes


class DhtItems(Closing):
    """A DHT node of its own that puts and gets items, and announces nothing. Not thread-safe."""

    def __init__(self, settings: SwarmSettings, cancel: Cancel, seconds: float = SECONDS) -> None:
        """`seconds`: how long the DHT may take to be entered, and to answer. Raises
        :class:`UsageError` where no router is named.
        """
        if not settings.dht_routers:
            raise UsageError(
                "no router of the DHT is named", hint="name one with [swarm] dht-routers"
            )
        self._cancel = cancel
        self._seconds = seconds
        self._routers = settings.dht_routers
        self._changed = threading.Condition()
        self._nodes = 0
        self._found: dict[tuple[bytes, bytes], list[DhtItem]] = {}
        self._answered: set[tuple[bytes, bytes]] = set()
        self._stored: dict[tuple[bytes, bytes], int] = {}
        self._listens = DhtPort(replace(settings, dht_port=0), TUNING.client.port_tries)
        self._session = lt.session(self._listens.session_settings())
        seen = lt.alert_category.dht | lt.alert_category.error | lt.alert_category.status
        self._session.apply_settings({"alert_mask": seen})
        self._alerts = Alerts(self._session, self._take, tick=self._tick, seconds=_TICK)

    def close(self) -> None:
        self._alerts.close()
        self._session.pause()

    def put(self, key: DhtKey, value: bytes, salt: bytes) -> int:
        """Puts an item in place of the last one of this key and salt; the number of nodes that took
        it. Raises :class:`UnreachableError` where none did, and :class:`UsageError`.
        """
        if len(value) > MOST_VALUE or len(salt) > MOST_SALT:
            raise UsageError(f"an item of the DHT has at most {MOST_VALUE} bytes")
        self._wait(lambda: bool(self._nodes), "no node of the DHT answers")
        item = key.public, salt
        with self._changed:
            self._stored.pop(item, None)
        self._session.dht_put_mutable_item(_expanded(key.seed), key.public, value, salt)
        self._wait(lambda: bool(self._stored.get(item)), "no node of the DHT took the item")
        return self._stored[item]

    def get(self, public: bytes, salt: bytes) -> DhtItem:
        """The newest item of a key and salt; its signature was verified. Raises
        :class:`NotFoundError`, and :class:`UnreachableError` where no node answers.
        """
        self._wait(lambda: bool(self._nodes), "no node of the DHT answers")
        key = public, salt
        with self._changed:
            self._found.pop(key, None)
            self._answered.discard(key)
        self._session.dht_get_mutable_item(public, salt)
        self._wait(lambda: key in self._answered, "the DHT does not answer")
        found = self._found.get(key)
        if not found:
            raise NotFoundError("the DHT has no item of this key", hint="ask again later")
        return max(found, key=lambda item: item.sequence)

    def _wait(self, done: Callable[[], bool], problem: str) -> None:
        until = time.monotonic() + self._seconds
        with self._changed:
            while not done():
                self._cancel.check()
                if time.monotonic() > until:
                    raise UnreachableError(problem)
                self._changed.wait(_TICK)

    def _tick(self) -> None:
        if not self._nodes:
            self._session.post_session_stats()
            for router in self._routers:
                self._session.add_dht_node(router)

    def _take(self, alert: lt.alert) -> None:
        with self._changed:
            if isinstance(alert, lt.session_stats_alert):
                self._nodes = alert.values.get("dht.dht_nodes", 0)
            elif isinstance(alert, lt.dht_mutable_item_alert):
                self._take_item(alert)
            elif isinstance(alert, lt.dht_put_alert):
                key = bytes(alert.public_key), _bytes(alert.salt)
                self._stored[key] = alert.num_success
            elif isinstance(alert, lt.listen_failed_alert):
                self._listens.failed(self._session, alert)
            self._changed.notify_all()

    def _take_item(self, alert: lt.dht_mutable_item_alert) -> None:
        key = bytes(alert.key), _bytes(alert.salt)
        value = alert.item
        if isinstance(value, str | bytes) and value and len(value) <= MOST_VALUE:
            self._found.setdefault(key, []).append(DhtItem(_bytes(value), alert.seq))
        if alert.authoritative:
            self._answered.add(key)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def _expanded(seed: bytes) -> bytes:
    """The private key as libtorrent has it: the hash of the seed, clamped (RFC 8032, 5.1.5)."""
    found = bytearray(hashlib.sha512(seed).digest())
    found[0] &= 248
    found[31] = found[31] & 63 | 64
    return bytes(found)
