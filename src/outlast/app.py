"""The composition root: puts an archive, a node and a mirror together from plain settings.

Commands, features and tests open what they need here. Nothing here parses options or prints:
settings come in as values, news go out through a :class:`Control`.
"""

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outlast import __version__
from outlast.core.control import Control
from outlast.core.events import Event
from outlast.core.policy import OPEN, Gate
from outlast.core.status import QuotaStatus
from outlast.fetch.transfer import Wishes
from outlast.intake.formats.quarantine import Quarantine
from outlast.mirror.asker import AccessRules
from outlast.mirror.limits import IntakeLimits
from outlast.mirror.mirror import Mirror
from outlast.node.node import Node
from outlast.node.policy import SharePolicy, Sharing
from outlast.node.scope import Neighbourhood
from outlast.node.status import Report
from outlast.node.torrent_seeder import RevisionSeeding
from outlast.server.http.log import log_bug
from outlast.server.http.metrics import Metrics
from outlast.server.node.api import Holdings, NodeInfo
from outlast.server.node.peer_port import PeerServer
from outlast.sources.base import Source
from outlast.sources.http import HttpClient
from outlast.sources.kinds import STORE, in_order, open_source, parse_source
from outlast.sources.peer import peer_client
from outlast.sources.settings import HttpSettings, S3Place
from outlast.store.archive import Archive
from outlast.store.layout import Layout
from outlast.swarm.settings import HostPort, SwarmSettings
from outlast.swarm.tracker.tracker import Tracker

if TYPE_CHECKING:
    from outlast.bucket.home import SecondHome


OpenHome = Callable[[str], "SecondHome"]
"""Opens the second home at a URL."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """How to take part in the swarm, what to share, how to reach peers over HTTP, and the names
    that this node has beside the machine's own.
    """

    swarm: SwarmSettings = field(default_factory=SwarmSettings)
    share: SharePolicy = field(default_factory=SharePolicy)
    http: HttpSettings = field(default_factory=HttpSettings)
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """Which nodes a command may use: those on the LAN, static peers (`peers` None: those of the
    settings; else these, too), and whether they are asked over HTTP or through the swarm alone.
    `named`: whether the user named those on the LAN, and so takes their word.
    """

    lan: bool = True
    peers: tuple[HostPort, ...] | None = None
    http: bool = True
    named: bool = False

    @property
    def needs_node(self) -> bool:
        return self.lan or self.static

    @property
    def static(self) -> bool:
        return self.peers is None or bool(self.peers)


@dataclass(frozen=True, slots=True)
class Upstream:
    """A hub, a mirror or a source of another kind (`sources.kinds`), and the token for it."""

    url: str
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class App:
    """What runs in a process that serves: what features may use for their handlers and services."""

    archive: Archive
    mirror: Mirror
    node: Node | None
    """None where this process takes no part in the swarm."""
    metrics: Metrics
    control: Control
    sources: Sequence[Source]
    """The hubs behind the mirror."""
    wishes: Wishes
    """How files are fetched from them."""
    http: HttpSettings
    """How other machines are reached."""
    homes: "OpenHome"
    """Opens second homes, with the operator's credentials."""


@contextlib.contextmanager
def open_archive(
    home: Path, *, create: bool = True, keep: bool = True, gate: Gate = OPEN
) -> Iterator[Archive]:
    """The archive in `home`, with its operator's rules. With `keep` false nothing is made there:
    where there is no archive yet, an empty one in a temporary folder stands in for it.
    """
    if not keep and not Layout(home).marker.exists():
        with (
            tempfile.TemporaryDirectory(prefix="outlast-dry-run-") as empty,
            Archive(Path(empty), create=True, gate=gate) as archive,
        ):
            yield archive
        return
    with Archive(home, create=create, gate=gate) as archive:
        yield archive


def hub_sources(
    upstreams: Sequence[Upstream],
    settings: HttpSettings,
    observe: Callable[[str], None] | None = None,
) -> list[Source]:
    """A source for each upstream; `observe` gets the host and port of each request."""
    return _opened(HttpClient(settings, observe), upstreams)


@contextlib.contextmanager
def open_hubs(upstreams: Sequence[Upstream], settings: HttpSettings) -> Iterator[list[Source]]:
    """The same until the block ends: then all requests end, and with them the threads that wait
    for hubs which do not answer.
    """
    with HttpClient(settings) as http:
        yield _opened(http, upstreams)


@contextlib.contextmanager
def open_places(upstreams: Sequence[Upstream], settings: HttpSettings) -> Iterator[list[Source]]:
    """Each of them by itself until the block ends, to be asked what it has under a name; also those
    whose names are not the first one's.
    """
    with HttpClient(settings) as http:
        yield [_open(http, one) for one in upstreams]


def _opened(http: HttpClient, upstreams: Sequence[Upstream]) -> list[Source]:
    return in_order((one.url, _open(http, one)) for one in upstreams)


def _open(http: HttpClient, one: Upstream) -> Source:
    at = parse_source(one.url)
    if at.kind != STORE:
        return open_source(http, one.url, one.token)
    from outlast.bucket.source import BucketSource  # noqa: PLC0415 - when it is opened, as others

    return BucketSource(open_home(at.url, http.settings.s3, one.token))


def open_home(url: str, place: S3Place, keys: str | None, *, create: bool = False) -> "SecondHome":
    """A second home of archives. Raises as `bucket.objects.open_objects` does."""
    from outlast.bucket.home import SecondHome  # noqa: PLC0415
    from outlast.bucket.objects import open_objects  # noqa: PLC0415

    return SecondHome(open_objects(url, place, keys, create=create))


@contextlib.contextmanager
def open_node(
    archive: Archive,
    settings: NodeSettings,
    control: Control,
    *,
    command: str,
    scope: Scope | None = None,
    metrics: Metrics | None = None,
    quota: Callable[[], QuotaStatus] = QuotaStatus,
) -> Iterator[Node]:
    """A node that answers its neighbours until the block ends. `command` names it in ``status``:
    ``serve`` has the ports that the settings name, any other command runs beside it on free ones.
    `quota` says how much a mirror in this process may keep, for ``status``.
    """
    scope = scope or Scope()
    daemon = command == "serve"
    swarm = settings.swarm
    if scope.peers is not None:
        swarm = replace(swarm, peers=(*swarm.peers, *scope.peers))
    if not daemon:
        swarm = _beside_the_daemon(swarm)
    sharing = Sharing(archive, settings.share)
    with Node(archive, sharing, swarm, peer_client(settings.http), control, lan=scope.lan) as node:
        report: Report | None = None

        def status() -> dict[str, Any]:
            return report.status().to_json() if report is not None else {}

        with PeerServer(
            NodeInfo(node.id, __version__, node.session.port, node.private),
            _holdings(archive, sharing, node),
            Tracker(),
            status=status,
            emit=control.emit,
            metrics=metrics,
            hosts=settings.hosts,
        ) as server:
            report = Report(node, command, lambda: server.sent, quota)
            server.start("", swarm.peer_port)
            node.start(server.port)
            with RevisionSeeding(node, control, decodes=daemon):
                yield node


def _holdings(archive: Archive, sharing: Sharing, node: Node) -> Holdings:
    return Holdings(
        archive=archive,
        sharing=sharing,
        in_flight=node.in_flight.find,
        arriving=node.in_flight.arriving,
        in_flight_tree=node.in_flight.tree,
        trusted=node.contacts.is_static,
        rates=lambda: node.rates,
        copies=lambda: node.copies.said,
    )


@contextlib.contextmanager
def open_neighbourhood(
    archive: Archive, settings: NodeSettings, control: Control, scope: Scope, *, command: str
) -> Iterator[Neighbourhood | None]:
    """The nodes that a command may fetch from; None where `scope` leaves none."""
    if not scope.needs_node:
        yield None
        return
    with open_node(archive, settings, control, command=command, scope=scope) as node:
        yield Neighbourhood(
            node, lan=scope.lan, static=scope.static, http=scope.http, named=scope.named
        )


@contextlib.contextmanager
def open_mirror(
    archive: Archive,
    sources: Sequence[Source],
    control: Control,
    *,
    ttl: float,
    wishes: Wishes,
    rules: AccessRules | None = None,
    intake: IntakeLimits | None = None,
    quarantine: Quarantine | None = None,
    node: Node | None = None,
) -> Iterator[Mirror]:
    """The archive with `sources` and the neighbours of `node` behind it. Its fetches end with the
    block.
    """
    mirror = Mirror(
        archive,
        sources,
        ttl=ttl,
        rules=rules,
        wishes=wishes,
        intake=intake,
        quarantine=quarantine,
        control=control,
        around=Neighbourhood(node) if node is not None else None,
        on_bug=lambda error: log_bug("fetch", error),
    )
    try:
        mirror.quota.begin()
        yield mirror
    finally:
        mirror.close()


@contextlib.contextmanager
def open_app(
    archive: Archive,
    upstreams: Sequence[Upstream],
    settings: NodeSettings,
    control: Control,
    *,
    ttl: float,
    wishes: Wishes,
    rules: AccessRules | None = None,
    intake: IntakeLimits | None = None,
    quarantine: Quarantine | None = None,
    homes: OpenHome | None = None,
) -> Iterator[App]:
    """All that ``serve`` runs beside its listener: a node, if the settings want one, and a mirror
    of `upstreams`, which fetches from neighbours first. All that happens is counted. Without
    `homes` second homes are opened with the platform's credentials.
    """
    metrics = Metrics()

    def emit(event: Event) -> None:
        metrics.observe(event)
        control.emit(event)

    counted = Control(emit, control.cancel)
    sources = hub_sources(upstreams, settings.http, metrics.asked)
    for source in sources:
        metrics.begin(source.name)
    mirrors: list[Mirror] = []

    def quota() -> QuotaStatus:
        return mirrors[0].quota.status() if mirrors else QuotaStatus()

    metrics.quota = quota
    metrics.rules = archive.rules.status
    with contextlib.ExitStack() as stack:
        node = None
        if settings.swarm.enabled:
            node = stack.enter_context(
                open_node(archive, settings, counted, command="serve", metrics=metrics, quota=quota)
            )
        mirror = stack.enter_context(
            open_mirror(
                archive,
                sources,
                counted,
                ttl=ttl,
                wishes=wishes,
                rules=rules,
                intake=intake,
                quarantine=quarantine,
                node=node,
            )
        )
        mirrors.append(mirror)
        yield App(
            archive,
            mirror,
            node,
            metrics,
            counted,
            sources,
            wishes,
            settings.http,
            homes or (lambda url: open_home(url, settings.http.s3, None)),
        )


def hand_on(node: Node, control: Control, seconds: float, begins: Callable[[int], None]) -> None:
    """Keeps seeding for up to `seconds` while neighbours still want what was downloaded, so that
    they need not start again. `begins` gets the number of neighbours, once, if there are any.
    """
    until = time.monotonic() + seconds
    told = False
    while (count := node.awaited) and time.monotonic() < until:
        if not told:
            begins(count)
            told = True
        if control.cancel.is_set:
            return
        with node.changed:
            node.changed.wait(0.25)


def _beside_the_daemon(settings: SwarmSettings) -> SwarmSettings:
    """Ports that the configuration names are the daemon's: what runs beside it takes others."""
    return replace(
        settings,
        port=settings.port if _is_free(settings.port) else 0,
        peer_port=settings.peer_port if _is_free(settings.peer_port) else 0,
        dht_port=settings.dht_port if _is_free_for_dht(settings.dht_port) else 0,
    )


def _is_free(port: int) -> bool:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        socket.create_server(("", port), family=family, dualstack_ipv6=dual).close()
    except OSError:
        return False
    return True


def _is_free_for_dht(port: int) -> bool:
    """For UDP, and for TCP, which libtorrent opens too."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        try:
            found.bind(("", port))
        except OSError:
            return False
    return _is_free(port)
