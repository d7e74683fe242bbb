"""Asks other nodes what they have: static peers by name and by digest, nodes on the LAN by digest
alone, unless the user named these too. Nothing that they say is proved by it.
"""

import contextlib
import os
import secrets
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import NotFoundError, OutlastError, UnreachableError, one_line
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.ops.holders.compare import Match, compare, compare_blobs
from outlast.ops.holders.independence import STRANGERS, group_of
from outlast.ops.holders.places import state_of
from outlast.ops.holders.tuning import Tuning
from outlast.ops.holders.values import Holder, HolderKind, HolderState, WantedFiles
from outlast.sources.base import Listing
from outlast.sources.http import HttpClient
from outlast.sources.peer import PeerSource
from outlast.swarm.lan.beacon import Beacon
from outlast.swarm.lan.datagrams import Heard
from outlast.swarm.lan.knock import Knocking
from outlast.swarm.settings import HostPort

_NOTE = 120
_random = secrets.SystemRandom()


class Met:
    """The addresses of nodes that were heard on the LAN and wait to be asked. Any number can be
    invented: a bounded number of them waits, further ones replace others, and a random one is next.
    Thread-safe.
    """

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._lock = threading.Lock()
        self._met: set[HostPort] = set()
        self._on_host: Counter[str] = Counter()
        self._waiting: list[HostPort] = []
        self.knocking: Final = Knocking(self.add)
        """Finds those at which a machine is."""

    def add(self, host: str, port: int) -> None:
        """A node may be there. It is asked once, however often it is heard."""
        with self._lock:
            if (host, port) in self._met or self._on_host[host] >= self._tuning.strangers_a_host:
                return
            if len(self._waiting) >= self._tuning.strangers:
                lost = self._take()
                self._met.discard(lost)
                self._on_host[lost[0]] -= 1
            self._met.add((host, port))
            self._on_host[host] += 1
            self._waiting.append((host, port))

    def take(self) -> HostPort | None:
        """One that has not been asked yet; None if there is none now."""
        with self._lock:
            return self._take() if self._waiting else None

    def _take(self) -> HostPort:
        number = _random.randrange(len(self._waiting))
        self._waiting[number], self._waiting[-1] = self._waiting[-1], self._waiting[number]
        return self._waiting.pop()

    @property
    def waits(self) -> int:
        """How many have not been asked yet."""
        return len(self._waiting)

    @property
    def is_crowded(self) -> bool:
        """Whether many of those that are heard are invented: it takes longer to hear the others."""
        return self.knocking.is_busy or self.knocking.is_crowded


@contextlib.contextmanager
def listening(met: Met) -> Iterator[None]:
    """Hears nodes on the LAN while the block runs. They learn that a node is there, no more."""

    def heard(value: Heard) -> None:
        met.knocking.add(value.address, value.peer_port)

    # They hear a port from us that refuses connections: who asks is not a node.
    with socket.socket() as closed, met.knocking:
        closed.bind(("", 0))
        with Beacon(os.urandom(20), closed.getsockname()[1], heard):
            yield


@dataclass(frozen=True, slots=True)
class NodeQuestion:
    """What a node is asked: for which files, and if it may hear the name, for which of `refs`.
    `static`: the host that the operator named it by; empty of one on the LAN.
    """

    wanted: WantedFiles
    refs: Sequence[str]
    named: bool
    static: str = ""


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """The id of a node, and what it has."""

    node: bytes
    holder: Holder


def ask_static(
    http: HttpClient, peer: HostPort, question: NodeQuestion, timeout: float, tuning: Tuning
) -> NodeAnswer:
    """Asks a static peer at the first of its addresses that answers."""
    problem: OutlastError | None = None
    for source in sources_of(http, peer, tuning):
        try:
            node = source.node(timeout).node
        except OutlastError as error:
            problem = error
            continue
        return NodeAnswer(node, _holder(source, question, timeout, tuning))
    raise problem or UnreachableError(f"the address of {peer[0]} is unknown")


def describe_static(
    http: HttpClient, peer: HostPort, repo: RepoId, ref: str, tuning: Tuning
) -> Listing:
    """What a static peer says that a model is, at the first of its addresses that answers."""
    problem: OutlastError | None = None
    for source in sources_of(http, peer, tuning):
        try:
            return source.describe(repo, ref, tuning.answer)
        except OutlastError as error:
            problem = error
    raise problem or UnreachableError(f"the address of {peer[0]} is unknown")


def ask_stranger(
    http: HttpClient, peer: HostPort, question: NodeQuestion, tuning: Tuning
) -> NodeAnswer:
    """Asks a node that was heard on the LAN, which has a moment to say who it is, and little more
    for the rest: others wait for their turn.
    """
    source = PeerSource(http, *peer)
    node = source.node(tuning.first).node
    return NodeAnswer(node, _holder(source, question, tuning.stranger, tuning))


def sources_of(http: HttpClient, peer: HostPort, tuning: Tuning) -> list[PeerSource]:
    """A node at each address of its name: it need not know the name that others have for it."""
    host, port = peer
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    hosts = dict.fromkeys(str(info[4][0]) for info in found)
    return [PeerSource(http, address, port) for address in hosts][: tuning.addresses]


def _holder(source: PeerSource, question: NodeQuestion, timeout: float, tuning: Tuning) -> Holder:
    wanted = question.wanted
    match, commit = Match(frozenset()), None
    if question.named:
        match, commit = _by_name(source, question, timeout)
    lacks = [entry for n, entry in enumerate(wanted.entries) if n not in match.files]
    asked = _askable(lacks, tuning)
    files = match.files
    if asked:
        said = source.payloads(asked, timeout)
        whole = {blob: held.size for blob, held in said.items() if held.whole}
        files |= compare_blobs(wanted.entries, whole).files
    found = Match(files, match.more, match.changed, match.unsure)
    unasked = sum(bool(e.size) and e.sha256 not in asked for e in lacks) if files else 0
    return Holder(
        name=source.name,
        kind=HolderKind.NODE if question.static else HolderKind.NEIGHBOUR,
        group=group_of(question.static) if question.static else STRANGERS,
        state=found.state(len(wanted.entries)),
        files=files,
        size=wanted.size_of(files),
        commit=commit,
        note=_note(found, unasked),
    )


def _by_name(
    source: PeerSource, question: NodeQuestion, timeout: float
) -> tuple[Match, GitOid | None]:
    """What the node has under the name; its own list says which of the files it holds."""
    for ref in question.refs:
        with contextlib.suppress(NotFoundError):
            listing = source.describe(question.wanted.repo, ref, timeout)
            held = listing.held or frozenset()
            files = [entry for entry in listing.entries if entry.path in held]
            return compare(question.wanted.entries, files), listing.commit
    return Match(frozenset()), None


def _askable(lacks: Sequence[FileEntry], tuning: Tuning) -> set[Digest]:
    largest = sorted((entry for entry in lacks if entry.size), key=lambda entry: -entry.size)
    named = [entry.sha256 for entry in largest if entry.sha256 is not None]
    return set(named[: tuning.blobs])


def _note(match: Match, unasked: int) -> str:
    told = [match.note] if match.note else []
    if unasked:
        files = "file" if unasked == 1 else "files"
        told.append(f"not asked for {unasked} {files} that no sha256 is known of")
    return "; ".join(told)


def failed_node(name: str, error: BaseException | None) -> Holder:
    """A static peer that did not say what it has; `error` is None if it did not answer in time."""
    note = "" if error is None else one_line(str(error), _NOTE)
    state = HolderState.NO_ANSWER if error is None else state_of(error)
    return Holder(
        f"peer {name}", HolderKind.NODE, group_of(name.rpartition(":")[0]), state, note=note
    )
