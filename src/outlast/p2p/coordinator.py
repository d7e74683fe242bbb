"""Gathering: the files of one transfer from the neighbourhood, whoever has them.

Runs beside the transfer and decides, again and again, how each file comes (`ops.choosing`): by HTTP
from nodes that have it, in a swarm with others that want it, or from the origin, where the election
makes that this node's task.
"""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from outlast.codec.merkle import PIECE
from outlast.core.errors import TransientError
from outlast.core.status import TransferStatus
from outlast.fetch.plan import FetchPlan, TurnedError
from outlast.fetch.scheduler import open_source
from outlast.fetch.source_state import SourceState
from outlast.fetch.transfer import Job, Work
from outlast.node import payloads
from outlast.node.in_flight import InFlight
from outlast.node.node import TICK
from outlast.node.peers import Neighbour
from outlast.node.scope import Neighbourhood
from outlast.p2p.decisions import Deciding
from outlast.p2p.progress import SWARM, Course
from outlast.sources.peer import PeerSource
from outlast.store import disk
from outlast.swarm.client.join import JoinOptions
from outlast.swarm.client.torrent import Torrent
from outlast.swarm.lan.election import Role

_LARGE: Final = 16 * PIECE
_SETTLE: Final = 0.4
"""Seconds in which a node that is alone waits for a crowd;"""
_CALM: Final = 0.1
"""in which nobody must have come to one;"""
_SETTLED: Final = 1.5
"""and after which it begins all the same."""
_MOST_SOURCES: Final = 8
_CONNECTIONS: Final = 2
_LAST_WORDS: Final = 5.0
_STUCK: Final = 15.0
_IDLE: Final = 6.0
"""Seconds without a byte from the origin after which another node should try."""
_RETRY_LOST: Final = 20.0


class PeerCoordinator:
    """A guide of `Work`. `restricted`: what is fetched is for static peers alone."""

    def __init__(self, around: Neighbourhood, work: Work, *, restricted: bool) -> None:
        self._around = around
        self._node = around.node
        self._work = work
        self._restricted = restricted
        self._deciding = Deciding(around, work, self._wake, restricted=restricted)
        self._courses: dict[Job, Course] = {}
        self._revived = time.monotonic()
        self._over = threading.Event()

    # The guide

    @property
    def http(self) -> bool:
        return self._around.http

    def paced(self, source: SourceState, count: int) -> None:
        if isinstance(source.client, PeerSource):
            self._node.incoming.take(source.client.host, count, self._work.cancel)

    def begin(self, job: Job) -> None:
        """Returns when there is a way for a file; asks neighbours meanwhile."""
        course = self._course(job)
        self._tell(course)
        while not self._work.stop and not job.finished:
            self._work.check()
            plan = self._deciding.decide(course, fetch_tree=True)
            ready = plan.is_open and self._deciding.bases_here(plan)
            if ready and self._is_settled(course):
                job.plan = plan
                return
            with self._work.state:
                self._work.fail_unreachable_jobs()
            with self._node.changed:
                self._node.changed.wait(_CALM / 2 if ready else TICK)

    def _is_settled(self, course: Course) -> bool:
        """Whether others that began at the same moment had time to say so: if all of them asked
        for the beginning of a large file, it would be sent as often.
        """
        if course.job.entry.size < _LARGE or len(self._around.near()) < 2:
            return True
        now, crowd = time.monotonic(), self._deciding.crowd(course)
        if crowd != course.crowd:
            course.crowd, course.crowd_since = crowd, now
        calm = now - course.crowd_since > (_CALM if crowd else _SETTLE)
        return calm or now - course.began > _SETTLED

    def joined(self, job: Job) -> None:
        """The node can tell others what it has of the file; and a swarm begins."""
        course = self._course(job)
        plan, download = job.plan, job.download
        course.start()
        if plan.payload is not None and plan.tree is not None and download is not None:
            have = download.partial.have
            self._node.in_flight.note(
                InFlight(plan.payload, job.entry.size, plan.tree, lambda: sum(have))
            )
        if plan.swarm:
            self._attach(course)

    def hopeful(self, job: Job) -> bool:
        """While somebody has some of it, or wants it too, it may come; also while those are gone
        that had some, for they may return.
        """
        course = self._courses.get(job)
        if course is None or not self._deciding.asked_all(course):
            return True
        return (
            job.plan.swarm or self._deciding.crowd(course) > 0 or self._deciding.was_offered(course)
        )

    def reject_payload(self, job: Job, reason: str) -> bool:
        """Whoever named the payload is not asked again; the file comes another way."""
        return self._deciding.reject_payload(job, reason)

    # The loop

    def run(self) -> None:
        """Until the transfer ends."""
        self._node.coordinators.add(self)
        try:
            while not self._work.stop:
                self._look_around()
                for job in self._deciding.open_jobs():
                    self._steer(self._course(job))
                self._say()
                with self._work.state:
                    self._work.fail_unreachable_jobs()
                    self._work.state.notify_all()
                with self._node.changed:
                    self._node.changed.wait(TICK)
        finally:
            self._node.coordinators.discard(self)
            self._say()  # of the last file too
            for course in self._courses.values():
                self._ended(course.job)
                if not course.job.done:
                    self._node.election.drop(course.key)
            self._over.set()

    def await_end(self) -> None:
        """After the transfer: returns when the neighbours were told of all that came."""
        self._wake()
        self._over.wait(_LAST_WORDS)

    def _wake(self) -> None:
        with self._node.changed:
            self._node.changed.notify_all()

    def _course(self, job: Job) -> Course:
        course = self._courses.get(job)
        if course is None:
            course = self._courses.setdefault(job, Course(job))
        return course

    def _look_around(self) -> None:
        near = self._around.near()
        self._deciding.offers.hurry(self._deciding.news)
        self._deciding.news.clear()
        self._deciding.offers.ask(near, self._deciding.wanted)
        self._deciding.has_looked = True
        for source in self._useful(near):
            open_source(self._work, source, _CONNECTIONS)
        self._retry_lost()

    def _useful(self, near: Sequence[Neighbour]) -> list[SourceState]:
        """New lanes to neighbours that have something."""
        if not self._around.http:
            return []
        wanted = [
            job.entry.sha256 for job in self._deciding.open_jobs() if job.entry.sha256 is not None
        ]
        names = {
            offer.source
            for blob in wanted
            for offer in self._deciding.offers.of(blob)
            if offer.whole
        }
        with self._work.state:
            sources = {source.name: source for source in self._work.sources if source.is_peer}
            alive = sum(source.lost is None for source in sources.values())
            fresh = [n for n in near if n.source.name in names and n.source.name not in sources]
            return [self._work.add_source(n.source) for n in fresh[: max(0, _MOST_SOURCES - alive)]]

    def _retry_lost(self) -> None:
        """A source that was lost may be back, while others keep the transfer going."""
        now = time.monotonic()
        if now - self._revived < _RETRY_LOST:
            return
        self._revived = now
        with self._work.state:
            lost = [
                source
                for source in self._work.sources
                if isinstance(source.lost, TransientError) and not source.banned
            ]
            for source in lost:
                source.reset()
        for source in lost:
            open_source(self._work, source, _CONNECTIONS)

    # Steering what is under way

    def _steer(self, course: Course) -> None:
        job = course.job
        if job.small:
            job.plan = self._deciding.decide(course, fetch_tree=False)
            return
        download = job.download
        if download is None:
            return
        course.account(self._work)
        if download.swarm is not None and course.torrent is not None:
            _check(course.torrent, download.partial.path)
        plan = self._deciding.decide(course, fetch_tree=False)
        if plan.payload != job.plan.payload:
            if job.plan.payload is None or not self._is_stuck(course, plan):
                plan = self._deciding.same_payload(course)
            else:
                download.fail(TurnedError("another payload"))
                return
        job.plan = plan
        if plan.swarm and download.torn:
            download.detach()
        if plan.swarm:
            self._attach(course)
            self._connect(course)
            if course.torrent is not None:
                course.torrent.flush()
        elif download.swarm is not None:
            download.detach()

    def _is_stuck(self, course: Course, other: FetchPlan) -> bool:
        """Whether what is fetched does not come any more, and something else would."""
        return other.is_open and time.monotonic() - course.advanced > _STUCK

    def _attach(self, course: Course) -> None:
        job, download = course.job, course.job.download
        tree = job.plan.tree
        if download is None or tree is None or download.swarm is not None:
            return
        join_options, partial = self._join_options(course), download.partial
        course.connected = set(join_options.peers)

        def join(wrote: Callable[[list[int]], None]) -> Torrent:
            course.torrent = self._node.session.fetch(
                *(tree, partial.path, partial.have, wrote),
                restricted=self._restricted,
                join_options=join_options,
            )
            return course.torrent

        download.attach(join)
        self._connect(course)

    def _join_options(self, course: Course) -> JoinOptions:
        near = self._around.near()
        static = (n.tracker for n in near if n.static)
        return JoinOptions(
            (*self._node.settings.trackers, *itertools.islice(static, _MOST_SOURCES)),
            frozenset(n.swarm_address for n in near),
            in_order=self._work.watch is not None,
            stripe=self._stripe(course),
        )

    def _stripe(self, course: Course) -> tuple[int, int] | None:
        """Which of all that want a file this node is, and how many they are."""
        if not self._deciding.elects(course):
            return None
        others = self._node.election.wanting(course.key, time.monotonic())
        return sum(other < self._node.id for other in others), len(others) + 1

    def _connect(self, course: Course) -> None:
        """Tells the swarm of the neighbours; again and again, for they come and go."""
        if course.torrent is None:
            return
        if (stripe := self._stripe(course)) is not None:
            course.torrent.take_stripe(*stripe)
            course.torrent.yield_seeds()
        near = {n.swarm_address for n in self._around.near()}
        course.torrent.connect(near - course.connected)
        course.connected = near

    # Saying

    def _say(self) -> None:
        """Where this node stands with each file, for the election and the others."""
        for course in list(self._courses.values()):
            job = course.job
            if job.done and not course.seeded:
                course.seeded = True
                course.account(self._work)
                self._hand_on(course)
                self._ended(job)
                self._node.came(course.key)
            if not job.finished:
                self._note_standing(course)
        self._node.speak()

    def _tell(self, course: Course) -> None:
        """The same of one that has just begun, at once."""
        self._note_standing(course)
        self._node.speak()

    def _note_standing(self, course: Course) -> None:
        if not self._deciding.elects(course):
            return
        job, election = course.job, self._node.election
        enough = any(c.whole for c in self._deciding.offered(job.entry)) and not course.is_slow
        now = time.monotonic()
        election.want(course.key, now, able=self._deciding.has_origin() and not enough)
        if self._is_idle(course, now):
            election.resign(course.key, now)
        if job.download is not None and job.plan.is_plain:
            election.progress(course.key, course.pieces * PIECE)

    def _is_idle(self, course: Course, now: float) -> bool:
        """Whether the origin gives nothing though the task is this node's: it may be a mirror that
        waits for another of the nodes to hold the file.
        """
        if self._node.election.state(course.key, now).role is not Role.FETCH:
            course.held_since = now
            return False
        heard = max(
            (source.heard for source in self._work.sources if not source.is_peer), default=0.0
        )
        return now - max(course.held_since, heard) > _IDLE

    def _hand_on(self, course: Course) -> None:
        """What just came is offered at once: others may wait for it."""
        blob = course.job.entry.sha256
        held = payloads.held(self._work.archive, blob) if blob is not None else ()
        for payload in held:
            self._node.seed(payload, restricted=self._restricted, peers=course.connected)

    def statuses(self) -> list[TransferStatus]:
        """Of the files that are under way, or waited for."""
        return [course.status(self._work.repo) for course in list(self._courses.values())]

    def _ended(self, job: Job) -> None:
        if job.plan.payload is not None:
            self._node.in_flight.forget(job.plan.payload)

    def shares(self) -> dict[str, int]:
        """How many bytes each peer gave through the swarm, by address."""
        found: dict[str, int] = {}
        for course in self._courses.values():
            for name, count in course.given.items():
                if name.startswith(SWARM):
                    found[name] = found.get(name, 0) + count
        return found

    @property
    def keys(self) -> list[bytes]:
        """What was wanted."""
        return [course.key for course in self._courses.values()]


def _check(torrent: Torrent, path: Path) -> None:
    """Raises why a torrent stopped: the disk is full, for one."""
    if isinstance(torrent.failure, OSError):
        raise disk.storage_error(torrent.failure, path)
    if torrent.failure is not None:
        raise torrent.failure


def coordinator_for(around: Neighbourhood | None) -> Callable[[Work, bool], PeerCoordinator] | None:
    """What makes the guide of a transfer that may ask `around`."""
    if around is None:
        return None
    return lambda work, restricted: PeerCoordinator(around, work, restricted=restricted)
