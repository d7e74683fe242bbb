"""Takes the snapshot of one file that a decision looks at, from all that knows something of it."""

import time
from collections.abc import Iterable

from outlast.codec.format import BaseRef
from outlast.codec.merkle import Tree
from outlast.core.digest import Digest
from outlast.core.manifest import FileEntry
from outlast.fetch.transfer import Work
from outlast.node.scope import Neighbourhood
from outlast.p2p.availability import Availability
from outlast.p2p.progress import FileProgress
from outlast.p2p.strategy import Candidate, Snapshot, SourceView, candidates
from outlast.p2p.tuning import Tuning
from outlast.swarm.lan.election import Role, State


class Observer:
    """Looks at a transfer's surroundings; changes nothing. `restricted`: what is fetched is for
    static peers alone.
    """

    def __init__(
        self,
        around: Neighbourhood,
        work: Work,
        availability: Availability,
        *,
        restricted: bool,
        tuning: Tuning,
    ) -> None:
        self._around = around
        self._node = around.node
        self._work = work
        self._availability = availability
        self._restricted = restricted
        self._tuning = tuning
        self._names: dict[bytes, str] = {}
        self.silent: set[str] = set()
        """The names of peers that were asked for a file and sent next to nothing: as long as an
        origin can be asked they are not."""

    def snapshot(self, progress: FileProgress) -> Snapshot:
        """All that a decision about a file may look at, as it is now."""
        job = progress.job
        found = self.candidates(progress)
        capsules = self._work.intake.wishes.uses_bases and self._work.watch is None
        elects = self.elects(job.entry)
        state = self.election(progress) if elects else State(Role.FETCH)
        return Snapshot(
            candidates=tuple(found),
            trees=self.trees(found),
            rejected=self._availability.rejected,
            base_costs=self._base_costs(found) if capsules else {},
            answered=self.has_looked(progress),
            crowd=self.crowd(progress),
            elects=elects,
            role=state.role,
            owners=state.nodes if state.role is Role.TAKE else (),
            fetcher=self._name(state.nodes[0]) if state.nodes else "",
            origin=self.has_origin and not job.aside,
            http=self._around.http,
            capsules=capsules,
            slow=progress.is_slow,
            overdue=progress.overdue,
            stalled=progress.is_stalled,
            sources=self._sources(),
        )

    # The neighbours

    def has_looked(self, progress: FileProgress) -> bool:
        """Whether the neighbours that are known had time to say what they have of a file, and of
        the bases that it needs.
        """
        if progress.age > self._tuning.first_look:
            return True
        blob = progress.job.entry.sha256
        if self._node.contacts.expects() or not self._availability.has_asked:
            return False
        return blob is None or self._availability.has_answered_all(blob)

    def has_asked_all(self, progress: FileProgress) -> bool:
        """Whether those that are there now have said whether they have some of a file."""
        blob = progress.job.entry.sha256
        answered = blob is None or self._availability.has_answered(blob)
        return answered and self.has_looked(progress)

    def candidates(self, progress: FileProgress) -> list[Candidate]:
        """The payloads of a file that neighbours offer, but for those that sent nothing of it."""
        entry, now = progress.job.entry, time.monotonic()
        if entry.sha256 is None:
            return []
        silent = {name for name, until in progress.passed_over.items() if until > now}
        if self.has_origin:
            silent |= self.silent
        offers = self._availability.offers(entry.sha256)
        return candidates(entry, [offer for offer in offers if offer.source not in silent])

    def trees(self, found: Iterable[Candidate]) -> dict[Digest, Tree]:
        """The trees of these payloads that are known, by root."""
        known = self._availability.trees
        roots = (candidate.payload.root for candidate in found)
        return {root: known[root] for root in roots if root in known}

    def offerers(self, progress: FileProgress) -> frozenset[str]:
        """The names of all sources that have, or had, some of a file."""
        blob = progress.job.entry.sha256
        offers = self._availability.offers(blob) if blob is not None else []
        return progress.see_offerers([offer.source for offer in offers])

    def refusing(self, key: str) -> set[str]:
        """The names of the sources that will not give a file, or lied."""
        with self._work.state:
            refusing = {source.name for source in self._work.sources if source.refuses(key)}
        return refusing | self._availability.liars

    def address_of(self, source: str) -> str:
        """The address of the neighbour that is this source."""
        near = self._node.contacts.neighbours()
        return next((n.host for n in near if n.source.name == source), source)

    def _name(self, node: bytes) -> str:
        """The address of a node; the start of its id if it is no neighbour that answered."""
        if node not in self._names:
            near = self._node.contacts.neighbours()
            self._names = {neighbour.node: neighbour.host for neighbour in near}
        return self._names.get(node) or f"node {node.hex()[:12]}"

    # The election

    def elects(self, entry: FileEntry) -> bool:
        """Whether one node is to fetch a file for all. Not a file that a hub names by its git id
        alone: the other nodes could not be asked for it, so it would never come.
        """
        worth = entry.size > self._tuning.tiny_file and entry.sha256 is not None
        return worth and not self._restricted and self._node.elects

    def election(self, progress: FileProgress) -> State:
        return self._node.election.state(progress.key, time.monotonic())

    def crowd(self, progress: FileProgress) -> int:
        """How many other nodes want a file now."""
        if self._restricted:
            return 0
        return self._node.election.count_wanting(progress.key, time.monotonic())

    # The sources

    @property
    def has_origin(self) -> bool:
        """Whether a hub or mirror can be asked."""
        return any(not source.is_peer and source.lost is None for source in self._work.sources)

    def has_origin_of(self, key: str) -> bool:
        """Whether a hub or mirror can be asked for the file `key`."""
        with self._work.state:
            return any(not s.is_peer and s.serves(key) for s in self._work.sources)

    @property
    def origin_heard(self) -> float:
        """When the last byte came from a hub or mirror (monotonic seconds)."""
        return max((s.heard for s in self._work.sources if not s.is_peer), default=0.0)

    def _sources(self) -> tuple[SourceView, ...]:
        now = time.monotonic()
        with self._work.state:
            return tuple(
                SourceView(s.name, s.is_peer, s.not_before if s.not_before > now else 0.0)
                for s in self._work.sources
                if s.lost is None
            )

    # Bases

    def _base_costs(self, found: Iterable[Candidate]) -> dict[BaseRef, int | None]:
        bases = {base for candidate in found for base in candidate.payload.bases}
        return {base: self._base_cost(base) for base in bases}

    def _base_cost(self, base: BaseRef) -> int | None:
        """The bytes that a base takes: 0 if it is here or comes anyhow, None if it cannot come."""
        if self._work.archive.has(base.sha256, base.size):
            return 0
        with self._work.state:
            jobs = [job for job in self._work.jobs if job.entry.sha256 == base.sha256]
        if any(job.error is not None for job in jobs):
            return None
        if any(not job.aside for job in jobs):
            return 0
        there = [offer.held for offer in self._availability.offers(base.sha256) if offer.whole]
        sizes = (form.size for held in there for form in held.forms if not form.bases)
        return min((base.size, *sizes)) if there or jobs else None
