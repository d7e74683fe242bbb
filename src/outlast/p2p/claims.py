"""What becomes of a file that others say they fetch, or have, when nothing of it comes.

They are believed while they show that it is so (`p2p.proofs`, `p2p.patience`). Then they are passed
over, a person is told, and this node asks the origin.
"""

import time
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue

from outlast.core.errors import NotArchivedError
from outlast.core.events import PeerPassedOver
from outlast.fetch.plan import DIRECT
from outlast.fetch.transfer import Work
from outlast.node.peers import Neighbour
from outlast.node.scope import Neighbourhood
from outlast.p2p.patience import Takeover, WaitingFile
from outlast.p2p.progress import FileProgress
from outlast.p2p.proofs import Prover
from outlast.p2p.snapshot import Observer
from outlast.p2p.tuning import Tuning
from outlast.swarm.lan.election import UNPROVEN_S, FetchClaim, Role, score


class ClaimWatch:
    """Belongs to the thread of the coordinator."""

    def __init__(
        self, around: Neighbourhood, work: Work, observer: Observer, *, tuning: Tuning
    ) -> None:
        self._node = around.node
        self._around = around
        self._work = work
        self._observer = observer
        self._tuning = tuning
        self._prover = Prover(work, tuning)
        self._verdicts: SimpleQueue[tuple[FileProgress, FetchClaim, bool]] = SimpleQueue()
        self._takeover = Takeover(tuning)
        self._born = time.monotonic()
        self._told: set[tuple[str, str]] = set()

    def look(self, files: Sequence[FileProgress]) -> None:
        """Decides for the `files` that are not finished, several times a second."""
        now = time.monotonic()
        self._take_verdicts(now)
        least = self._least_bytes()
        waiting = [progress for progress in files if self._waits(progress, now, least)]
        idle = now - max(self._born, self._observer.origin_heard)
        late = []
        near = {neighbour.node: neighbour for neighbour in self._around.near()}
        for progress in waiting:
            self._miss_proven(progress, now)
            if progress.overdue or progress.patience.waited(now) >= self._tuning.proof_after:
                claims = self._claims(progress, now)
                if idle >= self._tuning.proof_after or progress.overdue:
                    self._seek_proof(progress, claims, near, now)
                self._tell_unreached(progress, claims, near, now)
                if not progress.overdue:
                    late.append((progress, claims, self._state(progress, claims, near, now)))
        for number in self._takeover.choose([state for _, _, state in late], idle):
            progress, claims, _ = late[number]
            self._take(progress, claims, now)

    # Whether it waits

    def _waits(self, progress: FileProgress, now: float, least: int) -> bool:
        """Whether it might wait for others in vain."""
        job, patience = progress.job, progress.patience
        if job.small:
            patience.begin(now)
        patience.see(progress.arrived, now, least)
        if progress.is_complete or progress.is_queued or job.locked_since:
            patience.restart(now)
        if job.aside:
            self._give_up_base(progress, now)
            return False
        if progress.overdue:
            self._yield(progress, now)
        elif job.plan.origin:
            patience.restart(now)
        return self._observer.has_origin_of(job.entry.key)

    def _least_bytes(self) -> int:
        """The bytes that are enough, where rate limits let through no more."""
        rates, tuning = self._node.rates, self._tuning
        limits = [rate for rate in (self._work.rate, rates.lan_down, rates.down) if rate > 0]
        share = [int(rate * tuning.patience / tuning.rate_share) for rate in limits]
        return max(1, min((tuning.least_bytes, *share)))

    def _give_up_base(self, progress: FileProgress, now: float) -> None:
        """No origin is asked for the base of a delta capsule: without it the file comes in another
        form.
        """
        late = progress.patience.waited(now) >= self._tuning.base_patience
        if late and self._observer.has_origin:
            with self._work.state:
                self._work.fail(progress.job, NotArchivedError("no peer sends the base"))

    def _yield(self, progress: FileProgress, now: float) -> None:
        """Another node that proved itself has the file, or fetches it and is before this one in
        rank.
        """
        if self._observer.elects(progress.job.entry):
            state = self._observer.election(progress)
            if state.role in {Role.WAIT, Role.TAKE} and state.nodes:
                progress.overdue = False
                progress.patience.restart(now)

    # Proofs

    def _miss_proven(self, progress: FileProgress, now: float) -> None:
        """Begins to wait anew if a node that had proved itself is gone, or has the file now: the
        others elect another one, or begin to take it.
        """
        if not progress.proven:
            return
        fetching = {claim.node for claim in self._claims(progress, now) if not claim.has}
        if not progress.proven <= fetching:
            progress.proven &= fetching
            progress.patience.lose(now)

    def _claims(self, progress: FileProgress, now: float) -> list[FetchClaim]:
        if not self._observer.elects(progress.job.entry):
            return []
        return self._node.election.claims(progress.key, now)

    def _seek_proof(
        self,
        progress: FileProgress,
        claims: Sequence[FetchClaim],
        near: Mapping[bytes, Neighbour],
        now: float,
    ) -> None:
        """Asks those that fetch it: the one that the election names, then those that say so for
        longest.
        """
        fetching = [claim for claim in claims if not claim.has and claim.node in near]
        wanted = progress.wants_rivals(now) or progress.patience.wants_proof(now)
        if not fetching or not wanted:
            return
        named = self._observer.election(progress).nodes
        fetching.sort(key=lambda claim: (claim.node not in named, claim.since))
        for claim in fetching[: self._tuning.proofs_of_file]:
            self._ask(near[claim.node], progress, claim)

    def _ask(self, neighbour: Neighbour, progress: FileProgress, claim: FetchClaim) -> None:
        def judged(proved: bool) -> None:
            self._verdicts.put((progress, claim, proved))
            self._node.wake()

        self._prover.ask(neighbour, progress.job, judged)

    def _take_verdicts(self, now: float) -> None:
        """What those that were asked for a proof have shown."""
        election = self._node.election
        while True:
            try:
                progress, claim, proved = self._verdicts.get_nowait()
            except Empty:
                return
            if not proved:
                election.shun(claim.node, progress.key, now)
                self._tell(progress, {"fetches": {claim.address}})
                continue
            progress.patience.prove(now)
            progress.proven.add(claim.node)
            self._takeover.reset()
            # As long as it is waited for: then it has to show more.
            seconds = progress.patience.trust + self._tuning.patience
            election.vouch(claim.node, progress.key, now, seconds=seconds)

    # Passing over

    def _state(
        self,
        progress: FileProgress,
        claims: Sequence[FetchClaim],
        near: Mapping[bytes, Neighbour],
        now: float,
    ) -> WaitingFile:
        waited = progress.patience.waited(now)
        fetching = [claim for claim in claims if not claim.has and claim.node in near]
        newcomer = any(claim.since > now - waited for claim in fetching)
        return WaitingFile(waited, score(self._node.id, progress.key), newcomer)

    def _take(self, progress: FileProgress, claims: Sequence[FetchClaim], now: float) -> None:
        """This node asks the origin for a file itself."""
        election, seconds = self._node.election, self._tuning.passed_over
        holders = [claim for claim in claims if claim.has]
        offered = {name for one in self._observer.candidates(progress) for name in one.whole}
        progress.overdue = True
        if not progress.is_queued:  # what is asked of them may never come: they get no other work
            self._observer.silent |= progress.job.plan.peers
        progress.passed_over |= dict.fromkeys(offered, now + seconds)
        for claim in holders:
            election.shun(claim.node, progress.key, now, seconds=seconds)
        election.rely_on_proven(progress.key, now)
        if progress.job.small:
            progress.job.plan = DIRECT  # before those that were asked take it again
            self._work.release_small(progress.job)
        addresses = {self._observer.address_of(name) for name in offered}
        silent = _by_claim(claims)
        silent["has"] |= addresses
        self._tell(progress, silent)

    def _tell_unreached(
        self,
        progress: FileProgress,
        claims: Sequence[FetchClaim],
        near: Mapping[bytes, Neighbour],
        now: float,
    ) -> None:
        """The election forgets those that are heard and cannot be reached."""
        late = progress.patience.waited(now) >= UNPROVEN_S
        if late and not any(claim.node in near for claim in claims):
            self._tell(progress, _by_claim(claims))

    def _tell(self, progress: FileProgress, silent: Mapping[str, set[str]]) -> None:
        """Says who was passed over, by what they claim; each once in a transfer."""
        for claim, addresses in silent.items():
            fresh = sorted(address for address in addresses if (address, claim) not in self._told)
            room = self._tuning.most_told - len(self._told)
            if fresh and room > 0:
                self._told |= {(address, claim) for address in fresh[:room]}
                path, others = progress.job.entry.path, len(fresh) - 1
                self._work.emit(PeerPassedOver(path, fresh[0], claim, others))


def _by_claim(claims: Sequence[FetchClaim]) -> dict[str, set[str]]:
    """The addresses of those that claim to have a file, and to fetch it."""
    return {
        "has": {claim.address for claim in claims if claim.has},
        "fetches": {claim.address for claim in claims if not claim.has},
    }
