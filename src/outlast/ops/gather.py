"""Gathering: the files of one transfer from the neighbourhood, whoever has them.

Runs beside the transfer and decides, again and again, how each file comes (`ops.choosing`): by HTTP
from nodes that have it, in a swarm with others that want it, or from the origin, where the election
makes that this node's task.
"""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.codec.format import BaseRef
from outlast.codec.merkle import PIECE, Tree, piece_count
from outlast.codec.payload import Form, Payload
from outlast.model.digest import Digest
from outlast.model.errors import OutlastError, TransientError
from outlast.model.events import PiecesMissing, SourceBanned
from outlast.model.manifest import FileEntry
from outlast.model.status import Share, TransferStatus
from outlast.ops import payloads
from outlast.ops.choosing import (
    Candidate,
    Surroundings,
    best,
    candidates,
    cost_of,
    way_of,
)
from outlast.ops.contacts import Neighbour
from outlast.ops.lanes import Lane
from outlast.ops.node import TICK, Node
from outlast.ops.offers import SOON, Offers
from outlast.ops.transfer import open_lane
from outlast.ops.underway import Arriving
from outlast.ops.ways import TurnedError, Way
from outlast.ops.work import Job, Work
from outlast.sources.peer import MOST_BLOBS
from outlast.store import disk
from outlast.swarm.datagrams import want_key
from outlast.swarm.election import Role
from outlast.swarm.torrent import Torrent

_TINY: Final = 64 * 1024
"""Files of up to so many bytes are not worth an election."""
_LARGE: Final = 16 * PIECE
_SETTLE: Final = 0.4
_MOST_LANES: Final = 8
_CONNECTIONS: Final = 2
_FIRST_LOOK: Final = 3.0
"""Seconds that neighbours have for their first answer, before the origin is asked."""
_LOOK_AT: Final = SOON
_AHEAD: Final = MOST_BLOBS // 2
_LAYER_TIMEOUT: Final = 10.0
_LAST_WORDS: Final = 5.0
_SLOW: Final = 30.0
"""Seconds that the rest of a file may take before the origin is to help."""
_STUCK: Final = 15.0
_STALL: Final = 8.0
"""Seconds without a piece in a crowd after which those that have all are asked by HTTP too."""
_IDLE: Final = 6.0
"""Seconds without a byte from the origin after which another node should try."""
_REVIVE: Final = 20.0
_TELL_MISSING: Final = 30.0
_SMOOTH: Final = 3.0
_SWARM: Final = "swarm"


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """A node, and what of its surroundings may be used: nodes heard on the LAN, static peers, HTTP
    beside the swarm.
    """

    node: Node
    lan: bool = True
    static: bool = True
    http: bool = True

    def admits(self, neighbour: Neighbour) -> bool:
        return self.static if neighbour.static else self.lan

    def near(self) -> list[Neighbour]:
        """Who may be asked now."""
        return [
            neighbour for neighbour in self.node.contacts.neighbours() if self.admits(neighbour)
        ]


class _Course:
    """How a file has come so far."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.key = want_key(job.entry.sha256 or Digest.of(job.entry.key.encode()))
        self.began = time.monotonic()
        self.started = self.advanced = self.began
        self.had = self.pieces = 0
        self.stalled = False
        self.told = self.began
        self.held_since = self.began
        self.gave: dict[str, int] = {}
        self.total = 0
        self.rate = 0.0
        self.lacking = 0
        self.swarmed = 0
        self.connected: set[tuple[str, int]] = set()
        self.seeded = False
        self.torrent: Torrent | None = None

    def start(self) -> None:
        """Its arrival has begun, or begun again."""
        arrival = self.job.arrival
        self.started = self.advanced = self.told = time.monotonic()
        self.had = self.pieces = sum(arrival.partial.have) if arrival is not None else 0

    @property
    def given(self) -> dict[str, int]:
        """Bytes by source: those of lanes, and of peers in the swarm by their addresses."""
        found = {name: count for name, count in self.job.given.items() if name != _SWARM}
        for address, count in self.gave.items():
            name = f"swarm {address.rpartition(':')[0]}"
            found[name] = found.get(name, 0) + count
        rest = self.swarmed - sum(self.gave.values())
        return found | ({f"{_SWARM} (others)": rest} if rest > 0 else {})

    def measure(self, seconds: float) -> None:
        """Follows the rate, smoothed over some seconds."""
        total = sum(self.job.given.values())
        now = (total - self.total) / seconds
        self.total = total
        self.rate += (now - self.rate) * min(1.0, seconds / _SMOOTH)


class Gather:
    """A guide of `Work`. `restricted`: what is fetched is for static peers alone."""

    def __init__(self, around: Neighbourhood, work: Work, *, restricted: bool) -> None:
        self._around = around
        self._node = around.node
        self._work = work
        self._restricted = restricted
        self._offers = Offers(self._wake)
        self._courses: dict[Job, _Course] = {}
        self._trees: dict[Digest, Tree] = {}
        self._wrong: set[Digest] = set()
        self._bases: dict[Digest, Job] = {}
        self._news: set[bytes] = set()
        self._revived = time.monotonic()
        self._has_looked = False
        self._over = threading.Event()

    # The guide

    @property
    def http(self) -> bool:
        return self._around.http

    def begin(self, job: Job) -> None:
        """Returns when there is a way for a file; asks neighbours meanwhile."""
        course = self._course(job)
        self._tell(course)
        while not self._work.stop and not job.finished:
            self._work.check()
            way = self._decide(course, fetch_tree=True)
            if way.is_open and self._bases_here(way) and self._is_settled(course):
                job.way = way
                return
            with self._work.state:
                self._work.give_up_the_hopeless()
            with self._node.changed:
                self._node.changed.wait(TICK)

    def _is_settled(self, course: _Course) -> bool:
        """Whether others that began at the same moment had time to say so: if all of them asked
        for the beginning of a large file by HTTP, it would be sent as often.
        """
        if course.job.entry.size < _LARGE or self._crowd(course) or len(self._around.near()) < 2:
            return True
        return time.monotonic() - course.began > _SETTLE

    def joined(self, job: Job) -> None:
        """The node can tell others what it has of the file; and a swarm begins."""
        course = self._course(job)
        way, arrival = job.way, job.arrival
        course.start()
        if way.payload is not None and way.tree is not None and arrival is not None:
            have = arrival.partial.have
            self._node.under_way.note(
                Arriving(way.payload, job.entry.size, way.tree, lambda: sum(have))
            )
        if way.swarm:
            self._attach(course)

    def hopeful(self, job: Job) -> bool:
        """While somebody near has some of it, or wants it too, it may come."""
        course = self._courses.get(job)
        if course is None or not self._looked(course):
            return True
        return bool(self._offered(job.entry)) or job.way.swarm or self._crowd(course) > 0

    def distrust(self, job: Job, reason: str) -> bool:
        """Whoever named the payload is not asked again; the file comes another way."""
        payload = job.way.payload
        if payload is None:
            return False
        lanes = [  # who only fetches it has been told so too
            offer.lane
            for offer in self._offers.of(payload.blob)
            if offer.whole and (payload in offer.held.forms or offer.held.root == payload.root)
        ]
        self._offers.distrust(lanes, reason)
        for lane in lanes:
            self._work.emit(SourceBanned(lane, job.entry.path, reason))
        self._wrong.add(payload.root)
        return True

    # The loop

    def run(self) -> None:
        """Until the transfer ends."""
        self._node.guides.add(self)
        try:
            while not self._work.stop:
                self._look_around()
                for job in self._open_jobs():
                    self._steer(self._course(job))
                self._say()
                with self._work.state:
                    self._work.give_up_the_hopeless()
                    self._work.state.notify_all()
                with self._node.changed:
                    self._node.changed.wait(TICK)
        finally:
            self._node.guides.discard(self)
            self._say()  # of the last file too
            for course in self._courses.values():
                self._ended(course.job)
                if not course.job.done:
                    self._node.election.drop(course.key)
            self._over.set()

    def await_end(self) -> None:
        """After the transfer: returns when the neighbours were told of all that came."""
        self._over.wait(_LAST_WORDS)

    def _wake(self) -> None:
        with self._node.changed:
            self._node.changed.notify_all()

    def _open_jobs(self, most: int = _LOOK_AT) -> list[Job]:
        with self._work.state:
            jobs = itertools.islice(self._work.jobs, self._work.first_open, None)
            return list(itertools.islice((job for job in jobs if not job.finished), most))

    def _course(self, job: Job) -> _Course:
        course = self._courses.get(job)
        if course is None:
            course = self._courses.setdefault(job, _Course(job))
        return course

    def _look_around(self) -> None:
        near = self._around.near()
        self._offers.hurry(self._news)
        self._news.clear()
        self._offers.ask(near, self._wanted)
        self._has_looked = True
        for lane in self._useful(near):
            open_lane(self._work, lane, _CONNECTIONS)
        self._revive()

    def _wanted(self) -> Sequence[Digest]:
        jobs = self._open_jobs(_AHEAD)
        # Those that wait for a way are asked for wherever they stand: they came by first.
        waiting = [job for job in jobs if job.started and not job.small]
        ordered = [*waiting, *jobs[:_LOOK_AT], *jobs]
        found = [job.entry.sha256 for job in ordered if job.entry.sha256 is not None]
        first, rest = found[: len(waiting)], found[len(waiting) :]
        return list(dict.fromkeys((*first, *self._offers.bases(), *rest)))

    def _useful(self, near: Sequence[Neighbour]) -> list[Lane]:
        """New lanes to neighbours that have something."""
        if not self._around.http:
            return []
        wanted = [job.entry.sha256 for job in self._open_jobs() if job.entry.sha256 is not None]
        names = {offer.lane for blob in wanted for offer in self._offers.of(blob) if offer.whole}
        with self._work.state:
            lanes = {lane.name: lane for lane in self._work.lanes if lane.is_peer}
            alive = sum(lane.lost is None for lane in lanes.values())
            fresh = [n for n in near if n.source.name in names and n.source.name not in lanes]
            return [self._work.add_lane(n.source) for n in fresh[: max(0, _MOST_LANES - alive)]]

    def _revive(self) -> None:
        """A source that was lost may be back, while others keep the transfer going."""
        now = time.monotonic()
        if now - self._revived < _REVIVE:
            return
        self._revived = now
        with self._work.state:
            lost = [
                lane
                for lane in self._work.lanes
                if isinstance(lane.lost, TransientError) and not lane.banned
            ]
            for lane in lost:
                lane.revive()
        for lane in lost:
            open_lane(self._work, lane, _CONNECTIONS)

    # Deciding

    def _looked(self, course: _Course) -> bool:
        """Whether the neighbours that are known had their chance to say what they have of a file,
        and of what that leans on.
        """
        if time.monotonic() - course.began > _FIRST_LOOK:
            return True
        blob = course.job.entry.sha256
        if self._node.contacts.expects() or not self._has_looked:
            return False
        if blob is None:
            return True
        return self._offers.knows(blob) and all(
            self._offers.knows(base.sha256)
            for offer in self._offers.of(blob)
            for payload in offer.held.forms
            for base in payload.bases
        )

    def _crowd(self, course: _Course) -> int:
        return 0 if self._restricted else self._node.election.crowd(course.key, time.monotonic())

    def _has_origin(self) -> bool:
        return any(not lane.is_peer and lane.lost is None for lane in self._work.lanes)

    def _surroundings(self, course: _Course) -> Surroundings:
        return Surroundings(
            crowd=self._crowd(course),
            holds=self._holds(course),
            origin=self._has_origin(),
            http=self._around.http,
            capsules=self._work.intake.wishes.leans and self._work.watch is None,
            slow=self._is_slow(course),
            stalled=course.stalled,
            wrong=frozenset(self._wrong),
        )

    def _holds(self, course: _Course) -> bool:
        """Whether the origin is this node's task. A file that is not worth an election is."""
        if not self._elects(course):
            return True
        state = self._node.election.state(course.key, time.monotonic())
        if state.role is Role.TAKE:
            self._news.update(state.nodes)
        return state.role is Role.HOLD

    def _elects(self, course: _Course) -> bool:
        """Whether one node is to fetch the file for all. Not one that a hub names by its git id
        alone: nobody could ask the others for it, so it would never come.
        """
        entry = course.job.entry
        worth = entry.size > _TINY and entry.sha256 is not None
        return worth and not self._restricted and self._node.elects

    def _is_slow(self, course: _Course) -> bool:
        arrival = course.job.arrival
        took = time.monotonic() - course.started
        if arrival is None or took < _STUCK / 3:
            return False
        here = sum(arrival.partial.have)
        came = here - course.had
        return came <= 0 or (arrival.count - here) * took / came > _SLOW

    def _offered(self, entry: FileEntry) -> list[Candidate]:
        return [] if entry.sha256 is None else candidates(entry, self._offers.of(entry.sha256))

    def _decide(self, course: _Course, *, fetch_tree: bool) -> Way:
        entry = course.job.entry
        if not self._looked(course):
            return Way(origin=False)
        around = self._surroundings(course)
        found = self._offered(entry)
        chosen = best(found, around, self._cost())
        if chosen is None:
            return way_of(None, None, around)
        tree = self._tree(chosen, fetch=fetch_tree)
        if tree is None and not chosen.payload.is_plain:
            plain = [one for one in found if one.payload.is_plain]
            chosen = best(plain, around, self._cost())
            tree = self._tree(chosen, fetch=fetch_tree) if chosen is not None else None
        return way_of(chosen, tree, around)

    def _cost(self) -> Callable[[Payload], int | None]:
        def price(base: BaseRef) -> int | None:
            with self._work.state:
                jobs = [job for job in self._work.jobs if job.entry.sha256 == base.sha256]
            if any(job.error is not None for job in jobs):
                return None
            if any(not job.aside for job in jobs):
                return 0
            there = [o.held for o in self._offers.of(base.sha256) if o.whole]
            forms = (form.size for held in there for form in held.forms if not form.bases)
            return min((base.size, *forms)) if there or jobs else None

        return cost_of(self._work.archive.has, price)

    def _bases_here(self, way: Way) -> bool:
        """Whether all that a thin capsule leans on is here; what is not is fetched first."""
        here = True
        for base in way.payload.bases if way.payload is not None else ():
            if self._work.writer.claim(base.sha256, base.size):
                continue
            here = False
            self._fetch_base(base.sha256, base.size)
        return here

    def _fetch_base(self, blob: Digest, size: int) -> None:
        with self._work.state:
            if blob in self._bases or any(j.entry.sha256 == blob for j in self._work.jobs):
                return
            entry = FileEntry(f"(base {blob.short})", size, sha256=blob)
            job = self._bases[blob] = Job(entry, aside=True)
            job.way = Way(origin=False)
            # Before those that wait for it: of them only so many are looked at.
            self._work.jobs.insert(self._work.first_open, job)
            self._work.unfinished += 1
            self._work.state.notify_all()

    def _tree(self, chosen: Candidate, *, fetch: bool) -> Tree | None:
        """The tree of a payload, asked of those who named it; checked against the root."""
        payload = chosen.payload
        known = self._trees.get(payload.root)
        if known is not None or not fetch:
            return known
        offers = self._offers.of(payload.blob)
        for offer in sorted(offers, key=lambda offer: payload not in offer.held.forms):
            neighbour = self._offers.neighbour(offer.lane)
            if neighbour is None:
                continue
            try:
                tree = neighbour.source.layer(payload.root, payload.size, _LAYER_TIMEOUT)
            except OutlastError:
                continue
            self._trees[payload.root] = tree
            return tree
        return None

    # Steering what is under way

    def _steer(self, course: _Course) -> None:
        job = course.job
        if job.small:
            job.way = self._decide(course, fetch_tree=False)
            return
        arrival = job.arrival
        if arrival is None:
            return
        self._account(course)
        if arrival.swarm is not None and course.torrent is not None:
            _check(course.torrent, arrival.partial.path)
        way = self._decide(course, fetch_tree=False)
        if way.payload != job.way.payload:
            if job.way.payload is None or not self._is_stuck(course, way):
                way = self._same_payload(course)
            else:
                arrival.fail(TurnedError("another payload"))
                return
        job.way = way
        if way.swarm and arrival.torn:
            arrival.detach()
        if way.swarm:
            self._attach(course)
            self._connect(course)
        elif arrival.swarm is not None:
            arrival.detach()

    def _same_payload(self, course: _Course) -> Way:
        """The way that a file comes by now, with whom it may be asked of brought up to date."""
        job = course.job
        payload = job.way.payload
        around = self._surroundings(course)
        if payload is None:
            return way_of(None, None, around)
        found = [c for c in self._offered(job.entry) if c.payload == payload]
        chosen = found[0] if found else Candidate(payload, frozenset(), 0)
        return way_of(chosen, job.way.tree, around)

    def _is_stuck(self, course: _Course, other: Way) -> bool:
        """Whether what is fetched does not come any more, and something else would."""
        return other.is_open and time.monotonic() - course.advanced > _STUCK

    def _attach(self, course: _Course) -> None:
        job, arrival = course.job, course.job.arrival
        tree = job.way.tree
        if arrival is None or tree is None or arrival.swarm is not None:
            return
        near = self._around.near()
        static = [n.tracker for n in near if n.static][:_MOST_LANES]
        trackers = [*self._node.settings.trackers, *static]
        partial = arrival.partial
        course.connected.clear()

        def join(wrote: Callable[[list[int]], None]) -> Torrent:
            course.torrent = self._node.session.fetch(
                *(tree, partial.path, partial.have, wrote),
                restricted=self._restricted,
                trackers=trackers,
                in_order=self._work.watch is not None,
            )
            return course.torrent

        arrival.attach(join)
        self._connect(course)

    def _connect(self, course: _Course) -> None:
        """Tells the swarm of the neighbours; again and again, for they come and go."""
        if course.torrent is None:
            return
        if self._elects(course):
            others = self._node.election.wanting(course.key, time.monotonic())
            crowd = sorted((self._node.id, *others))
            course.torrent.take_stripe(crowd.index(self._node.id), len(crowd))
        near = {n.swarm_address for n in self._around.near()}
        course.torrent.connect(near - course.connected)
        course.connected = near

    def _account(self, course: _Course) -> None:
        """What the swarm brought, and from whom; and whether anything came at all."""
        arrival, now = course.job.arrival, time.monotonic()
        if arrival is None:
            return
        torrent = course.torrent
        if torrent is not None:
            self._count(course, torrent)
        course.measure(TICK)
        pieces = sum(arrival.partial.have)
        if pieces != course.pieces:
            course.pieces, course.advanced, course.lacking = pieces, now, 0
            return
        course.stalled |= now - course.advanced > _STALL
        if now - max(course.advanced, course.told) > _STUCK / 3:
            self._tell_missing(course)

    def _count(self, course: _Course, torrent: Torrent) -> None:
        """Who gave how much."""
        for peer in torrent.peers():
            course.gave[peer.address] = max(peer.down, course.gave.get(peer.address, 0))
        # Of one that came and went between two looks only the sum tells.
        total = max(torrent.view().down, sum(course.gave.values()))
        if total > course.swarmed:
            course.stalled = False
            self._work.progress(course.job, total - course.swarmed, _SWARM)
            course.swarmed = total

    def _tell_missing(self, course: _Course) -> None:
        """Nothing comes: says which pieces nobody has."""
        arrival, torrent = course.job.arrival, course.torrent
        if arrival is None or torrent is None or arrival.swarm is not torrent:
            return
        course.told = time.monotonic() + _TELL_MISSING
        around = torrent.availability() or [0] * arrival.count
        nowhere = [index for index in arrival.missing() if not around[index]]
        course.lacking = len(nowhere)
        if nowhere:
            self._work.emit(PiecesMissing(course.job.entry.path, len(nowhere), _ranges(nowhere)))

    # Saying

    def _say(self) -> None:
        """Where this node stands with each file, for the election and the others."""
        for course in list(self._courses.values()):
            job = course.job
            if job.done and not course.seeded:
                course.seeded = True
                self._account(course)
                self._hand_on(course)
                self._ended(job)
                self._node.came(course.key)
            if not job.finished:
                self._note_standing(course)
        self._node.speak()

    def _tell(self, course: _Course) -> None:
        """The same of one that has just begun, at once."""
        self._note_standing(course)
        self._node.speak()

    def _note_standing(self, course: _Course) -> None:
        if not self._elects(course):
            return
        job, election = course.job, self._node.election
        enough = any(c.whole for c in self._offered(job.entry)) and not self._is_slow(course)
        now = time.monotonic()
        election.want(course.key, now, able=self._has_origin() and not enough)
        if self._is_idle(course, now):
            election.resign(course.key, now)
        if job.arrival is not None and job.way.is_plain:
            election.progress(course.key, course.pieces * PIECE)

    def _is_idle(self, course: _Course, now: float) -> bool:
        """Whether the origin gives nothing though the task is this node's: it may be a mirror that
        waits for another of the nodes to hold the file.
        """
        if self._node.election.state(course.key, now).role is not Role.HOLD:
            course.held_since = now
            return False
        heard = max((lane.heard for lane in self._work.lanes if not lane.is_peer), default=0.0)
        return now - max(course.held_since, heard) > _IDLE

    def _hand_on(self, course: _Course) -> None:
        """What just came is offered at once: others may wait for it."""
        blob = course.job.entry.sha256
        held = payloads.held(self._work.archive, blob) if blob is not None else ()
        for payload in held:
            self._node.seed(payload, restricted=self._restricted, peers=course.connected)

    def statuses(self) -> list[TransferStatus]:
        """Of the files that are under way, or waited for."""
        return [self._status(course) for course in list(self._courses.values())]

    def _status(self, course: _Course) -> TransferStatus:
        job, arrival, view = course.job, course.job.arrival, None
        if course.torrent is not None and arrival is not None and arrival.swarm is not None:
            view = course.torrent.view()
        payload = job.way.payload
        size = payload.size if payload is not None else job.entry.size
        here = sum(arrival.partial.have) if arrival is not None else 0
        return TransferStatus(
            repo=str(self._work.repo),
            path=job.entry.path,
            blob=job.entry.key,
            form=payload.form.value if payload is not None else Form.PLAIN.value,
            state=_state(job),
            size=size,
            have=size if job.done else min(size, here * PIECE),
            pieces=piece_count(size),
            lacking=course.lacking,
            holder=job.way.origin and job.way.is_plain and not job.finished,
            down_rate=course.rate,
            up_rate=float(view.up_rate) if view is not None else 0.0,
            sources=tuple(Share(name, count) for name, count in sorted(course.given.items())),
        )

    def _ended(self, job: Job) -> None:
        if job.way.payload is not None:
            self._node.under_way.forget(job.way.payload)

    def shares(self) -> dict[str, int]:
        """How many bytes each peer gave through the swarm, by address."""
        found: dict[str, int] = {}
        for course in self._courses.values():
            for name, count in course.given.items():
                if name.startswith("swarm "):
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


def _state(job: Job) -> str:
    if job.error is not None:
        return "failed"
    if job.done:
        return "seeding"
    if job.arrival is None:
        return "waiting"
    return "verifying" if all(job.arrival.partial.have) else "fetching"


def _ranges(pieces: Sequence[int], most: int = 8) -> str:
    """``0-3, 7``: the first runs of some numbers in order."""
    runs: list[list[int]] = []
    for piece in pieces:
        if runs and runs[-1][1] == piece - 1:
            runs[-1][1] = piece
        else:
            runs.append([piece, piece])
    text = ", ".join(f"{a}-{b}" if a != b else str(a) for a, b in runs[:most])
    return text + (", …" if len(runs) > most else "")
