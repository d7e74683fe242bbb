"""Joins the swarm of a file that is under way, and keeps it told of the neighbours."""

import time
from collections.abc import Callable
from pathlib import Path

from outlast.fetch.transfer import Work
from outlast.node.scope import Neighbourhood
from outlast.p2p.progress import FileProgress
from outlast.p2p.snapshot import Observer
from outlast.p2p.tuning import Tuning
from outlast.store import disk
from outlast.swarm.client.join import JoinOptions
from outlast.swarm.client.torrent import Torrent


class SwarmJoiner:
    """`restricted`: what is fetched is for static peers alone."""

    def __init__(
        self,
        around: Neighbourhood,
        work: Work,
        observer: Observer,
        *,
        restricted: bool,
        tuning: Tuning,
    ) -> None:
        self._around = around
        self._node = around.node
        self._work = work
        self._observer = observer
        self._restricted = restricted
        self._tuning = tuning

    def attach(self, progress: FileProgress) -> None:
        """Joins the swarm of a file, unless that is done or its tree is not known."""
        download, tree = progress.job.download, progress.job.plan.tree
        if download is None or tree is None or download.swarm is not None:
            return
        options, partial = self._options(progress), download.partial
        progress.invite(frozenset(options.peers))

        def join(wrote: Callable[[list[int]], None]) -> Torrent:
            torrent = self._node.session.fetch(
                tree,
                partial.path,
                partial.have,
                wrote,
                restricted=self._is_restricted(progress),
                join_options=options,
            )
            progress.join(torrent)
            return torrent

        download.attach(join)
        self._connect(progress)

    def _is_restricted(self, progress: FileProgress) -> bool:
        """Whether only static peers may have what is fetched; as a capsule whose base is theirs."""
        payload = progress.job.plan.payload
        bases = () if payload is None else payload.bases
        return self._restricted or not self._node.sharing.allows_capsule(bases, trusted=False)

    def keep(self, progress: FileProgress) -> None:
        """Call it several times a second: joins anew if needed, connects to new neighbours, and
        has what came written.
        """
        download = progress.job.download
        if download is not None and (download.torn or progress.is_unjust):
            download.detach()
            progress.count(self._work)
        self.attach(progress)
        self._connect(progress)
        if progress.torrent is not None:
            progress.torrent.flush()

    def check(self, progress: FileProgress) -> None:
        """Raises why the swarm of a file stopped: the disk is full, for one."""
        download, torrent = progress.job.download, progress.torrent
        if download is not None and download.swarm is not None and torrent is not None:
            _check(torrent, download.partial.path)

    def _options(self, progress: FileProgress) -> JoinOptions:
        near = self._around.near()
        static = [neighbour.tracker for neighbour in near if neighbour.static]
        return JoinOptions(
            trackers=(*self._node.settings.trackers, *static[: self._tuning.sources]),
            peers=frozenset(neighbour.swarm_address for neighbour in near),
            in_order=self._work.watch is not None,
            stripe=self._stripe(progress),
        )

    def _stripe(self, progress: FileProgress) -> tuple[int, int] | None:
        """This node's number among all that want a file, and how many they are."""
        if not self._observer.elects(progress.job.entry):
            return None
        others = self._node.election.wanting(progress.key, time.monotonic())
        return sum(other < self._node.id for other in others), len(others) + 1

    def _connect(self, progress: FileProgress) -> None:
        """Tells the swarm of the neighbours: they come and go."""
        torrent = progress.torrent
        if torrent is None:
            return
        if (stripe := self._stripe(progress)) is not None:
            torrent.take_stripe(*stripe)
            torrent.yield_seeds()
        progress.connect(frozenset(n.swarm_address for n in self._around.near()))


def _check(torrent: Torrent, path: Path) -> None:
    if isinstance(torrent.failure, OSError):
        raise disk.storage_error(torrent.failure, path)
    if torrent.failure is not None:
        raise torrent.failure
