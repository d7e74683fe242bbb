"""How nodes on one LAN find each other, and tell each other what they want, with no configuration.

A node announces itself when it starts, when an interface appears, once a minute, and when it hears
a new node: two nodes know each other a fraction of a second after the later one started. A node
repeats its wants every second and sends changes at once.
"""

import logging
import random
import selectors
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self

from outlast.core.closing import Closing
from outlast.swarm.lan.datagrams import (
    ANNOUNCE_S,
    ID,
    MAX_NODES,
    MAX_WISHES,
    WANT_S,
    Announcement,
    Heard,
    Wish,
    announcement,
    parse,
    wants,
)
from outlast.swarm.lan.interfaces import Channels
from outlast.swarm.lan.multicast import PORT
from outlast.swarm.lan.rate_limit import DatagramLimit
from outlast.swarm.tuning import TUNING, LanTuning

_log = logging.getLogger(__name__)

ANSWER_S: Final = 0.2
"""Shortest time between two answers to new nodes (s). One answer is for all of them."""
_EACH_S: Final = 0.01
"""Added for each known node (s): the whole LAN sends about a hundred answers a second."""
_JITTER_S: Final = 0.1
"""Longest random delay of an answer (s), so that not all nodes answer at the same instant."""
_FORGET_S: Final = 3.5 * ANNOUNCE_S


class Beacon(Closing):
    """Announces the node with the id `node` (20 bytes, new for each process) whose API is at
    `peer_port`, on all LANs or on those of `interfaces`, from :meth:`start` to :meth:`close`.

    `heard` is called in the beacon's own thread with each announcement and want of another node
    whose address `accepts` allows. `problem` gets one line for each problem, once until it is
    mended. An exception of either ends the beacon. Thread-safe.
    """

    def __init__(
        self,
        node: bytes,
        peer_port: int,
        heard: Callable[[Heard], None],
        *,
        interfaces: Sequence[str] | None = None,
        accepts: Callable[[str], bool] = lambda _: True,
        problem: Callable[[str], None] = lambda _: None,
        group_port: int = PORT,
        tuning: LanTuning = TUNING.lan,
    ) -> None:
        if len(node) != ID or not 0 < peer_port < 65536:
            raise ValueError("a node's id has 20 bytes, and its port a number up to 65535")
        self._node = node
        self._tuning = tuning
        self._peer_port = peer_port
        self._heard = heard
        self._accepts = accepts
        self._channels = Channels(interfaces, problem, group_port, tuning)
        self._lock = threading.Lock()
        self._wishes: dict[bytes, Wish] = {}
        self._changed: dict[bytes, Wish] = {}
        self._closing = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_writer.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="beacon", daemon=True)
        now = time.monotonic()
        self._limit = DatagramLimit(tuning=tuning)
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._scan_at = self._wants_at = now
        self._changes_at = self._answered = float("-inf")
        self._answer_at = float("inf")

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Takes back all wishes, and ends. May be called again."""
        self._closing = True
        self._wake()
        if self._thread.ident is None:
            self._release()
        elif self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def want(self, wishes: Iterable[Wish]) -> None:
        """Sends these wishes at once and repeats them every second; each replaces the one of the
        same key. A wish that is `gone` is sent once. Of more than 4096, the oldest are repeated.
        """
        with self._lock:
            for wish in wishes:
                if wish.gone:
                    if self._wishes.pop(wish.key, None) is None:
                        continue
                elif self._wishes.get(wish.key) == wish:
                    continue
                else:
                    self._wishes[wish.key] = wish
                self._changed[wish.key] = wish
        self._wake()

    def _wake(self) -> None:
        try:
            self._wake_writer.send(b"\0")
        except OSError:  # full: it is awake already; or closed
            return

    def _run(self) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._wake_reader, selectors.EVENT_READ)
                while not self._closing:
                    self._turn(selector)
            with self._lock:
                gone = [Wish(key, gone=True) for key in self._wishes]
            self._say(gone[:MAX_WISHES])
        finally:
            self._release()

    def _release(self) -> None:
        self._channels.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _turn(self, selector: selectors.BaseSelector) -> None:
        """Sends what is due, waits until more is due or something arrives, and reads it."""
        now = time.monotonic()
        if now >= self._scan_at:
            self._scan_at = now + self._tuning.scan_s
            self._channels.scan(selector, now)
        due = min(self._announce(now), self._answer(now), self._tell_wishes(now), self._scan_at)
        for key, _ in selector.select(max(0.0, due - time.monotonic())):
            if key.fileobj is self._wake_reader:
                self._wake_reader.recv(4096)
            else:
                for data, address in key.data.receive():
                    self._read(data, address)

    def _announce(self, now: float) -> float:
        """Announces on the channels that are due; when to call again."""
        for channel in self._channels.due(now):
            first = channel.begins
            data = announcement(channel.group.host, self._node, self._peer_port, asks=first)
            channel.announced(now, sent=self._channels.send(channel, data))
        return self._channels.next_due()

    def _answer(self, now: float) -> float:
        """Answers new nodes with an announcement, and all wants."""
        if now >= self._answer_at:
            self._answer_at, self._answered = float("inf"), now
            _log.debug("answering new nodes; %d are known", len(self._known))
            for channel in self._channels.all():
                data = announcement(channel.group.host, self._node, self._peer_port)
                self._channels.send(channel, data)
            self._wants_at = now
        return self._answer_at

    def _tell_wishes(self, now: float) -> float:
        with self._lock:
            if now >= self._wants_at:
                said = {**dict(list(self._wishes.items())[:MAX_WISHES]), **self._changed}
                self._wants_at = now + WANT_S
            elif self._changed and now >= self._changes_at + self._tuning.gather_s:
                said = dict(list(self._changed.items())[: 2 * MAX_WISHES])
            else:
                said = {}
            if said:
                self._changed = {k: w for k, w in self._changed.items() if k not in said}
                self._changes_at = now
            due = self._wants_at if self._wishes else float("inf")
            if self._changed:  # the rest, in a moment
                due = min(due, self._changes_at + self._tuning.gather_s)
        self._say(list(said.values()))
        return due

    def _say(self, wishes: Sequence[Wish]) -> None:
        for channel in self._channels.all():
            for data in wants(channel.group.host, self._node, self._peer_port, wishes):
                self._channels.send(channel, data)

    def _read(self, data: bytes, address: str) -> None:
        now = time.monotonic()
        if not self._limit.allows(address) or not self._accepts(address):
            return
        value = parse(data, address)
        if value is None or value.node == self._node:
            return
        is_stranger = self._note(value.node, now)
        if is_stranger:
            _log.debug("node %s at %s is new", value.node.hex()[:12], address)
        if is_stranger or (isinstance(value, Announcement) and value.asks):
            soon = now + random.uniform(0, _JITTER_S)  # noqa: S311 - no secret
            self._answer_at = min(self._answer_at, max(soon, self._answered + self._pause()))
        self._heard(value)

    def _pause(self) -> float:
        return ANSWER_S + _EACH_S * len(self._known)

    def _note(self, node: bytes, now: float) -> bool:
        """Records that a node was heard; whether it was unknown."""
        before = self._known.pop(node, None)
        self._known[node] = now
        if len(self._known) > MAX_NODES:
            self._known.popitem(last=False)
        return before is None or before + _FORGET_S < now
