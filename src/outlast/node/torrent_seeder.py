"""Seeds shared revisions to ordinary BitTorrent clients.

Each file is seeded from where it lies; one that is held as a capsule alone from a working copy, if
there is room for it. Otherwise it is left out, with the pieces that it is in.
"""

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path

from outlast.core.cancel import Cancel
from outlast.core.closing import Closing
from outlast.core.control import Control
from outlast.core.errors import BusyError, Cancelled, MalformedError, OutlastError, StorageError
from outlast.core.events import Event, FileProblem, Note, Planned, Progress
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.intake.working_copies import Working
from outlast.node import shared_torrents as shares
from outlast.node.node import Node
from outlast.node.shared_torrents import SharedTorrent
from outlast.swarm.client import multi_file as foreign
from outlast.swarm.client.multi_file import MultiFileTorrent


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a shared torrent would be seeded: where each of its files is, None for those that are
    left out.
    """

    stamp: tuple[int, int]
    places: tuple[Path | None, ...]
    restricted: bool


class _Seeded(Closing):
    """A torrent that is seeded; its working copies stay until it is closed."""

    def __init__(
        self, repo: RepoId, plan: _Plan, torrent: MultiFileTorrent, working: Working
    ) -> None:
        self.repo = repo
        self.plan = plan
        self.torrent = torrent
        self._working = working

    def close(self) -> None:
        self.torrent.close()
        self._working.close()


class RevisionSeeding(Closing):
    """Seeds the torrents that are shared, as they and the archive change, until it is closed."""

    def __init__(self, node: Node, control: Control, *, decodes: bool) -> None:
        """`decodes`: makes working copies, which takes time and room."""
        self._node = node
        self._archive = node.archive
        self._emit = control.emit
        self._budget = None if decodes else 0
        self._cancel = Cancel()
        self._seeded: dict[str, _Seeded] = {}
        self._told: dict[str, str] = {}
        self._thread = threading.Thread(target=self._keep, name="shares", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._cancel.set()
        self._thread.join()

    @property
    def seeding(self) -> int:
        """How many torrents are seeded now."""
        return len(self._seeded)

    def _keep(self) -> None:
        with contextlib.suppress(Cancelled):
            self._watch()
        for seeded in self._seeded.values():
            seeded.close()

    def _watch(self) -> None:
        """Until this is closed. An error of the archive itself may pass: it is only reported."""
        seen: object = None
        while True:
            try:
                stamps = self._archive.shares.stamps()
                active = bool(stamps or self._seeded)
                version = self._node.sharing.version if active else 0
                damage = self._archive.damage.all() if active else {}
                if (stamps, version, damage) != seen:
                    self._follow(stamps)
                    seen = stamps, version, damage
            except (StorageError, BusyError) as error:
                self._tell("", f"what is shared cannot be read: {error}")
            self._report_damage()
            self._cancel.wait(self._node.tuning.look_at_shares)

    def _follow(self, stamps: dict[str, tuple[int, int]]) -> None:
        for infohash in self._seeded.keys() - stamps.keys():
            self._seeded.pop(infohash).close()
        for infohash, stamp in stamps.items():
            try:
                share = shares.load(self._archive, infohash)
                revision = self._revision(share) if share is not None else None
                if share is None or revision is None:
                    self._end(infohash)
                else:
                    self._update(share, revision, stamp)
            except Cancelled:
                raise
            except OutlastError as error:
                self._end(infohash)
                self._tell(infohash, f"what is shared as {infohash[:16]}… is not seeded: {error}")

    def _end(self, infohash: str) -> None:
        seeded = self._seeded.pop(infohash, None)
        if seeded is not None:
            seeded.close()

    def _revision(self, share: SharedTorrent) -> Revision | None:
        """The revision that a torrent is of, if it is here and may be given out."""
        sharing = self._node.sharing
        if sharing.is_stopped(share.repo) or sharing.refuses(share.repo, share.commit):
            return None
        if self._archive.revocations.stops(share.repo, share.commit) is not None:
            return None
        return self._archive.load(share.repo, share.commit)

    def _update(self, share: SharedTorrent, revision: Revision, stamp: tuple[int, int]) -> None:
        """Seeds it as it is now."""
        working = Working(self._archive, self._budget, Control(self._hear, self._cancel))
        try:
            places = self._places(share, revision, working)
            plan = _Plan(stamp, places, self._is_restricted(revision))
            old = self._seeded.get(share.infohash)
            if old is not None and old.plan == plan:
                working.close()
                return
            self._end(share.infohash)
            if not any(places):
                working.close()
                return
            trackers = (*share.link.trackers, *self._node.settings.trackers)
            torrent = foreign.seed(
                self._node.session,
                share.torrent,
                places,
                restricted=plan.restricted,
                trackers=tuple(dict.fromkeys(trackers)),
            )
            self._seeded[share.infohash] = _Seeded(share.repo, plan, torrent, working)
        except BaseException:
            working.close()
            raise

    def _is_restricted(self, revision: Revision) -> bool:
        """Whether it is for static peers alone, by the same rule as for nodes."""
        offers = self._node.sharing.offers(str(revision.repo), trusted=False)
        wanted = revision.repo, revision.id
        return not any((offer.repo, offer.commit) == wanted for offer in offers)

    def _places(
        self, share: SharedTorrent, revision: Revision, working: Working
    ) -> tuple[Path | None, ...]:
        entries = {entry.path: entry for entry in revision.files}
        found: list[Path | None] = []
        left_out = []
        for file in share.link.files:
            entry = entries.get(file.path)
            if entry is None or not _is_same(entry, file.size):
                raise MalformedError(f"{file.path!r} is not what the revision has")
            if file.root not in {None, entry.merkle_root}:
                raise MalformedError(f"{file.path!r} is not what the revision has")
            place = self._place(entry, working)
            if place is None and entry.size:
                left_out.append(entry)
            found.append(place)
        if left_out:
            files = "1 file is" if len(left_out) == 1 else f"{len(left_out)} files are"
            damaged = [entry for entry in left_out if self._is_damaged(entry)]
            why = "damaged" if damaged else "held as capsules, and there is no room for copies"
            self._tell(
                share.infohash,
                f"of {share.repo} {files} not seeded to ordinary clients, among them"
                f" {(damaged or left_out)[0].path!r}, which is {why}",
            )
        else:
            self._told.pop(share.infohash, None)
        return tuple(found)

    def _is_damaged(self, entry: FileEntry) -> bool:
        return entry.sha256 is not None and bool(self._archive.damage.of(entry.sha256))

    def _place(self, entry: FileEntry, working: Working) -> Path | None:
        """Where the plain bytes of a file are; None if they are not here and cannot be made."""
        if not entry.size or not self._archive.holds(entry):
            return None
        try:
            working.prepare([entry])
        except (StorageError, BusyError):
            return None
        except Cancelled:
            raise
        except OutlastError as error:
            self._emit(FileProblem(entry.path, str(error), error.code))
            return None
        return working.path(entry)

    def _hear(self, event: Event) -> None:
        """Passes events on, without the progress of making copies."""
        if not isinstance(event, Planned | Progress):
            self._emit(event)

    def _tell(self, infohash: str, text: str) -> None:
        """Emits a note, once."""
        if self._told.get(infohash) != text:
            self._told[infohash] = text
            self._emit(Note(text))

    def _report_damage(self) -> None:
        for infohash, seeded in self._seeded.items():
            for path in seeded.torrent.take_damaged():
                text = f"{seeded.repo}: a piece of {path} is damaged: 'outlast scrub' mends it"
                self._tell(f"{infohash} {path}", text)


def _is_same(entry: FileEntry, size: int) -> bool:
    return entry.sha256 is not None and entry.size == size
