"""What this node itself holds, wants and has room for."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from outlast.core.digest import Digest
from outlast.core.errors import BadListError, NotFoundError
from outlast.core.keep_list import MAX_BYTES, Goal, KeepLine, parse_keep_list
from outlast.core.manifest import Revision
from outlast.features.durability.copies.memory import Memory
from outlast.features.durability.copies.tuning import TUNING
from outlast.features.durability.copies.view import Own
from outlast.features.durability.settings import CopiesSettings
from outlast.node.policy import Sharing
from outlast.sources.peer_documents import HeldAs, ManifestSaid
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.index import load_manifest

GOAL = "goal"
VOLUNTEER = "volunteer"
"""Why a copy came (`Memory.taken`)."""


def read_goals(lists: Sequence[Path]) -> list[KeepLine]:
    """The lines of the keep-lists that have a goal. Raises :class:`BadListError`, also where a list
    is not there.
    """
    found = []
    for path in lists:
        with disk.reporting(path):
            try:
                with path.open("rb") as file:
                    data = file.read(MAX_BYTES + 1)
            except FileNotFoundError:
                raise BadListError(
                    f"no keep-list at {path}", hint="see the setting lists of [durability]"
                ) from None
        found += [line for line in parse_keep_list(data, path.name) if line.goal is not None]
    return found


class OwnCopies:
    """One archive, and what of it static peers may have. Not thread-safe."""

    def __init__(self, archive: Archive, sharing: Sharing, settings: CopiesSettings) -> None:
        self._archive = archive
        self._sharing = sharing
        self._settings = settings
        self._revisions: dict[Digest, Revision] = {}

    def look(self, memory: Memory, asked: Sequence[Digest]) -> Own:
        """What is here and wanted now; `asked` are manifests that others know."""
        goals, unknown = self._goals(memory)
        held = {digest: self._said(digest, memory) for digest in self._held(memory, asked)}
        manifests = dict(held)
        for digest, goal in goals.items():
            said = held.get(digest) or _row(digest, self._revision(digest), HeldAs.NONE)
            manifests[digest] = ManifestSaid(
                digest, said.repo, said.commit, said.size, said.held, goal
            )
        used = {
            why: sum(held[digest].size for digest in held if memory.taken.get(digest) == why)
            for why in (GOAL, VOLUNTEER)
        }
        return Own(self._settings.site, self._free(used[GOAL]), manifests, unknown)

    def volunteered(self, memory: Memory) -> int:
        """Bytes of the volunteer's budget that are taken."""
        digests = [digest for digest, why in memory.taken.items() if why == VOLUNTEER]
        return sum(self._revision(one).size for one in digests if self._is_here(one, memory))

    def room(self) -> int:
        """Bytes of the disk that copies may take."""
        home = self._archive.layout.home
        return max(0, disk.free_bytes(home) - int(TUNING.reserve * disk.total_bytes(home)))

    def _free(self, used: int) -> int:
        if not self._settings.takes_copies:
            return 0
        room, budget = self.room(), self._settings.copies
        if budget is None:  # all that the disk has, where it knows
            return room if disk.total_bytes(self._archive.layout.home) else 0
        return max(0, min(room, budget - used))

    def _goals(self, memory: Memory) -> tuple[dict[Digest, Goal], dict[str, Goal]]:
        """The goals of the lists by manifest; and by name those of which there is no manifest."""
        found: dict[Digest, Goal] = {}
        unknown: dict[str, Goal] = {}
        for line in read_goals(self._settings.lists):
            assert line.goal is not None
            digest = self._manifest_of(line)
            if digest is None:
                unknown[str(line.target)] = line.goal
            else:
                found[digest] = max(line.goal, found.get(digest, line.goal))
        heard = {
            str(row.repo)
            for peer in memory.peers.values()
            for row in peer.said.manifests
            if row.goal is not None
        }
        return found, {name: goal for name, goal in unknown.items() if name not in heard}

    def _manifest_of(self, line: KeepLine) -> Digest | None:
        repo = self._archive.refs.spelling(line.target.repo)
        try:
            commit = self._archive.find_commit(repo, line.ref)
        except NotFoundError:
            return None
        if commit is None or self._archive.unconfirmed.get(repo, commit) is not None:
            return None
        known = self._archive.index.manifests_of(repo, commit)
        return known[0] if known else None

    def _held(self, memory: Memory, asked: Sequence[Digest]) -> Iterator[Digest]:
        """The manifests of which each file is here, and may be had by static peers. Not what a node
        on the LAN alone said: a copy of that, by its digest, would have no mark.
        """
        told = self._archive.unconfirmed.all()
        offered = [offer.manifest for offer in self._sharing.offers(trusted=True)]
        for digest in dict.fromkeys((*offered, *asked, *memory.taken)):
            if self._is_here(digest, memory):
                revision = self._revision(memory.covers.get(digest, digest))
                if (revision.repo, revision.id) not in told:
                    yield digest

    def _is_here(self, digest: Digest, memory: Memory) -> bool:
        stands = memory.covers.get(digest, digest)
        if not self._archive.layout.manifest(stands).exists():  # a draft, or nothing
            return False
        blobs = self._sharing.blobs()
        return all(entry.sha256 in blobs for entry in self._revision(stands).files)

    def _said(self, digest: Digest, memory: Memory) -> ManifestSaid:
        revision = self._revision(memory.covers.get(digest, digest))
        is_copy = digest in memory.taken and not self._was_pulled(revision)
        return _row(digest, revision, HeldAs.COPY if is_copy else HeldAs.OWN)

    def _was_pulled(self, revision: Revision) -> bool:
        """Whether it was pulled since, from a hub or a mirror."""
        refs = self._archive.refs.read(revision.repo).refs
        return any(ref.source and ref.commit == revision.id for ref in refs)

    def _revision(self, digest: Digest) -> Revision:
        found = self._revisions.get(digest)
        if found is None:
            found = self._revisions[digest] = load_manifest(self._archive.layout, digest)
        return found


def _row(digest: Digest, revision: Revision, held: HeldAs) -> ManifestSaid:
    return ManifestSaid(digest, revision.repo, revision.id, revision.size, held)
