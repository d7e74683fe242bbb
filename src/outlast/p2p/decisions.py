"""Deciding how the files of a transfer come, by what the neighbours say and want."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Final

from outlast.codec.format import BaseRef
from outlast.codec.merkle import Tree
from outlast.codec.payload import Payload
from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError, OutlastError
from outlast.core.events import SourceBanned
from outlast.core.manifest import FileEntry
from outlast.fetch.plan import FetchPlan
from outlast.fetch.transfer import Job, Work
from outlast.node.scope import Neighbourhood
from outlast.p2p.availability import SOON, Offers
from outlast.p2p.progress import Course
from outlast.p2p.strategy import Candidate, Surroundings, best, candidates, cost_of, plan_for
from outlast.sources.peer import MOST_BLOBS
from outlast.swarm.lan.election import Role

_TINY: Final = 64 * 1024
"""Files of up to so many bytes are not worth an election."""
_FIRST_LOOK: Final = 3.0
"""Seconds that neighbours have for their first answer, before the origin is asked."""
_AHEAD: Final = MOST_BLOBS // 2
_LAYER_TIMEOUT: Final = 10.0


class Deciding:
    """What is known of a transfer's files in the neighbourhood, and what follows from it."""

    def __init__(
        self,
        around: Neighbourhood,
        work: Work,
        changed: Callable[[], None],
        *,
        restricted: bool,
    ) -> None:
        """`changed` is called, from any thread, when a neighbour answered."""
        self._around = around
        self._node = around.node
        self._work = work
        self._restricted = restricted
        self.offers = Offers(changed)
        self.news: set[bytes] = set()
        """The nodes that say to have something that is waited for."""
        self.has_looked = False
        self._trees: dict[Digest, Tree] = {}
        self._wrong: set[Digest] = set()
        self._liars: set[str] = set()
        self._bases: dict[Digest, Job] = {}

    def wanted(self) -> Sequence[Digest]:
        jobs = self.open_jobs(_AHEAD)
        # Those that wait for a way are asked for wherever they stand: they came by first.
        waiting = [job for job in jobs if job.started and not job.small]
        ordered = [*waiting, *jobs[:SOON], *jobs]
        found = [job.entry.sha256 for job in ordered if job.entry.sha256 is not None]
        first, rest = found[: len(waiting)], found[len(waiting) :]
        return list(dict.fromkeys((*first, *self.offers.bases(), *rest)))

    def looked(self, course: Course) -> bool:
        """Whether the neighbours that are known had their chance to say what they have of a file,
        and of what that leans on.
        """
        if time.monotonic() - course.began > _FIRST_LOOK:
            return True
        blob = course.job.entry.sha256
        if self._node.contacts.expects() or not self.has_looked:
            return False
        if blob is None:
            return True
        return self.offers.knows(blob) and all(
            self.offers.knows(base.sha256)
            for offer in self.offers.of(blob)
            for payload in offer.held.forms
            for base in payload.bases
        )

    def asked_all(self, course: Course) -> bool:
        """Whether those that are there now have said whether they have some of a file."""
        blob = course.job.entry.sha256
        return self.looked(course) and (blob is None or self.offers.knows(blob))

    def was_offered(self, course: Course) -> bool:
        """Whether somebody has, or had, some of a file, and may give it."""
        key, blob = course.job.entry.key, course.job.entry.sha256
        if blob is not None:
            course.offerers.update(offer.source for offer in self.offers.of(blob))
        with self._work.state:
            refusing = {source.name for source in self._work.sources if source.refuses(key)}
        return not course.offerers <= refusing | self._liars

    def crowd(self, course: Course) -> int:
        return (
            0
            if self._restricted
            else self._node.election.count_wanting(course.key, time.monotonic())
        )

    def has_origin(self) -> bool:
        return any(not source.is_peer and source.lost is None for source in self._work.sources)

    def _surroundings(self, course: Course) -> Surroundings:
        return Surroundings(
            crowd=self.crowd(course),
            holds=self._holds(course),
            origin=self.has_origin() and not course.job.aside,
            http=self._around.http,
            capsules=self._work.intake.wishes.leans and self._work.watch is None,
            slow=course.is_slow,
            stalled=course.stalled,
            wrong=frozenset(self._wrong),
        )

    def _holds(self, course: Course) -> bool:
        """Whether the origin is this node's task. A file that is not worth an election is."""
        if not self.elects(course):
            return True
        state = self._node.election.state(course.key, time.monotonic())
        if state.role is Role.TAKE:
            self.news.update(state.nodes)
        return state.role is Role.FETCH

    def elects(self, course: Course) -> bool:
        """Whether one node is to fetch the file for all. Not one that a hub names by its git id
        alone: nobody could ask the others for it, so it would never come.
        """
        entry = course.job.entry
        worth = entry.size > _TINY and entry.sha256 is not None
        return worth and not self._restricted and self._node.elects

    def offered(self, entry: FileEntry) -> list[Candidate]:
        return [] if entry.sha256 is None else candidates(entry, self.offers.of(entry.sha256))

    def decide(self, course: Course, *, fetch_tree: bool) -> FetchPlan:
        entry = course.job.entry
        if not self.looked(course):
            return FetchPlan(origin=False)
        around = self._surroundings(course)
        found = self.offered(entry)
        chosen = best(found, around, self._cost())
        if chosen is None:
            return plan_for(None, None, around)
        tree = self._tree(chosen, fetch=fetch_tree)
        if tree is None and not chosen.payload.is_plain:
            plain = [one for one in found if one.payload.is_plain]
            chosen = best(plain, around, self._cost())
            tree = self._tree(chosen, fetch=fetch_tree) if chosen is not None else None
        return plan_for(chosen, tree, around)

    def same_payload(self, course: Course) -> FetchPlan:
        """The way that a file comes by now, with whom it may be asked of brought up to date."""
        job = course.job
        payload = job.plan.payload
        around = self._surroundings(course)
        if payload is None:
            return plan_for(None, None, around)
        found = [c for c in self.offered(job.entry) if c.payload == payload]
        chosen = found[0] if found else Candidate(payload, frozenset(), 0)
        return plan_for(chosen, job.plan.tree, around)

    def _cost(self) -> Callable[[Payload], int | None]:
        def price(base: BaseRef) -> int | None:
            with self._work.state:
                jobs = [job for job in self._work.jobs if job.entry.sha256 == base.sha256]
            if any(job.error is not None for job in jobs):
                return None
            if any(not job.aside for job in jobs):
                return 0
            there = [o.held for o in self.offers.of(base.sha256) if o.whole]
            forms = (form.size for held in there for form in held.forms if not form.bases)
            return min((base.size, *forms)) if there or jobs else None

        return cost_of(self._work.archive.has, price)

    def bases_here(self, plan: FetchPlan) -> bool:
        """Whether all that a thin capsule leans on is here; what is not is fetched first."""
        here = True
        for base in plan.payload.bases if plan.payload is not None else ():
            if self._work.writer.lease(base.sha256, base.size):
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
            job.plan = FetchPlan(origin=False)
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
        offers = self.offers.of(payload.blob)
        for offer in sorted(offers, key=lambda offer: payload not in offer.held.forms):
            neighbour = self.offers.neighbour(offer.source)
            if neighbour is None:
                continue
            try:
                tree = neighbour.source.layer(payload.root, payload.size, _LAYER_TIMEOUT)
            except OutlastError:
                continue
            self._trees[payload.root] = tree
            return tree
        return None

    def open_jobs(self, most: int = SOON) -> list[Job]:
        with self._work.state:
            jobs = itertools.islice(self._work.jobs, self._work.first_open, None)
            return list(itertools.islice((job for job in jobs if not job.finished), most))

    def reject_payload(self, job: Job, reason: str) -> bool:
        """Whoever named the payload is not asked again; the file comes another way."""
        payload = job.plan.payload
        if payload is None:
            return False
        sources = [  # who only fetches it has been told so too
            offer.source
            for offer in self.offers.of(payload.blob)
            if offer.whole and (payload in offer.held.forms or offer.held.root == payload.root)
        ]
        self.offers.reject_payload(sources, reason)
        self._liars.update(sources)
        with self._work.state:
            known = {source.name: source for source in self._work.sources}
            for name in sources:
                if name in known:
                    known[name].ban(IntegrityError(reason), job.entry.path)
                else:
                    self._work.emit(SourceBanned(name, job.entry.path, reason))
            self._work.state.notify_all()
        self._wrong.add(payload.root)
        return True
