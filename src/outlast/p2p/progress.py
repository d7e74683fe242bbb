"""How a file has come so far from neighbours and others: from whom, how fast, and what lacks."""

import time
from collections.abc import Sequence
from typing import Final

from outlast.codec.merkle import PIECE, piece_count
from outlast.codec.payload import Form
from outlast.core.digest import Digest
from outlast.core.events import PiecesMissing
from outlast.core.names import RepoId
from outlast.core.status import Share, TransferStatus
from outlast.fetch.transfer import Job, Work
from outlast.node.node import TICK
from outlast.swarm.client.torrent import Torrent
from outlast.swarm.lan.datagrams import want_key

SWARM: Final = "swarm"
"""What the names of sources in a swarm begin with."""
_SLOW: Final = 30.0
"""Seconds that the rest of a file may take before the origin is to help."""
_STALL: Final = 8.0
"""Seconds without a piece in a crowd after which those that have all are asked by HTTP too."""
_QUIET: Final = 5.0
"""Seconds without a piece after which it is looked for what nobody has."""
_TELL_MISSING: Final = 30.0
_SMOOTH: Final = 3.0


class Course:
    """How a file has come so far."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.key = want_key(job.entry.sha256 or Digest.of(job.entry.key.encode()))
        self.began = time.monotonic()
        self.started = self.advanced = self.began
        self.had = self.pieces = 0
        self.stalled = False
        self.crowd = 0
        self.crowd_since = self.began
        self.offerers: set[str] = set()
        """The lanes of all that ever said to have some of it."""
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
        download = self.job.download
        self.started = self.advanced = self.told = time.monotonic()
        self.had = self.pieces = sum(download.partial.have) if download is not None else 0

    @property
    def given(self) -> dict[str, int]:
        """Bytes by source: those of lanes, and of peers in the swarm by their addresses."""
        found = {name: count for name, count in self.job.given.items() if name != SWARM}
        for address, count in self.gave.items():
            name = f"swarm {address.rpartition(':')[0]}"
            found[name] = found.get(name, 0) + count
        rest = self.swarmed - sum(self.gave.values())
        return found | ({f"{SWARM} (others)": rest} if rest > 0 else {})

    def measure(self, seconds: float) -> None:
        """Follows the rate, smoothed over some seconds."""
        total = sum(self.job.given.values())
        now = (total - self.total) / seconds
        self.total = total
        self.rate += (now - self.rate) * min(1.0, seconds / _SMOOTH)

    @property
    def is_slow(self) -> bool:
        """Whether the rest would take long, as it goes."""
        download = self.job.download
        took = time.monotonic() - self.started
        if download is None or took < _QUIET:
            return False
        here = sum(download.partial.have)
        came = here - self.had
        return came <= 0 or (download.count - here) * took / came > _SLOW

    def account(self, work: Work) -> None:
        """What the swarm brought, and from whom; and whether anything came at all."""
        download, now = self.job.download, time.monotonic()
        if download is None:
            return
        torrent = self.torrent
        if torrent is not None:
            self._count(work, torrent)
        self.measure(TICK)
        pieces = sum(download.partial.have)
        if pieces != self.pieces:
            self.pieces, self.advanced, self.lacking = pieces, now, 0
            return
        self.stalled |= now - self.advanced > _STALL
        if now - max(self.advanced, self.told) > _QUIET:
            self._tell_missing(work)

    def _count(self, work: Work, torrent: Torrent) -> None:
        """Who gave how much."""
        for peer in torrent.peers():
            self.gave[peer.address] = max(peer.down, self.gave.get(peer.address, 0))
        # Of one that came and went between two looks only the sum tells.
        total = max(torrent.view().down, sum(self.gave.values()))
        if total > self.swarmed:
            self.stalled = False
            work.progress(self.job, total - self.swarmed, SWARM)
            self.swarmed = total

    def _tell_missing(self, work: Work) -> None:
        """Nothing comes: says which pieces nobody has."""
        download, torrent = self.job.download, self.torrent
        if download is None or torrent is None or download.swarm is not torrent:
            return
        self.told = time.monotonic() + _TELL_MISSING
        around = torrent.availability() or [0] * download.count
        nowhere = [index for index in download.missing() if not around[index]]
        self.lacking = len(nowhere)
        if nowhere:
            work.emit(PiecesMissing(self.job.entry.path, len(nowhere), _ranges(nowhere)))

    def status(self, repo: RepoId) -> TransferStatus:
        """As it is now."""
        job, download, view = self.job, self.job.download, None
        if self.torrent is not None and download is not None and download.swarm is not None:
            view = self.torrent.view()
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
            lacking=self.lacking,
            holder=job.plan.origin and job.plan.is_plain and not job.finished,
            down_rate=self.rate,
            up_rate=float(view.up_rate) if view is not None else 0.0,
            sources=tuple(Share(name, count) for name, count in sorted(self.given.items())),
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
