"""How far a file has come from neighbours and others: from whom, how fast, and what is missing."""

import time
from collections.abc import Sequence
from typing import Final

from outlast.codec.merkle import PIECE, piece_count
from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.events import PiecesMissing
from outlast.core.names import RepoId
from outlast.core.status import SourceShare, TransferStatus
from outlast.fetch.job import Job
from outlast.fetch.plan import FetchPlan
from outlast.fetch.transfer import Work
from outlast.p2p.patience import FilePatience
from outlast.p2p.reasons import Cause, Reason
from outlast.p2p.tuning import Tuning
from outlast.swarm.client.torrent import Torrent
from outlast.swarm.lan.datagrams import want_key

SWARM: Final = "swarm"
"""How the names of sources in a swarm begin."""


class FileProgress:
    """What is known of one file that is under way or waits. Only its own methods change it."""

    def __init__(self, job: Job, tuning: Tuning) -> None:
        self.job: Final = job
        self.key: Final = want_key(job.entry.sha256 or Digest.of(job.entry.key.encode()))
        self._tuning = tuning
        self._began = time.monotonic()
        # Those that claim to fetch it, or to have it
        self.patience: Final = FilePatience(tuning)
        self.overdue = False
        """Nothing came from others for too long: this node asks the origin."""
        self.passed_over: dict[str, float] = {}
        """Sources that sent nothing of it, and until when they are not asked (monotonic s)."""
        self.proven: set[bytes] = set()
        """The nodes that have proved that they fetch it."""
        self._rivals_at = 0.0
        # The download
        self._started = self._advanced = self._told = self._began
        self._had = self._pieces = 0
        self._lacking = 0
        self._total = 0
        self._rate = 0.0
        # The swarm
        self._torrent: Torrent | None = None
        self._addresses: frozenset[tuple[str, int]] = frozenset()
        self._stalled = False
        self._swarmed = 0
        self._gave: dict[str, int] = {}
        self._earlier: tuple[int, dict[str, int]] = 0, {}
        # The others
        self._crowd = 0
        self._crowd_since = self._began
        self._offerers: set[str] = set()
        self._idle_since = self._began
        # Why
        self._explained: tuple[FetchPlan | None, Reason | None] = None, None
        self._reason_since = self._began
        self._handed_on = False

    # The download

    def start(self) -> None:
        """Its download has begun, or begun again."""
        download = self.job.download
        self._started = self._advanced = self._told = time.monotonic()
        self._had = self._pieces = sum(download.partial.have) if download is not None else 0

    @property
    def age(self) -> float:
        """Seconds since the file's turn came."""
        return time.monotonic() - self._began

    @property
    def idle(self) -> float:
        """Seconds since a piece came, or the download began."""
        return time.monotonic() - self._advanced

    @property
    def arrived(self) -> int:
        """Bytes of it that came, over HTTP or through the swarm; the latest are not verified."""
        return self.job.read + self._swarmed

    @property
    def is_queued(self) -> bool:
        """Whether peers are to be asked, and none has been: their connections have other work."""
        job, download = self.job, self.job.download
        if not job.plan.peers or job.plan.swarm:
            return False
        return not (job.started if job.small else download is not None and download.is_asked_for)

    @property
    def is_complete(self) -> bool:
        """Whether all of it is here, and is being verified."""
        download = self.job.download
        return download is not None and download.frontier == download.count

    def wants_rivals(self, now: float) -> bool:
        """Whether to see who else fetches a file that this node had to take over: one is enough."""
        due = self.overdue and now >= self._rivals_at
        if due:
            self._rivals_at = now + self._tuning.proof_again
        return due

    @property
    def pieces(self) -> int:
        """Pieces that are here, at the last :meth:`update`."""
        return self._pieces

    @property
    def is_slow(self) -> bool:
        """Whether the rest would take long at this speed."""
        download = self.job.download
        took = time.monotonic() - self._started
        if download is None or took < self._tuning.quiet_after:
            return False
        here = sum(download.partial.have)
        came = here - self._had
        return came <= 0 or (download.count - here) * took / came > self._tuning.slow_after

    @property
    def is_stalled(self) -> bool:
        """Whether the swarm has brought nothing for a while."""
        return self._stalled

    def update(self, work: Work, seconds: float) -> None:
        """Takes in what came in the last `seconds`; tells `work` what the swarm brought, and which
        pieces are missing if none came for long.
        """
        download, now = self.job.download, time.monotonic()
        if download is None:
            return
        self.count(work)
        self._measure(seconds)
        pieces = sum(download.partial.have)
        if pieces != self._pieces:
            self._pieces, self._advanced, self._lacking = pieces, now, 0
            return
        self._stalled |= now - self._advanced > self._tuning.stalled_after
        if now - max(self._advanced, self._told) > self._tuning.quiet_after:
            self._tell_missing(work)

    def _measure(self, seconds: float) -> None:
        total = sum(self.job.given.values())
        now = (total - self._total) / seconds
        self._total = total
        self._rate += (now - self._rate) * min(1.0, seconds / self._tuning.smooth)

    def count(self, work: Work) -> None:
        """Tells `work` what the swarm brought since it was counted last. A swarm that was left is
        counted once more before another is joined: bytes come until its end.
        """
        torrent = self._torrent
        if torrent is None:
            return
        gave = dict(self._gave)
        earlier, earlier_of = self._earlier
        for peer in torrent.peers():
            down = earlier_of.get(peer.address, 0) + peer.down
            gave[peer.address] = max(down, gave.get(peer.address, 0))
        self._gave = gave
        # Of a peer that came and went between two looks only the sum tells.
        total = max(earlier + torrent.view().down, sum(gave.values()))
        if total > self._swarmed:
            self._stalled = False
            work.progress(self.job, total - self._swarmed, SWARM)
            self._swarmed = total

    def _tell_missing(self, work: Work) -> None:
        """No piece came for long: says which pieces no peer has."""
        download, torrent = self.job.download, self._torrent
        if download is None or torrent is None or download.swarm is not torrent:
            return
        self._told = time.monotonic() + self._tuning.tell_missing
        around = torrent.availability() or [0] * download.count
        nowhere = [index for index in download.missing() if not around[index]]
        self._lacking = len(nowhere)
        if nowhere:
            work.emit(PiecesMissing(self.job.entry.path, len(nowhere), _ranges(nowhere)))

    # The swarm

    @property
    def torrent(self) -> Torrent | None:
        """The swarm of the file, once it was joined."""
        return self._torrent

    @property
    def addresses(self) -> frozenset[tuple[str, int]]:
        """The peers that the swarm was told of last."""
        return self._addresses

    def invite(self, addresses: frozenset[tuple[str, int]]) -> None:
        """These are told to a swarm that is about to be joined."""
        self._addresses = addresses

    def join(self, torrent: Torrent) -> None:
        """A torrent counts from 0: what an earlier one brought is added."""
        self._torrent = torrent
        self._earlier = self._swarmed, dict(self._gave)

    @property
    def is_unjust(self) -> bool:
        """Whether the swarm has banned a peer that may be honest, so that it is joined again."""
        download, torrent = self.job.download, self._torrent
        if torrent is None or download is None or download.swarm is not torrent:
            return False
        return torrent.is_unjust

    def connect(self, addresses: frozenset[tuple[str, int]]) -> None:
        """Tells the swarm of the peers that are there now."""
        if self._torrent is not None:
            self._torrent.connect(addresses - self._addresses)
            self._addresses = addresses

    # The others

    def see_crowd(self, crowd: int) -> float:
        """So many other nodes want the file; returns for how many seconds that has been so."""
        now = time.monotonic()
        if crowd != self._crowd:
            self._crowd, self._crowd_since = crowd, now
        return now - self._crowd_since

    def see_offerers(self, names: Sequence[str]) -> frozenset[str]:
        """These sources have some of it; returns all that ever had."""
        self._offerers.update(names)
        return frozenset(self._offerers)

    def silent_for(self, heard: float, *, elected: bool) -> float:
        """Seconds for which this node has been the fetcher without a byte from the origin, which
        was `heard` last at that time.
        """
        now = time.monotonic()
        if not elected:
            self._idle_since = now
        return now - max(self._idle_since, heard)

    def hand_on(self) -> bool:
        """Whether it is complete and was not handed on yet: true once."""
        first = self.job.done and not self._handed_on
        self._handed_on |= first
        return first

    # Why

    def explain(self, plan: FetchPlan, reason: Reason) -> bool:
        """Notes how it comes and why, or what it waits for; whether either is new."""
        old_plan, old = self._explained
        if (plan, reason) == (old_plan, old):
            return False
        if old is None or (reason.cause, reason.who) != (old.cause, old.who):
            self._reason_since = time.monotonic()
        self._explained = plan, reason
        return True

    @property
    def waits_for(self) -> str:
        """What the file waits for, as text; empty if it does not wait."""
        job, (_, reason) = self.job, self._explained
        if job.finished:
            return ""
        if job.locked_since:
            reason, since = Reason(Cause.OTHER_PROCESS), job.locked_since
        else:
            since = self._reason_since
        comes = job.download is not None and self.idle < self._tuning.quiet_after
        if reason is None or not reason.cause.waits or comes:
            return ""
        return reason.text(time.monotonic(), since)

    # What it says

    @property
    def given(self) -> dict[str, int]:
        """Bytes by source; peers in the swarm are named by their addresses."""
        by_source, gave = dict(self.job.given), self._gave
        found = {name: count for name, count in by_source.items() if name != SWARM}
        for address, count in gave.items():
            name = f"swarm {address.rpartition(':')[0]}"
            found[name] = found.get(name, 0) + count
        rest = self._swarmed - sum(gave.values())
        return found | ({f"{SWARM} (others)": rest} if rest > 0 else {})

    def status(self, repo: RepoId) -> TransferStatus:
        """As it is now."""
        job, download, view = self.job, self.job.download, None
        if self._torrent is not None and download is not None and download.swarm is not None:
            view = self._torrent.view()
        payload = job.plan.payload
        size = payload.size if payload is not None else job.entry.size
        here = sum(download.partial.have) if download is not None else 0
        return TransferStatus(
            repo=str(repo),
            path=job.entry.path,
            blob=job.entry.key,
            form=payload.form.value if payload is not None else Form.PLAIN.value,
            state=_state(job),
            size=size,
            have=size if job.done else min(size, here * PIECE),
            pieces=piece_count(size),
            lacking=self._lacking,
            fetcher=job.plan.origin and job.plan.is_plain and not job.finished,
            waits_for=self.waits_for,
            down_rate=self._rate,
            up_rate=float(view.up_rate) if view is not None else 0.0,
            sources=tuple(SourceShare(name, count) for name, count in sorted(self.given.items())),
        )


def _state(job: Job) -> str:
    if job.error is not None:
        return "failed"
    if job.done:
        return "seeding"
    if job.download is None:
        return "waiting"
    return "verifying" if all(job.download.partial.have) else "fetching"


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
