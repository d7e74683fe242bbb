"""What an archive holds, followed as it changes: cheap to ask again and again.

Every write to an archive touches manifests/, drafts/ or refs/: the times of three folders tell that
nothing happened. What is added or removed by hand is noticed within `Tuning.look_again` seconds.
Only what changed is read again; what cannot be read hides nothing else.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from outlast.core.descriptors import is_exhausted
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import ExhaustedError, OutlastError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.node.tuning import TUNING, Tuning
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.index import Summary
from outlast.store.layout import CAPSULE_SUFFIX
from outlast.store.records.refs import came_from_cache

_TICK_NS: Final = 100_000_000
"""Within one tick of the file system's clock two changes share a time: it is not trusted yet."""

Key = tuple[RepoId, GitOid]


@dataclass(frozen=True, slots=True)
class HeldRevision:
    """A revision that is here: `size` is the sum of its `files` files, `whole` the sum with those
    that are still to come. `blobs`: the sha256 (hex) of the files that are here; `awaited`: of the
    others, as far as known. `manifest` is None for a draft; `stamp` changes with the draft.
    """

    repo: RepoId
    commit: GitOid
    manifest: Digest | None
    files: int
    size: int
    whole: int
    partial: bool
    blobs: tuple[str, ...]
    awaited: tuple[str, ...] = ()
    stamp: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RepoState:
    """What the refs of a model say: their names, by commit; and whether the model is open. If that
    cannot be read, it is not. `is_stopped`: the operator stopped giving it out. `unconfirmed`: the
    commits that a ref names by the word of a node on the LAN alone.
    """

    refs: dict[GitOid, tuple[str, ...]]
    is_open: bool
    unconfirmed: frozenset[GitOid] = frozenset()
    is_stopped: bool = False


_NO_FACTS: Final = RepoState({}, is_open=True)
"""What counts of a model without refs in an archive of a format in which that was not noted."""
_LOST_FACTS: Final = RepoState({}, is_open=False)


@dataclass(frozen=True, slots=True)
class _ReadDraft:
    """A draft as it was read; `held` is None if that failed. Not read again before `until`."""

    stamp: tuple[int, ...]
    held: HeldRevision | None
    until: float


Bases = dict[str, tuple[str, ...]]


class Inventory:
    """What is here. Not thread-safe."""

    def __init__(
        self,
        archive: Archive,
        clock: Callable[[], float] = time.monotonic,
        tuning: Tuning = TUNING,
    ) -> None:
        self._tuning = tuning
        self._archive = archive
        self._clock = clock
        self._seen: tuple[int, ...] = (-1, -1, -1)
        self._next_look = 0.0
        self._next_whole = 0.0
        self._settled = True
        self._manifests: dict[Digest, HeldRevision] = {}
        self._manifests_stamp: int | None = None
        self._drafts: dict[Key, _ReadDraft] = {}
        self._unread = False
        self._facts: dict[RepoId, tuple[int, RepoState]] = {}
        self.marked: frozenset[Key] = frozenset()
        """The revisions that are marked as listed by a node on the LAN alone."""
        self._revoked: frozenset[Key] = frozenset()
        self._unread_revoked: frozenset[Digest] = frozenset()
        self._plain: dict[str, tuple[int, frozenset[str]]] = {}
        self._capsules: dict[str, tuple[int, Bases]] = {}

    # Following

    @property
    def is_current(self) -> bool:
        """Whether nothing has changed since :meth:`look`, as far as three folders tell."""
        return self._seen == self._stamps() and self._clock() < self._next_look

    def look(self) -> bool:
        """Takes in what has changed; whether anything has."""
        began, seen, before = self._clock(), self._stamps(), self._seen
        whole = began >= self._next_whole
        self._settled, self._seen = True, (-1, -1, -1)
        marked, known = self._archive.unconfirmed.all(), self.marked
        changes = [self._look_at_manifests(), self._look_at_plain(), self._look_at_capsules()]
        if whole or seen[1] != before[1] or self._unread:
            changes.append(self._look_at_drafts())
        if whole or seen[2] != before[2]:
            changes.append(self._look_at_refs())
        self.marked = marked | self._archive.unconfirmed.all()  # in doubt it is marked
        changes.append(self.marked != known)
        changes.append(self._look_at_revocations())
        ended = self._clock()
        if whole:
            self._next_whole = ended + max(
                self._tuning.look_again, self._tuning.rest_share * (ended - began)
            )
        self._seen = seen
        self._next_look = self._next_whole if self._settled else ended + _TICK_NS / 1e9
        return any(changes)

    def _stamps(self) -> tuple[int, ...]:
        layout = self._archive.layout
        return tuple(map(_time_of, (layout.manifests, layout.drafts, layout.refs)))

    def _keep(self, stamp: int) -> int:
        """`stamp`; or -1 while another change could still get the same stamp."""
        if time.time_ns() - stamp < _TICK_NS:
            self._settled = False
            return -1
        return stamp

    def _look_at_manifests(self) -> bool:
        stamp = _time_of(self._archive.layout.manifests)
        if stamp == self._manifests_stamp:
            return False
        index, known = self._archive.index, self._manifests
        summaries = {s.digest: s for s in index.summaries() if s.digest is not None}
        blobs = index.blobs_of(digest for digest in summaries if digest not in known)
        self._manifests = {
            digest: known.get(digest) or _sealed(digest, summary, blobs.get(digest, ()))
            for digest, summary in summaries.items()
        }
        self._manifests_stamp = self._keep(stamp)
        return self._manifests.keys() != known.keys()

    def _look_at_revocations(self) -> bool:
        revocations = self._archive.revocations
        found = frozenset(revocations.stopped()), frozenset(revocations.unread())
        known = self._revoked, self._unread_revoked
        self._revoked, self._unread_revoked = found
        return found != known

    def _look_at_drafts(self) -> bool:
        known, now = self._drafts, self._clock()
        drafts: dict[Key, _ReadDraft] = {}
        self._unread = False
        for key, stamp in self._archive.drafts.stamps().items():
            old = known.get(key)
            if old is not None and (old.stamp == stamp or now < old.until):
                drafts[key] = old
                self._unread |= old.stamp != stamp
            else:
                drafts[key] = self._read_draft(key, stamp)
        self._settled &= not self._unread
        self._drafts = drafts
        return drafts != known

    def _read_draft(self, key: Key, stamp: tuple[int, ...]) -> _ReadDraft:
        began = self._clock()
        try:
            draft = self._archive.drafts.load(*key)
        except ExhaustedError:  # that says nothing of the draft
            raise
        except OutlastError:  # `verify` tells
            draft = None
        ended = self._clock()
        took = ended - began
        pause = self._tuning.draft_share * took if took >= self._tuning.slow_draft else 0.0
        held = None if draft is None else _drafted(draft, stamp)
        return _ReadDraft(stamp, held, ended + pause)

    def _look_at_refs(self) -> bool:
        known, changed = self._facts, False
        found: dict[RepoId, tuple[int, RepoState]] = {}
        for repo, stamp in self._archive.refs.stamps().items():
            old = known.get(repo)
            if old is not None and old[0] == stamp:
                found[repo] = old
                continue
            facts = self._read_facts(repo)
            found[repo] = self._keep(stamp), facts
            changed |= old is None or old[1] != facts
        self._facts = found
        return changed or found.keys() != known.keys()

    def _read_facts(self, repo: RepoId) -> RepoState:
        refs: dict[GitOid, tuple[str, ...]] = {}
        about = self._archive.refs.about(repo)  # not open, where that is damaged
        found = self._archive.refs.list(repo)
        for ref in found:
            refs[ref.commit] = (*refs.get(ref.commit, ()), ref.name)
        unconfirmed = frozenset(ref.commit for ref in found if ref.unconfirmed)
        is_open = about.is_open and not came_from_cache(found)
        return RepoState(refs, is_open, unconfirmed, about.is_stopped)

    def _look_at_plain(self) -> bool:
        known, changed = self._plain, False
        found: dict[str, tuple[int, frozenset[str]]] = {}
        for shard, stamp in disk.stamped(self._archive.layout.blobs):
            old = known.get(shard)
            if old is not None and old[0] == stamp:
                found[shard] = old
                continue
            names = frozenset(filter(Digest.is_valid, _names(shard)))
            found[shard] = self._keep(stamp), names
            changed |= old is None or old[1] != names
        self._plain = found
        return changed or found.keys() != known.keys()

    def _look_at_capsules(self) -> bool:
        known, changed = self._capsules, False
        found: dict[str, tuple[int, Bases]] = {}
        for shard, stamp in disk.stamped(self._archive.layout.capsules):
            old = known.get(shard)
            if old is not None and old[0] == stamp:
                found[shard] = old
                continue
            bases = self._read_bases(shard)
            found[shard] = self._keep(stamp), bases
            changed |= old is None or old[1] != bases
        self._capsules = found
        return changed or found.keys() != known.keys()

    def _read_bases(self, shard: str) -> Bases:
        found: Bases = {}
        for name in _names(shard):
            blob = name.removesuffix(CAPSULE_SUFFIX)
            if blob != name and Digest.is_valid(blob):
                form = self._archive.forms.capsule(Digest(blob))
                if form is not None:
                    found[blob] = tuple(base.sha256.hex for base in form.bases)
        return found

    # What is here

    def revisions(self) -> Iterator[HeldRevision]:
        """Every manifest and draft; a commit may have several."""
        yield from self._manifests.values()
        yield from (read.held for read in self._drafts.values() if read.held is not None)

    def facts(self, repo: RepoId) -> RepoState:
        """What the refs of a model say. A model of which nothing is known is restricted."""
        found = self._facts.get(repo)
        if found is not None:
            return found[1]
        return _LOST_FACTS if self._archive.records.strict else _NO_FACTS

    def is_revoked(self, held: HeldRevision) -> bool:
        """Whether a revision is not to be used any more."""
        key = (held.repo.folded, held.commit)
        return key in self._revoked or held.manifest in self._unread_revoked

    def has_secrets(self, *, restricted: bool) -> bool:
        """Whether a model is known that is not for every peer; it need not be here any more.
        `restricted`: those get what is private or gated, too.
        """
        return any(
            state.is_stopped or not (state.is_open or restricted)
            for _, state in self._facts.values()
        )

    @property
    def stopped(self) -> frozenset[RepoId]:
        """The models that the operator does not give out."""
        return frozenset(repo for repo, (_, state) in self._facts.items() if state.is_stopped)

    def plain(self) -> set[str]:
        """The blobs that have a plain file."""
        return set[str]().union(*(names for _, names in self._plain.values()))

    def capsules(self) -> Bases:
        """The blobs that have a capsule, and the bases of that."""
        return {blob: bases for _, each in self._capsules.values() for blob, bases in each.items()}


def _sealed(digest: Digest, summary: Summary, blobs: Iterable[Digest]) -> HeldRevision:
    return HeldRevision(
        repo=summary.repo,
        commit=summary.revision,
        manifest=digest,
        files=summary.files,
        size=summary.size,
        whole=summary.size,
        partial=summary.partial,
        blobs=tuple(blob.hex for blob in blobs),
    )


def _drafted(draft: Revision, stamp: tuple[int, ...]) -> HeldRevision:
    blobs, awaited = (
        tuple(entry.sha256.hex for entry in entries if entry.sha256 is not None)
        for entries in (draft.files, draft.missing)
    )
    return HeldRevision(
        repo=draft.repo,
        commit=draft.id,
        manifest=None,
        files=len(draft.files),
        size=draft.size,
        whole=draft.size + sum(entry.size for entry in draft.missing),
        partial=True,
        blobs=blobs,
        awaited=awaited,
        stamp=stamp,
    )


def _time_of(folder: Path) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        if is_exhausted(error):
            raise  # it would count as empty until something changes in it
        return []
