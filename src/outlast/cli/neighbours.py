"""What a command needs to be a node: its API for others, and where bytes may come from."""

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from outlast import __version__
from outlast.cli.config.file import check_url
from outlast.cli.edge import Session, host_and_port
from outlast.cli.render import plural
from outlast.core.control import Control
from outlast.core.errors import UsageError
from outlast.node.node import Node
from outlast.node.policy import Sharing
from outlast.node.scope import Neighbourhood
from outlast.node.status import Report
from outlast.node.torrent_seeder import RevisionSeeding
from outlast.server.http.metrics import Metrics
from outlast.server.node.api import Holdings, NodeInfo
from outlast.server.node.peer_port import DEFAULT_PORT, PeerServer
from outlast.sources.peer import peer_client
from outlast.store.archive import Archive
from outlast.swarm.settings import SwarmSettings
from outlast.swarm.tracker.tracker import Tracker

_PEER = "peer:"


@dataclass(frozen=True, slots=True)
class Origins:
    """What ``--from`` narrows a pull to: the URLs of hubs and mirrors, and which neighbours."""

    urls: tuple[str, ...]
    lan: bool = True
    peers: tuple[tuple[str, int], ...] | None = None
    """Static peers; None: those of the configuration."""
    http: bool = True
    swarm: bool = True

    @property
    def needs_node(self) -> bool:
        return self.lan or self.peers is None or bool(self.peers)


def parse_origins(words: Sequence[str], default: tuple[str, ...]) -> Origins:
    """The meaning of all ``--from``: URLs, ``lan``, ``swarm`` and ``peer:HOST:PORT``. Without
    one everything that there is.
    """
    if not words:
        return Origins(default)
    urls: list[str] = []
    peers: list[tuple[str, int]] = []
    for word in words:
        if word.startswith(_PEER):
            host, port = host_and_port(word.removeprefix(_PEER), DEFAULT_PORT)
            peers.append((host, port))
        elif word not in {"lan", "swarm"}:
            urls.append(check_url(word))
    swarm = "swarm" in words
    return Origins(
        *(tuple(urls), "lan" in words or swarm),
        peers=tuple(peers) if peers or not swarm else None,
        http="lan" in words or bool(peers),
    )


@contextlib.contextmanager
def open_node(
    run: Session,
    archive: Archive,
    control: Control,
    origins: Origins,
    *,
    command: str,
    metrics: Metrics | None = None,
) -> Iterator[Node]:
    """A node that answers its neighbours until the block ends."""
    settings = run.config.swarm
    if origins.peers is not None:
        settings = replace(settings, peers=(*settings.peers, *origins.peers))
    if command != "serve":
        settings = _beside_the_daemon(settings)
    sharing = Sharing(archive, run.config.share)
    http = peer_client(run.config.http())
    with Node(archive, sharing, settings, http, control, lan=origins.lan) as node:
        info = NodeInfo(node.id, __version__, node.session.port, node.private)
        holdings = Holdings(
            *(archive, sharing, node.in_flight.find, node.in_flight.tree),
            trusted=node.contacts.is_static,
            rates=lambda: node.rates,
        )
        report: Report | None = None

        def status() -> dict[str, Any]:
            return report.status().to_json() if report is not None else {}

        with PeerServer(
            info, holdings, Tracker(), status=status, emit=control.emit, metrics=metrics
        ) as server:
            report = Report(node, command, lambda: server.sent)
            server.start("", settings.peer_port)
            node.start(server.port)
            with RevisionSeeding(node, control, decodes=command == "serve"):
                yield node


def _beside_the_daemon(settings: SwarmSettings) -> SwarmSettings:
    """Ports that the configuration names are the daemon's: what runs beside it takes others."""
    port, peer_port = (p if _is_free(p) else 0 for p in (settings.port, settings.peer_port))
    dht_port = settings.dht_port if _is_free_udp(settings.dht_port) else 0
    return replace(settings, port=port, peer_port=peer_port, dht_port=dht_port)


def _is_free(port: int) -> bool:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        socket.create_server(("", port), family=family, dualstack_ipv6=dual).close()
    except OSError:
        return False
    return True


def _is_free_udp(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        try:
            found.bind(("", port))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def neighbourhood(
    run: Session, archive: Archive, origins: Origins, *, wanted: bool
) -> Iterator[Neighbourhood | None]:
    """What is around for a pull; None where the operator, or the command, wants none of it."""
    if not wanted or not origins.needs_node:
        if not origins.urls:
            raise UsageError("no source to pull from", hint="name one with --from")
        yield None
        return
    with open_node(run, archive, run.control, origins, command="pull") as node:
        static = origins.peers is None or bool(origins.peers)
        yield Neighbourhood(node, lan=origins.lan, static=static, http=origins.http)


def hand_on(run: Session, node: Node, seconds: float) -> None:
    """Stays while neighbours still want what came, so that they need not begin anew."""
    until = time.monotonic() + seconds
    told = False
    while (count := node.awaited) and time.monotonic() < until:
        if not told:
            run.say(f"handing on to {plural(count, 'neighbour')}; Ctrl-C ends it")
            told = True
        if run.control.cancel.is_set:
            return
        with node.changed:
            node.changed.wait(0.25)
