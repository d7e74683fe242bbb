"""Figures for Prometheus."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from outlast.core.events import (
    CacheDropped,
    Event,
    FileMended,
    Progress,
    SourceBanned,
    SourceWaiting,
    WatchNoticed,
)
from outlast.core.status import QuotaStatus, RulesStatus

if TYPE_CHECKING:
    from collections.abc import Callable


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "outlast_requests",
            "Requests answered.",
            ["what", "method", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "outlast_request_seconds",
            "Time to answer a request, its body included.",
            ["what"],
            registry=self._registry,
        )
        self.sent = Counter(
            "outlast_sent_bytes", "Bytes of files sent to clients.", registry=self._registry
        )
        self.damaged = Counter(
            "outlast_damaged_answers",
            "Answers cut short because what the archive holds cannot be read.",
            registry=self._registry,
        )
        self.damaged_blobs = Gauge(
            "outlast_damaged_blobs",
            "Blobs of the archive that are known to be damaged.",
            registry=self._registry,
        )
        self.stale = Counter(
            "outlast_stale_answers",
            "Answers from the last known commit because no source could be asked.",
            registry=self._registry,
        )
        self.upstream = Counter(
            "outlast_upstream_requests",
            "Requests sent to a source or where it redirects.",
            ["host"],
            registry=self._registry,
        )
        self.received = Counter(
            "outlast_upstream_bytes",
            "Bytes of files received from a source.",
            ["source"],
            registry=self._registry,
        )
        self.banned = Counter(
            "outlast_sources_banned",
            "Times that a source served wrong bytes.",
            ["source"],
            registry=self._registry,
        )
        self.waits = Counter(
            "outlast_source_waits",
            "Times that a source failed or asked for patience.",
            ["source"],
            registry=self._registry,
        )
        self.changes = Counter(
            "outlast_watch_changes",
            "Changes at hubs that were noticed.",
            ["kind"],
            registry=self._registry,
        )
        self.connections = Gauge(
            "outlast_connections", "Connections that are open.", registry=self._registry
        )
        self.peer_requests = Counter(
            "outlast_peer_requests",
            "Requests of other nodes answered.",
            ["what", "status"],
            registry=self._registry,
        )
        self.peer_connections = Gauge(
            "outlast_peer_connections",
            "Connections of other nodes that are open.",
            registry=self._registry,
        )
        self.dropped = Counter(
            "outlast_mirror_dropped_revisions",
            "Revisions that the mirror dropped for its quota or a full disk.",
            ["why"],
            registry=self._registry,
        )
        self.freed = Counter(
            "outlast_mirror_freed_bytes",
            "Bytes of the disk that dropping revisions freed.",
            registry=self._registry,
        )
        self.kept = Gauge(
            "outlast_mirror_kept_bytes",
            "Bytes that what the mirror fetched for clients takes; 0 without a quota.",
            registry=self._registry,
        )
        self.keeps = Gauge(
            "outlast_mirror_quota_bytes",
            "Bytes that it may take; 0 without a quota.",
            registry=self._registry,
        )
        self.quota: Callable[[], QuotaStatus] = QuotaStatus
        """How the quota of the mirror in this process stands."""
        self.judged = Gauge(
            "outlast_rules_judged",
            "Actions that the operator's rules judged; reported: not allowed, and done.",
            ["verdict"],
            registry=self._registry,
        )
        self.rules: Callable[[], RulesStatus] = RulesStatus
        """How often the rules of the archive said what."""
        self.fetches = Gauge(
            "outlast_fetches", "Files being fetched from a source.", registry=self._registry
        )

        self.mended = Counter(
            "outlast_mended_files",
            "Damaged files of the archive that are right again.",
            registry=self._registry,
        )
        self.mended_bytes = Counter(
            "outlast_mended_bytes",
            "Bytes that came from elsewhere to mend them.",
            registry=self._registry,
        )
        self.scrubbed = Counter(
            "outlast_scrubbed_bytes", "Bytes read again by scrubs.", registry=self._registry
        )
        self.scrub_damage = Counter(
            "outlast_scrub_damage", "Damage that scrubs found.", registry=self._registry
        )
        self.scrub_oldest = Gauge(
            "outlast_scrub_oldest_seconds",
            "Since the file was checked, or came, for which that is longest.",
            registry=self._registry,
        )
        self.parity = Gauge(
            "outlast_parity_bytes",
            "Bytes of the disk that parity beside the blobs takes.",
            registry=self._registry,
        )
        self.goals = Gauge(
            "outlast_copies_goals",
            "Models with a goal of copies, by whether it is met.",
            ["met"],
            registry=self._registry,
        )
        self.challenges = Counter(
            "outlast_copies_challenges",
            "Blocks that other nodes were asked to prove to have.",
            ["result"],
            registry=self._registry,
        )

    def begin(self, source: str) -> None:
        """Lets the figures of a source stand at 0 before anything happens: a rise can be seen."""
        for figure in (self.received, self.banned, self.waits):
            figure.labels(source)

    def observe(self, event: Event) -> None:
        """Counts what a fetch reports."""
        match event:
            case Progress(source=source, count=count) if source:
                self.received.labels(source).inc(count)
            case FileMended(fetched=fetched):
                self.mended.inc()
                self.mended_bytes.inc(fetched)
            case SourceBanned(source=source):
                self.banned.labels(source).inc()
            case SourceWaiting(source=source):
                self.waits.labels(source).inc()
            case WatchNoticed(kind=kind):
                self.changes.labels(kind).inc()
            case CacheDropped(why=why, freed=freed):
                self.dropped.labels(why).inc()
                self.freed.inc(freed)

    def asked(self, host: str) -> None:
        """A request goes upstream."""
        self.upstream.labels(host).inc()

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        quota = self.quota()
        self.kept.set(quota.taken)
        self.keeps.set(quota.limit)
        rules = self.rules()
        for verdict in ("allowed", "refused", "reported"):
            self.judged.labels(verdict).set(getattr(rules, verdict))
        return generate_latest(self._registry)
