"""Says which claims hold of a revision, by the records of the archive alone."""

import datetime as dt
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from outlast.core.claims import (
    Claim,
    Claims,
    ClaimState,
    CommitProof,
    ForeignSignature,
    Lister,
    Standing,
)
from outlast.core.digest import Digest
from outlast.core.errors import OutlastError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.features.trust.foreign.cosign import judge
from outlast.features.trust.keys.extra import INSTALL, has_cryptography
from outlast.features.trust.keys.identities import IdentityPins
from outlast.features.trust.keys.pins import Pin, Pins, PinState
from outlast.features.trust.records.heights import Height, Heights, heights_of
from outlast.features.trust.records.hub_commit import proof_of
from outlast.features.trust.records.model_view import ModelView, revoked_keys, view_of
from outlast.features.trust.records.needed import Needed
from outlast.features.trust.records.observed import Sight, observed
from outlast.features.trust.records.published import RANKS, published
from outlast.features.trust.records.statement import Revocation, now_text
from outlast.store.archive import Archive
from outlast.store.words.revocations import Revoked

_log = logging.getLogger(__name__)


FindForeign = Callable[[Revision, Callable[[], list[Pin]]], tuple[ForeignSignature, ...]]
"""Finds signatures of other tools among the files of a revision, given the pins."""
_MOST_FOREIGN: Final = 4096
"""Revisions whose signatures are remembered. Guess: those that a server is asked for in a day."""

_MOST_PROOFS: Final = 4096
"""The same of commits that were computed again."""


@dataclass(slots=True)
class _Cache:
    """What was read while `stamp` stayed the same."""

    stamp: tuple[int, ...] = ()
    pins: list[Pin] = field(default_factory=list)
    attested: frozenset[Digest] = frozenset()
    damaged: frozenset[Digest] = frozenset()
    views: dict[RepoId, ModelView] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Rise:
    """Signed heights of a model that are not written down yet; keys that are `revoked` count for
    nothing.
    """

    view: ModelView
    revoked: set[str]

    @property
    def repo(self) -> RepoId:
        return self.view.repo

    def on(self, known: Heights | None) -> Heights:
        """What is known of it, raised."""
        found = (known or Heights()).without_keys(self.revoked)
        for ref, height in self.view.heights.by_ref:
            found = found.raised(ref, height)
        return found


class TrustAssessor:
    """Implements :class:`outlast.core.claims.Assessor`. What it sees of sequences and revocations
    it writes down, where the archive may be written: neither goes back when a statement goes.
    """

    def __init__(
        self,
        archive: Archive,
        needed: Needed,
        listers: Sequence[Lister] = (),
        foreign: FindForeign = lambda _revision, _pins: (),
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._archive = archive
        self._needed = needed
        self._listers = listers
        self._foreign = foreign
        self._now = now
        self._pins = Pins(archive)
        self._identities = IdentityPins(archive)
        self._heights = heights_of(archive)
        self._lock = threading.Lock()
        self._cache = _Cache()
        self._seen_foreign: OrderedDict[
            Digest, tuple[tuple[int, ...], tuple[ForeignSignature, ...]]
        ] = OrderedDict()
        self._proofs: OrderedDict[Digest, tuple[int, CommitProof | None]] = OrderedDict()

    def claims(self, manifest: Digest, revision: Revision) -> Claims:
        """How all four stand of a manifest that is here."""
        (found,) = self.claims_of_all([(manifest, revision)])
        return found

    def claims_of_all(self, revisions: Sequence[tuple[Digest, Revision]]) -> list[Claims]:
        """The same for several: what is seen of them is written down together, before this
        returns.
        """
        rises: list[_Rise] = []
        found = [self._claims(manifest, revision, rises) for manifest, revision in revisions]
        self._write_down(rises)
        return found

    def _claims(self, manifest: Digest, revision: Revision, rises: list[_Rise]) -> Claims:
        view = self._view(revision.repo, rises)
        now = now_text(self._now())
        sight = Sight.of(manifest, revision, self._archive.seen.get(revision.repo))
        states = [
            intact(self._archive, revision, self._current().damaged),
            published(view, manifest, self._needed.signatures, now),
            observed(view, sight, self._needed.observers, now),
            self._listed(manifest, revision),
        ]
        revoked = self._revoked(view, manifest, revision)
        return Claims.of(
            [self._checkable(manifest, state) for state in states],
            revoked,
            self._signed_elsewhere(view, manifest, revision),
            self._commit_of(view, manifest, revision),
            revoked_accepted=bool(revoked) and self._is_accepted(manifest, revision),
        )

    def _is_accepted(self, manifest: Digest, revision: Revision) -> bool:
        """Whether the operator uses a revision although it is revoked."""
        known = self._archive.revocations
        stopped = known.stops(revision.repo, revision.id) or known.unread().get(manifest)
        return stopped is None and known.of(manifest) is not None

    def _commit_of(
        self, view: ModelView, manifest: Digest, revision: Revision
    ) -> CommitProof | None:
        """What the text of the hub's commit comes to: computed once, as its bytes never change."""
        records = view.commits.get(manifest)
        if not records:
            return None
        with self._lock:
            known = self._proofs.get(manifest)
        if known is None or known[0] != len(records):
            known = len(records), proof_of(manifest, revision, records)
            with self._lock:
                self._proofs[manifest] = known
                while len(self._proofs) > _MOST_PROOFS:
                    self._proofs.popitem(last=False)
        return known[1]

    def _signed_elsewhere(
        self, view: ModelView, manifest: Digest, revision: Revision
    ) -> tuple[ForeignSignature, ...]:
        """Signatures of other tools among the files, and those that registries have beside them:
        read once, while the pins stay, and no more of them come.
        """
        records = view.cosigned.get(manifest, [])
        stamp = self._pins.stamp, self._identities.stamp, len(records)
        with self._lock:
            known = self._seen_foreign.get(manifest)
        if known is None or known[0] != stamp:
            signed = self._foreign(revision, self._pins.all)
            if records:
                signed = (*signed, *judge(revision, manifest, records, self._pins.all()))
            known = stamp, signed
            with self._lock:
                self._seen_foreign[manifest] = known
                while len(self._seen_foreign) > _MOST_FOREIGN:
                    self._seen_foreign.popitem(last=False)
        return known[1]

    def height(self, repo: RepoId, ref: str) -> Height | None:
        """The highest sequence that keys which are pinned for a model signed under a ref."""
        rises: list[_Rise] = []
        view = self._view(repo, rises)
        self._write_down(rises)
        return view.heights.get(ref)

    def _listed(self, manifest: Digest, revision: Revision) -> ClaimState:
        found = [lister.listed(manifest, revision) for lister in self._listers]
        if not found:
            return ClaimState(Claim.LISTED, Standing.ABSENT)
        return min(found, key=lambda state: RANKS.index(state.standing))

    def _checkable(self, manifest: Digest, state: ClaimState) -> ClaimState:
        """A claim that needs signatures, where none can be checked, says so."""
        signed = state.claim in {Claim.PUBLISHED, Claim.OBSERVED}
        if not signed or state.holds or has_cryptography() or manifest not in self._attested():
            return state
        why = f"its statements cannot be checked: {INSTALL}"
        return ClaimState(state.claim, Standing.ABSENT, why=why)

    def _revoked(self, view: ModelView, manifest: Digest, revision: Revision) -> str:
        """The reason of a revocation; empty where there is none. A new one is remembered."""
        for heard in view.heard.get(manifest, ()):
            said = heard.statement.predicate
            signers = heard.signers.by(PinState.ACTIVE, PinState.RETIRED)
            if isinstance(said, Revocation) and signers and not heard.wrong:
                by = ", ".join(sorted(pin.label for pin in signers))
                self._remember(
                    Revoked(manifest, revision.repo, revision.id, said.reason, by, said.made)
                )
                return _reason(said.reason, by, said.made)
        known = self._archive.revocations.of(manifest)
        if known is None:
            known = self._archive.revocations.stops(revision.repo, revision.id)
        return "" if known is None else _reason(known.reason, known.by, known.since)

    def _remember(self, revoked: Revoked) -> None:
        if self._archive.revocations.of(revoked.manifest) is not None:
            return
        self._try("a revocation", lambda: self._note(revoked))

    def _note(self, revoked: Revoked) -> None:
        with self._archive.writer() as writer:
            self._archive.revocations.note(writer, revoked)

    def _try(self, what: str, write: Callable[[], None]) -> None:
        """Writes what was seen, where that is possible: a reader may not be able to."""
        try:
            write()
        except OutlastError as error:
            _log.info("%s is not written down: %s", what, error)

    # What is read once

    def _attested(self) -> frozenset[Digest]:
        return self._current().attested

    def _current(self) -> _Cache:
        """What is known, as long as nothing has changed."""
        with self._lock:
            layout = self._archive.layout
            stamp = (self._pins.stamp, _time_of(layout.attestations), _time_of(layout.damage))
            if stamp != self._cache.stamp:
                attested = frozenset(self._archive.attestations.manifests())
                pins = self._pins.all() if attested else []
                damaged = self._archive.damaged_blobs()
                self._cache = _Cache(stamp, pins, attested, damaged)
            return self._cache

    def _view(self, repo: RepoId, rises: list[_Rise]) -> ModelView:
        """What is said of a model; `rises` gets what is to be written down of it."""
        cache = self._current()
        with self._lock:
            known = cache.views.get(repo)
        if known is not None:
            return known
        seen = self._heights.get(repo) or Heights()
        mine = self._manifests(repo) & cache.attested if cache.attested else frozenset()
        if not mine or not has_cryptography():
            view = ModelView(repo, heights=seen)
        else:
            needed = self._needed.signatures
            view = view_of(self._archive, repo, cache.pins, sorted(mine), known=seen, needed=needed)
            if view.heights != seen:
                rises.append(_Rise(view, revoked_keys(cache.pins, repo)))
        with self._lock:
            cache.views[repo] = view
        return view

    def _manifests(self, repo: RepoId) -> frozenset[Digest]:
        index = self._archive.index
        return frozenset(
            digest
            for commit in index.revisions(repo)
            for digest in index.manifests_of(repo, commit)
        )

    def _write_down(self, rises: Sequence[_Rise]) -> None:
        """Writes down what is higher by now, beside what other processes wrote meanwhile."""

        def write() -> None:
            with self._archive.writer() as writer:
                self._heights.put_all(
                    writer,
                    {rise.repo: rise.on(self._heights.get(rise.repo)) for rise in rises},
                )

        if rises:
            self._try("a sequence", write)


def intact(archive: Archive, revision: Revision, damaged: Collection[Digest]) -> ClaimState:
    """Whether the archive has all bytes of a revision, as its records say: each was compared with
    its digest when it came, and what was found damaged since is known. Nothing is read again.
    """
    bad = sum(entry.sha256 in damaged for entry in revision.files)
    if bad:
        why = f"{bad} of {len(revision.files)} files are damaged here"
        return ClaimState(Claim.INTACT, Standing.REFUSED, why=why)
    lost = sum(not archive.holds(entry) for entry in revision.files)
    missing = len(revision.missing) + lost
    if missing or revision.unlisted:
        why = f"{missing} files are not here" if missing else "it may lack files"
        return ClaimState(Claim.INTACT, Standing.ABSENT, why=why)
    return ClaimState(Claim.INTACT, Standing.HOLDS)


def _reason(reason: str, by: str, since: str) -> str:
    """Why, by whom, and since when."""
    return f"{reason} (by {by}, {since})" if by else reason


def _time_of(folder: os.PathLike[str]) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except FileNotFoundError:
        return 0
