"""Search: which models other nodes offer, on this LAN and among the named peers."""

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from outlast.core.cancel import Cancel
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import OutlastError, UnreachableError
from outlast.core.names import RepoId
from outlast.core.offer import Offer
from outlast.core.threads import DaemonPool
from outlast.ops.tuning import TUNING, Tuning
from outlast.sources.http import HttpClient
from outlast.sources.peer import PeerSource
from outlast.swarm.lan.beacon import Beacon
from outlast.swarm.lan.datagrams import Heard
from outlast.swarm.lan.knock import Knocking

_log = logging.getLogger(__name__)

Meet = Callable[[str, int], None]
"""Receives the host and peer port of a possible node; called from any thread."""
Discover = Callable[[Meet], AbstractContextManager[object]]
"""Discovers nodes while its block runs."""
_Key = tuple[RepoId, GitOid, Digest]
_Address = tuple[str, int]
_random = secrets.SystemRandom()
_MOST_ADDRESSES = 4


@dataclass(frozen=True, slots=True)
class OfferingNode:
    """A node that offers a model: its id in hex, and how it was reached."""

    node: str
    name: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A revision that `nodes` offer, with the refs that any of them has for it."""

    model: Offer
    nodes: tuple[OfferingNode, ...]


@dataclass(frozen=True, slots=True)
class Searched:
    """The result of a search: `nodes` answered; `failures` names the others, with the reason."""

    hits: tuple[Hit, ...]
    nodes: int
    failures: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def on_lan(meet: Meet, problem: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Discovers neighbours by beacons. `problem` receives a line for each failure."""

    def heard(value: Heard) -> None:
        meet(value.address, value.peer_port)

    # Neighbours hear a port from us that refuses connections: a search is not a node.
    with socket.socket() as closed:
        closed.bind(("", 0))
        port = closed.getsockname()[1]
        with Beacon(os.urandom(20), port, heard, problem=problem):
            yield


def search(
    query: str,
    peers: Iterable[tuple[str, int]],
    http: HttpClient,
    cancel: Cancel,
    *,
    base: Digest | None = None,
    discover: Discover | None = None,
    tuning: Tuning = TUNING,
) -> Searched:
    """Asks the `peers` (host and port) and the nodes that `discover` finds, all at once, for models
    with `query` in their names, and with `base` for those that they say were made from the revision
    of that manifest. Ends when all have answered, after at most `search_within` seconds, or
    `search_crowded` where many of the nodes that are heard are invented.
    """
    asking = _Asking(query, base, http, tuning)
    for host, port in peers:
        asking.name(host, port)
    if discover is None:
        asking.wait(cancel, 0.0)
    else:
        with Knocking(asking.meet) as knocking, discover(knocking.add):
            asking.wait(cancel, tuning.search_listen, knocking)
    return asking.result()


class _Asking:
    """One search: which nodes are asked, and their answers."""

    def __init__(self, query: str, base: Digest | None, http: HttpClient, tuning: Tuning) -> None:
        self._query = query
        self._base = base
        self._http = http
        self._tuning = tuning
        self._began = time.monotonic()
        self._until = self._began + tuning.search_within
        self._pool = DaemonPool(tuning.search_threads, "search")
        self._changed = threading.Condition()
        self._waiting: dict[_Address, str] = {}
        self._heard: list[_Address] = []
        """Of those that wait, the ones that are only heard of, and not asked yet."""
        self._met: set[_Address] = set()
        self._on_host: Counter[str] = Counter()
        self._answers: list[tuple[OfferingNode, list[Offer]]] = []
        self._failures: dict[str, str] = {}

    def name(self, host: str, port: int) -> None:
        """Asks a node that the user named, once."""
        if self._wait_for((host, port)):
            self._pool.submit(self._ask, (host, port), self._left)

    def meet(self, host: str, port: int) -> None:
        """Asks a node that may be there, once. Any number can be invented: of those that wait for
        their turn a random one is next, each has to answer soon, and further ones replace others.
        """
        key = (host, port)
        with self._changed:
            if key in self._met or self._on_host[host] >= self._tuning.search_ports:
                return
            if len(self._heard) >= self._tuning.search_nodes:
                lost = self._take_one()
                self._waiting.pop(lost, None)
                self._met.discard(lost)
                self._on_host[lost[0]] -= 1
            if not self._wait_for(key):
                return
            self._on_host[host] += 1
            self._heard.append(key)
        self._pool.submit(self._ask_one)

    def _wait_for(self, key: _Address) -> bool:
        """Whether it is new."""
        with self._changed:
            if key in self._met:
                return False
            self._met.add(key)
            self._waiting[key] = PeerSource(self._http, *key).name
        return True

    def _take_one(self) -> _Address:
        number = _random.randrange(len(self._heard))
        self._heard[number], self._heard[-1] = self._heard[-1], self._heard[number]
        return self._heard.pop()

    def _ask_one(self) -> None:
        with self._changed:
            if not self._heard:
                return
            key = self._take_one()
        self._ask(key, lambda: min(self._left(), self._tuning.search_first))

    def _ask(self, key: _Address, first: Callable[[], float]) -> None:
        """Asks a node, which has `first` seconds to say who it is."""
        name = PeerSource(self._http, *key).name
        _log.debug("asking %s", name)
        node, failure = OfferingNode("", name), ""
        rows: list[Offer] = []
        for address in _addresses(*key):
            source = PeerSource(self._http, address, key[1])
            try:
                node = OfferingNode(source.node(first()).node.hex(), name)
                rows = source.models(
                    self._query, self._left(), self._tuning.search_models, base=self._base
                )
            except OutlastError as error:
                failure = str(error)
            else:
                failure = ""
                break
        wanted = self._query.lower()
        rows = [row for row in rows if wanted in str(row.repo).lower()]
        with self._changed:
            if self._waiting.pop(key, None) is None:  # too late
                return
            _log.debug("%s: %s", name, failure or f"{len(rows)} models")
            if failure:
                self._failures[name] = failure
            else:
                self._answers.append((node, rows))
            self._changed.notify_all()

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise UnreachableError("not asked: the time was over")
        return left

    def wait(self, cancel: Cancel, listen: float, knocking: Knocking | None = None) -> None:
        """Waits until all nodes that are known after `listen` seconds answered, or time is over.
        Among invented ones it takes longer to hear the others.
        """
        listening = time.monotonic() + listen
        with self._changed:
            while (now := time.monotonic()) < self._until:
                listens = knocking is not None and (knocking.is_busy or knocking.is_crowded)
                if knocking is not None and knocking.is_crowded:
                    self._until = self._began + self._tuning.search_crowded
                if not self._waiting and now >= listening and not listens:
                    return
                cancel.check()
                self._changed.wait(self._tuning.search_poll)

    def result(self) -> Searched:
        with self._changed:
            failures = dict(self._failures)
            failures |= dict.fromkeys(self._waiting.values(), "it did not answer in time")
            self._waiting.clear()
            answers = list(self._answers)
        nodes = {node.node for node, _ in answers}
        return Searched(_merge(answers), len(nodes), failures)


def _addresses(host: str, port: int) -> list[str]:
    """The addresses of a node: it need not know the name that others have for it. Where they cannot
    be looked up, the name itself, so that asking it tells why.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return [host]
    return list(dict.fromkeys(str(info[4][0]) for info in found))[:_MOST_ADDRESSES]


def _merge(answers: Sequence[tuple[OfferingNode, list[Offer]]]) -> tuple[Hit, ...]:
    """The answers by model, commit and manifest. A node with several addresses counts once. If
    nodes disagree on the facts of a manifest, the majority is believed.
    """
    found: dict[_Key, dict[str, tuple[OfferingNode, Offer]]] = {}
    for node, rows in sorted(answers, key=lambda answer: answer[0].name):
        for row in rows:
            key = (row.repo, row.commit, row.manifest)
            found.setdefault(key, {}).setdefault(node.node, (node, row))
    ordered = sorted(found.items(), key=lambda told: (told[0][0], -len(told[1]), told[0][2]))
    return tuple(_hit(list(told.values())) for _, told in ordered)


def _hit(told: Sequence[tuple[OfferingNode, Offer]]) -> Hit:
    rows = [row for _, row in told]
    facts = Counter((row.files, row.size, row.partial) for row in rows)
    (files, size, partial), _ = min(facts.items(), key=lambda fact: (-fact[1], fact[0]))
    model = replace(
        rows[0],
        refs=tuple(sorted({name for row in rows for name in row.refs})),
        files=files,
        size=size,
        partial=partial,
        restricted=any(row.restricted for row in rows),
        made_from=tuple(dict.fromkeys(one for row in rows for one in row.made_from)),
    )
    return Hit(model, tuple(node for node, _ in told))
