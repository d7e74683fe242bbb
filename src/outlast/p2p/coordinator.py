"""The coordinator of a transfer: how each file comes, from which neighbours, and when.

Runs beside the transfer. Again and again it looks at what is known of each file
(`p2p.availability`, `p2p.progress`, `p2p.snapshot`), has `p2p.strategy` decide what follows, and
does it here: over HTTP from nodes that have the file, in a swarm with others that want it, or from
the origin if this node is elected to fetch it.
"""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from outlast.codec.format import BaseRef
from outlast.codec.merkle import PIECE
from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError, TransientError
from outlast.core.events import FileWaiting, SourceBanned
from outlast.core.manifest import FileEntry
from outlast.core.status import TransferStatus
from outlast.fetch.download import Download
from outlast.fetch.job import Job
from outlast.fetch.plan import CLOSED, FetchPlan, PlanChangedError
from outlast.fetch.scheduler import open_source
from outlast.fetch.source_state import SourceState
from outlast.fetch.transfer import Work
from outlast.node import payloads
from outlast.node.in_flight import Arriving, InFlight
from outlast.node.peers import Neighbour
from outlast.node.scope import Neighbourhood
from outlast.p2p.availability import Availability
from outlast.p2p.claims import ClaimWatch
from outlast.p2p.progress import SWARM, FileProgress
from outlast.p2p.reasons import Cause, Reason
from outlast.p2p.snapshot import Observer
from outlast.p2p.strategy import (
    Decision,
    Snapshot,
    decide,
    is_able,
    may_return,
    may_start,
    preferences,
    revise,
    should_resign,
)
from outlast.p2p.swarming import SwarmJoiner
from outlast.p2p.tuning import TUNING, Tuning
from outlast.sources.peer import PeerSource
from outlast.swarm.lan.election import Role

_log = logging.getLogger(__name__)


class PeerCoordinator:
    """Implements :class:`outlast.fetch.transfer.Coordinator`. `restricted`: what is fetched is for
    static peers alone.
    """

    def __init__(
        self, around: Neighbourhood, work: Work, *, restricted: bool, tuning: Tuning = TUNING
    ) -> None:
        if restricted:  # a question for a blob tells that it is here, or comes
            around = replace(around, lan=False)
        self._around = around
        self._node = around.node
        self._tick = around.node.tuning.tick
        self._work = work
        self._restricted = restricted
        self._tuning = tuning
        self._availability = Availability(self._node.wake, tuning)
        self._observer = Observer(
            around, work, self._availability, restricted=restricted, tuning=tuning
        )
        self._swarms = SwarmJoiner(
            around, work, self._observer, restricted=restricted, tuning=tuning
        )
        self._claims = ClaimWatch(around, work, self._observer, tuning=tuning)
        self._progress: dict[Job, FileProgress] = {}
        self._bases: dict[Digest, Job] = {}
        self._retried = self._told = time.monotonic()
        self._over = threading.Event()

    # Called by the transfer

    @property
    def http(self) -> bool:
        return self._around.http

    def throttle(self, source: SourceState, count: int) -> None:
        if isinstance(source.client, PeerSource):
            self._node.incoming.take(source.client.host, count, self._work.cancel)

    def await_plan(self, job: Job) -> None:
        progress = self._progress_of(job)
        progress.patience.begin(time.monotonic())
        self._stand(progress)
        self._node.speak()
        while not self._work.stop and not job.finished:
            self._work.check()
            decision = self._choose(progress)
            missing = self._fetch_bases(decision.plan)
            ready = decision.plan.is_open and not missing
            if ready and (progress.overdue or self._is_settled(progress)):
                self._explain(progress, decision)
                job.plan = decision.plan
                return
            if missing:
                decision = replace(decision, reason=Reason(Cause.BASE, missing))
            elif ready:
                decision = replace(decision, reason=Reason(Cause.NEWCOMERS))
            self._explain(progress, decision)
            with self._work.state:
                self._work.fail_unreachable_jobs()
            with self._node.changed:
                self._node.changed.wait(self._tuning.settle_quiet / 2 if ready else self._tick)

    def _choose(self, progress: FileProgress) -> Decision:
        """How a file should start. Asks neighbours for the tree that it needs."""
        now = self._look_at(progress)
        if now.answered:
            self._fetch_trees(progress, now)
            now = replace(now, trees=self._observer.trees(now.candidates))
        return decide(now)

    def _is_settled(self, progress: FileProgress) -> bool:
        crowd = self._observer.crowd(progress)
        return may_start(
            size=progress.job.entry.size,
            neighbours=len(self._around.near()),
            crowd=crowd,
            calm=progress.see_crowd(crowd),
            age=progress.age,
            tuning=self._tuning,
        )

    def download_opened(self, job: Job) -> None:
        """Other nodes can be told what is here of the file; and its swarm begins."""
        progress = self._progress_of(job)
        plan, download = job.plan, job.download
        progress.start()
        if plan.payload is not None and plan.tree is not None and download is not None:
            have = download.partial.have
            self._node.in_flight.note(
                InFlight(plan.payload, job.entry.size, plan.tree, lambda: sum(have))
            )
        if plan.is_plain and download is not None and job.entry.sha256 is not None:
            self._node.in_flight.note_arriving(job.entry.sha256, _arriving(download))
        if plan.swarm:
            self._swarms.attach(progress)

    def may_come(self, job: Job) -> bool:
        progress = self._progress.get(job)
        if progress is None or not self._observer.has_asked_all(progress):
            return True
        if job.plan.swarm or self._observer.crowd(progress):
            return True
        offerers = self._observer.offerers(progress)
        return may_return(offerers, self._observer.refusing(job.entry.key))

    def reject_payload(self, job: Job, reason: str) -> bool:
        """The neighbours that offered the payload are not asked again."""
        payload = job.plan.payload
        if payload is None:
            return False
        names = self._availability.reject_payload(payload, reason)
        with self._work.state:
            known = {source.name: source for source in self._work.sources}
            for name in names:
                if name in known:
                    known[name].ban(IntegrityError(reason), job.entry.path)
                else:
                    self._work.emit(SourceBanned(name, job.entry.path, reason))
            self._work.state.notify_all()
        return True

    def shares(self) -> dict[str, int]:
        """How many bytes each peer gave through the swarm, by address."""
        found: dict[str, int] = {}
        for progress in list(self._progress.values()):
            for name, count in progress.given.items():
                if name.startswith(SWARM):
                    found[name] = found.get(name, 0) + count
        return found

    def await_end(self) -> None:
        self._node.wake()
        self._over.wait(self._tuning.last_words)

    # Called by the node

    def statuses(self) -> list[TransferStatus]:
        """Of the files that are under way, or wait."""
        return [progress.status(self._work.repo) for progress in list(self._progress.values())]

    # The loop

    def run(self) -> None:
        self._node.coordinators.add(self)
        try:
            while not self._work.stop:
                self._look_around()
                files = [self._progress_of(job) for job in self._open_jobs()]
                for progress in files:
                    self._steer(progress)
                self._claims.look(files)
                self._announce()
                self._tell_waiting()
                with self._work.state:
                    self._work.fail_unreachable_jobs()
                    self._work.state.notify_all()
                with self._node.changed:
                    self._node.changed.wait(self._tick)
        finally:
            self._node.coordinators.discard(self)
            self._announce()  # the last file too
            for progress in list(self._progress.values()):
                self._end(progress.job)
                if not progress.job.done:
                    self._node.election.drop(progress.key)
            self._over.set()

    def _progress_of(self, job: Job) -> FileProgress:
        progress = self._progress.get(job)
        if progress is None:
            progress = self._progress.setdefault(job, FileProgress(job, self._tuning))
        return progress

    def _open_jobs(self, most: int | None = None) -> list[Job]:
        with self._work.state:
            jobs = itertools.islice(self._work.jobs, self._work.first_open, None)
            unfinished = (job for job in jobs if not job.finished)
            return list(itertools.islice(unfinished, most or self._tuning.soon))

    def _look_at(self, progress: FileProgress) -> Snapshot:
        now = self._observer.snapshot(progress)
        self._availability.hurry(now.owners, progress.job.entry.sha256)
        return now

    def _explain(self, progress: FileProgress, decision: Decision) -> None:
        plan, reason = decision.plan, decision.reason
        if progress.explain(plan, reason):
            now = time.monotonic()
            why = reason.text(now, now)
            waits = "waits for " if reason.cause.waits else ""
            _log.debug("%s: %s (%s%s)", progress.job.entry.path, plan.summary, waits, why)

    # Whom to ask

    def _look_around(self) -> None:
        near = self._around.near()
        self._availability.ask(near, self._wanted)
        for source in self._add_sources(near):
            open_source(self._work, source, self._tuning.connections)
        self._retry_lost()

    def _wanted(self) -> Sequence[Digest]:
        """The blobs that neighbours are asked for, the most urgent first."""
        jobs = self._open_jobs(self._tuning.ask_ahead)
        # Those that wait for a plan come first wherever they stand: their turn has come.
        waiting = [job for job in jobs if job.started and not job.small]
        ordered = [*waiting, *jobs[: self._tuning.soon], *jobs]
        found = [job.entry.sha256 for job in ordered if job.entry.sha256 is not None]
        first, rest = found[: len(waiting)], found[len(waiting) :]
        return list(dict.fromkeys((*first, *self._availability.bases(), *rest)))

    def _add_sources(self, near: Sequence[Neighbour]) -> list[SourceState]:
        """Makes sources of the neighbours that have a whole file."""
        if not self._around.http:
            return []
        wanted = [job.entry.sha256 for job in self._open_jobs() if job.entry.sha256 is not None]
        names = {
            offer.source
            for blob in wanted
            for offer in self._availability.offers(blob)
            if offer.whole
        }
        with self._work.state:
            sources = {source.name: source for source in self._work.sources if source.is_peer}
            alive = sum(source.lost is None for source in sources.values())
            fresh = [n for n in near if n.source.name in names and n.source.name not in sources]
            chosen = fresh[: max(0, self._tuning.sources - alive)]
            return [self._work.add_source(neighbour.source) for neighbour in chosen]

    def _retry_lost(self) -> None:
        """A source that was given up may be back, while others keep the transfer going."""
        now = time.monotonic()
        if now - self._retried < self._tuning.retry_lost:
            return
        self._retried = now
        with self._work.state:
            lost = [
                source
                for source in self._work.sources
                if isinstance(source.lost, TransientError) and not source.banned
            ]
            for source in lost:
                source.reset()
        for source in lost:
            _log.debug("%s is tried again", source.name)
            open_source(self._work, source, self._tuning.connections)

    # What a plan needs

    def _fetch_trees(self, progress: FileProgress, now: Snapshot) -> None:
        """Gets the tree of the best payload, or else that of the plain bytes. Blocks, where an
        origin could be asked no longer than it is waited for peers.
        """
        for candidate in preferences(now):
            within = self._tuning.layer_timeout
            if now.origin:
                waited = progress.patience.waited(time.monotonic())
                within = max(0.0, self._tuning.patience - waited)
            if self._availability.fetch_tree(candidate.payload, within):
                return

    def _fetch_bases(self, plan: FetchPlan) -> str:
        """Fetches the bases of a delta capsule that are not here; names one of them."""
        missing = ""
        for base in plan.payload.bases if plan.payload is not None else ():
            if not self._work.writer.lease(base.sha256, base.size):
                missing = f"blob {base.sha256.short}…"
                self._fetch_base(base)
        return missing

    def _fetch_base(self, base: BaseRef) -> None:
        blob = base.sha256
        with self._work.state:
            if blob in self._bases or any(j.entry.sha256 == blob for j in self._work.jobs):
                return
            entry = FileEntry(f"(base {blob.short})", base.size, sha256=blob)
            job = self._bases[blob] = Job(
                entry, small=base.size <= self._work.small_file, aside=True
            )
            job.plan = CLOSED
            # Before the files that wait for it: of those only so many are looked at.
            self._work.jobs.insert(self._work.first_open, job)
            self._work.unfinished += 1
            self._work.state.notify_all()

    # Steering what is under way

    def _steer(self, progress: FileProgress) -> None:
        job, download = progress.job, progress.job.download
        if job.small:
            decision = decide(self._look_at(progress))
            job.plan = decision.plan
            self._explain(progress, decision)
            return
        if download is None:
            return
        progress.update(self._work, self._tick)
        self._swarms.check(progress)
        decision = revise(self._look_at(progress), job.plan, progress.idle, self._tuning)
        self._explain(progress, decision)
        if decision.restart:
            _log.debug("%s: download restarted with another payload", job.entry.path)
            download.fail(PlanChangedError("another payload"))
            return
        job.plan = decision.plan
        if job.plan.swarm:
            self._swarms.keep(progress)
        elif download.swarm is not None:
            download.detach()

    # Telling the others

    def _announce(self) -> None:
        """Says where this node stands with each file."""
        for progress in list(self._progress.values()):
            if progress.hand_on():
                self._hand_on(progress)
            if not progress.job.finished:
                self._stand(progress)
        self._node.speak()

    def _hand_on(self, progress: FileProgress) -> None:
        """What just came is offered at once: other nodes may wait for it."""
        progress.update(self._work, self._tick)
        blob = progress.job.entry.sha256
        held = payloads.held(self._work.archive, blob) if blob is not None else ()
        for payload in held:
            self._node.seed(payload, restricted=self._restricted, peers=progress.addresses)
        self._end(progress.job)
        self._node.came(progress.key)

    def _end(self, job: Job) -> None:
        if job.plan.payload is not None:
            self._node.in_flight.forget(job.plan.payload)
        if job.entry.sha256 is not None:
            self._node.in_flight.forget_arriving(job.entry.sha256)

    def _stand(self, progress: FileProgress) -> None:
        """Takes part in the election of a file."""
        job, election, key = progress.job, self._node.election, progress.key
        if not self._observer.elects(job.entry):
            return
        able = is_able(
            self._observer.candidates(progress),
            origin=self._observer.has_origin,
            slow=progress.is_slow or progress.overdue,
        )
        now = time.monotonic()
        election.want(key, now, able=able, limit=self._work.rate, size=job.entry.size)
        role = election.state(key, now).role
        silent = progress.silent_for(self._observer.origin_heard, elected=role is Role.FETCH)
        if should_resign(role=role, silent=silent, tuning=self._tuning):
            _log.debug("%s: resigns: no byte from the origin for %.0f s", job.entry.path, silent)
            election.resign(key, now)
        if job.download is not None and job.plan.is_plain:
            election.progress(key, progress.pieces * PIECE)

    # Telling a person

    def _tell_waiting(self) -> None:
        """Says what the transfer waits for, if nothing at all comes."""
        now = time.monotonic()
        quiet, silent = now - self._work.heard, now - self._told
        if quiet < self._tuning.quiet_after or silent < self._tuning.tell_waiting:
            return
        self._told = now
        waiting = [
            (progress.job.entry.path, reason)
            for progress in list(self._progress.values())
            if (reason := progress.waits_for)
        ]
        if waiting:
            path, reason = waiting[0]
            self._work.emit(FileWaiting(path, reason, len(waiting) - 1))


def _arriving(download: Download) -> Arriving:
    return Arriving(download.size, lambda: download.here, download.sample)


def coordinator_for(
    around: Neighbourhood | None, tuning: Tuning = TUNING
) -> Callable[[Work, bool], PeerCoordinator] | None:
    """Makes the coordinator of a transfer that may ask `around`."""
    if around is None:
        return None
    return lambda work, restricted: PeerCoordinator(
        around, work, restricted=restricted, tuning=tuning
    )
