"""Sharing: what of an archive this node hands on, and to whom.

Restricted is what its hub calls private or gated: it is for the peers that the operator named.
What the operator has stopped giving out, a key has revoked, or the rules do not allow to share, is
for no peer.
A blob that an open revision has too is open. A delta capsule, with the blob that it holds, gives
away the bytes of its bases: it goes to those who may have the bases too.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from types import MappingProxyType

from outlast.codec.format import BaseRef
from outlast.core.descriptors import is_exhausted
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import OutlastError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.core.offer import Offer
from outlast.core.policy import Action
from outlast.intake.judging import judge
from outlast.node.archive_watch import Bases, HeldRevision, Inventory, Key
from outlast.node.tuning import TUNING, Tuning
from outlast.store.archive import Archive
from outlast.store.disk import storage_error
from outlast.store.forms import MAX_LINKS
from outlast.store.records.lineage import ancestors_of_all


@dataclass(frozen=True, slots=True)
class SharePolicy:
    """What the operator shares: models whose name matches one of `include` and none of `exclude`
    (globs over what ``outlast ls`` shows), in revisions of at most `largest` bytes (0: of any
    size). With `restricted` private and gated models are offered to all peers.
    """

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    restricted: bool = False
    largest: int = 0

    def shares(self, repo: RepoId, size: int) -> bool:
        """Whether a revision of `size` bytes of a model is shared at all."""
        name = str(repo)
        return (
            (not self.largest or size <= self.largest)
            and any(fnmatchcase(name, pattern) for pattern in self.include)
            and not any(fnmatchcase(name, pattern) for pattern in self.exclude)
        )


@dataclass(frozen=True, slots=True)
class _Shared:
    """A revision that is shared, with the names of its refs; `told`: its list of files, or one of
    those, is the word of a node on the LAN alone.
    """

    held: HeldRevision
    refs: tuple[str, ...]
    restricted: bool
    told: bool

    def offer(self, manifest: Digest) -> Offer:
        held = self.held
        return Offer(
            repo=held.repo,
            commit=held.commit,
            manifest=manifest,
            refs=self.refs,
            files=held.files,
            size=held.size,
            partial=held.partial,
            restricted=self.restricted,
            unconfirmed=self.told,
        )


@dataclass(frozen=True, slots=True)
class _Answers:
    """What follows from the inventory and the policy; never changed. Each maps to whether it is
    restricted: `manifests`, those that would be among them were they not `revoked`, `drafts`, the
    blobs that may be shared (`allowed`, by their sha256 in
    hex) and those of them that are `here`. `forms`: whether there is a plain file of these, and the
    bases of the capsule if there is one. `owned`: the blobs that any revision has; `secrets`:
    whether a model is known that is restricted. `stopped`: the models that are not given out.
    """

    shared: tuple[_Shared, ...] = ()
    manifests: Mapping[Digest, bool] = field(default_factory=dict)
    revoked: Mapping[Digest, bool] = field(default_factory=dict)
    drafts: Mapping[Key, bool] = field(default_factory=dict)
    allowed: Mapping[str, bool] = field(default_factory=dict)
    here: Mapping[str, bool] = field(default_factory=dict)
    forms: Mapping[str, tuple[bool, tuple[str, ...] | None]] = field(default_factory=dict)
    owned: frozenset[str] = frozenset()
    secrets: bool = False
    stopped: frozenset[RepoId] = frozenset()

    def reveals(self, base: str, *, trusted: bool) -> bool:
        """Whether a peer may have what gives away the bytes of `base`. One that no revision has
        any more may be left of a model that was restricted.
        """
        if base in self.owned:
            return _may(self.allowed.get(base), trusted)
        return trusted or not self.secrets


class Sharing:
    """What an archive shares. Thread-safe; follows the archive, whichever process changes it."""

    def __init__(
        self,
        archive: Archive,
        policy: SharePolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        tuning: Tuning = TUNING,
    ) -> None:
        """`clock` gives seconds that never go back."""
        self._kept_drafts = tuning.kept_drafts
        self._clock = clock
        self._rejudge = tuning.rejudge
        self._judged: dict[tuple[RepoId, GitOid, Digest | None], bool] = {}
        self._judge_again = clock() + tuning.rejudge
        self._archive = archive
        self._policy = policy
        self._inventory = Inventory(archive, clock, tuning)
        self._lock = threading.Lock()
        self._drafted: OrderedDict[Digest, tuple[Key, bytes]] = OrderedDict()
        self._draft_names: dict[Key, tuple[tuple[int, ...], Digest]] = {}
        self._answers = _Answers()
        self._version = 0
        self._blobs: tuple[int, Mapping[Digest, bool]] = (0, MappingProxyType({}))
        self._stale = False
        self._ancestors: tuple[int, Mapping[Digest | None, tuple[Digest, ...]]] = (-1, {})

    @property
    def version(self) -> int:
        """Another number whenever the answers may be others, or a blob has another form."""
        return self._current()[1]

    def offers(self, query: str = "", *, trusted: bool, base: Digest | None = None) -> list[Offer]:
        """The revisions of models with `query` in their names (in upper or lower case) that a
        peer, or one that is `trusted` with what is restricted, may have; by name. With `base`, only
        those that say that they were made from the revision of that manifest.
        """
        needle = query.lower()
        found = []
        answers, version = self._current()
        made_from = None if base is None else self._made_from(version)
        for shared in answers.shared:
            if made_from is not None and base not in made_from.get(shared.held.manifest, ()):
                continue
            if needle in str(shared.held.repo).lower() and (trusted or not shared.restricted):
                manifest = shared.held.manifest or self._manifest_of_draft(shared.held)
                if manifest is not None:
                    offer = shared.offer(manifest)
                    if made_from is not None:
                        offer = replace(offer, made_from=made_from[manifest])
                    found.append(offer)
        return found

    def _made_from(self, version: int) -> Mapping[Digest | None, tuple[Digest, ...]]:
        """What each manifest says that it was made from; found anew once the archive changed."""
        with self._lock:
            if self._ancestors[0] == version:
                return self._ancestors[1]
        found = ancestors_of_all(self._archive)
        with self._lock:
            self._ancestors = (version, found)
        return found

    def manifest(self, digest: Digest, *, trusted: bool) -> bytes | None:
        """A manifest (canonical JSON) that a peer may have; None of any other."""
        answers, _ = self._current()
        if digest in answers.manifests:
            return self._read(digest) if _may(answers.manifests.get(digest), trusted) else None
        with self._lock:
            drafted = self._drafted.get(digest)
        if drafted is None or not _may(answers.drafts.get(drafted[0]), trusted):
            return None
        return drafted[1]

    def tells_of(self, manifest: Digest, *, trusted: bool) -> bool:
        """Whether a peer may hear what was signed about a manifest: one that it may have, or might
        if it were not revoked.
        """
        answers, _ = self._current()
        known = answers.manifests.get(manifest, answers.revoked.get(manifest))
        return _may(known, trusted)

    def allows(self, blob: Digest, *, trusted: bool) -> bool:
        """Whether a peer may have a blob: one of an offered revision that is here, or is still to
        come.
        """
        return _may(self._current()[0].allowed.get(blob.hex), trusted)

    def allows_capsule(self, bases: Iterable[BaseRef], *, trusted: bool) -> bool:
        """Whether a peer that may have a blob may have its capsule, which depends on `bases`."""
        answers = self._current()[0]
        return all(answers.reveals(base.sha256.hex, trusted=trusted) for base in bases)

    def is_stopped(self, repo: RepoId) -> bool:
        """Whether the operator stopped giving out a model."""
        return repo in self._current()[0].stopped

    def refuses(self, repo: RepoId, commit: GitOid) -> bool:
        """Whether the rules do not allow to share a revision."""
        revision = None if self._archive.rules.is_open else self._archive.load(repo, commit)
        return revision is not None and not judge(self._archive, Action.SHARE, revision).allowed

    def blobs(self) -> Mapping[Digest, bool]:
        """All that is here and may be shared, and whether that is restricted."""
        answers, version = self._current()
        with self._lock:
            known = self._blobs
        if known[0] != version:
            here = {Digest(blob): closed for blob, closed in answers.here.items()}
            with self._lock:
                known = self._blobs = version, MappingProxyType(here)
        return known[1]

    # Following the archive

    def _current(self) -> tuple[_Answers, int]:
        with self._lock:
            if self._judged and self._clock() >= self._judge_again:
                self._judged.clear()  # rules, claims and days change
                self._judge_again = self._clock() + self._rejudge
                self._stale = True
            if self._stale or not self._inventory.is_current:
                self._look()
            return self._answers, self._version

    def _look(self) -> None:
        stale, self._stale = self._stale, True  # until the answers are there, whatever fails
        if self._inventory.look() or stale:
            answers = self._answer()
            if answers != self._answers:
                self._answers = answers
                self._version += 1
        self._stale = False

    def _answer(self) -> _Answers:
        best: dict[Key, _Shared] = {}
        manifests: dict[Digest, bool] = {}
        revoked: dict[Digest, bool] = {}
        allowed: dict[str, bool] = {}
        owned: set[str] = set()
        reserved: set[str] = set()
        for held in self._inventory.revisions():
            owned.update(held.blobs)
            shared = self._shared(held)
            if shared is None or shared.restricted:
                reserved.update(held.awaited)
            if shared is None:
                if held.manifest is not None and self._is_revoked_alone(held):
                    revoked[held.manifest] = self._is_restricted(held)
                continue
            key = (held.repo, held.commit)
            if key not in best or _rank(held) < _rank(best[key].held):
                best[key] = shared
            if held.manifest is not None:
                manifests[held.manifest] = shared.restricted
            _allow(allowed, held.blobs, restricted=shared.restricted)
        for shared in best.values():  # files that other revisions have are decided by those
            # That an open one lists them proves nothing: they may be on their way for another.
            others = owned if shared.restricted else owned | reserved
            coming = [blob for blob in shared.held.awaited if blob not in others]
            _allow(allowed, coming, restricted=shared.restricted)
        plain, capsules = self._inventory.plain(), self._inventory.capsules()
        self._add_bases(allowed, owned, capsules)
        drafts = {key: s.restricted for key, s in best.items() if s.held.manifest is None}
        here = {blob: allowed[blob] for blob in allowed.keys() & (plain | capsules.keys())}
        return _Answers(
            shared=tuple(shared for _, shared in sorted(best.items()) if shared.held.files),
            manifests=manifests,
            revoked=revoked,
            drafts=drafts,
            allowed=allowed,
            here=here,
            forms={blob: (blob in plain, capsules.get(blob)) for blob in here},
            owned=frozenset(owned),
            secrets=self._inventory.has_secrets(restricted=self._policy.restricted),
            stopped=self._inventory.stopped,
        )

    def _shared(self, held: HeldRevision) -> _Shared | None:
        if not self._policy.shares(held.repo, held.whole):
            return None
        facts = self._inventory.facts(held.repo)
        if facts.is_stopped or self._inventory.is_revoked(held) or not self._allowed(held):
            return None
        restricted = self._is_restricted(held)
        marked = (held.repo, held.commit) in self._inventory.marked
        told = marked or held.commit in facts.unconfirmed
        return _Shared(held, facts.refs.get(held.commit, ()), restricted, told)

    def _is_restricted(self, held: HeldRevision) -> bool:
        """Whether static peers alone may hear of a revision."""
        return not self._inventory.facts(held.repo).is_open and not self._policy.restricted

    def _is_revoked_alone(self, held: HeldRevision) -> bool:
        """Whether nothing but a revocation keeps a revision from being offered. The rules are not
        asked: they often forbid what is revoked.
        """
        stopped = self._inventory.facts(held.repo).is_stopped
        shares = self._policy.shares(held.repo, held.whole)
        return shares and not stopped and self._inventory.is_revoked(held)

    def _allowed(self, held: HeldRevision) -> bool:
        """Whether the rules allow to share a revision, as they said when it was judged last. Files
        that come to a draft do not change that until all is judged again.
        """
        if self._archive.rules.is_open:
            return True
        key = (held.repo, held.commit, held.manifest)
        if key not in self._judged:
            began = self._clock()
            self._judged[key] = not self.refuses(held.repo, held.commit)
            # All is judged again when that takes a twentieth of the time at most.
            self._judge_again += 20 * (self._clock() - began)
        return self._judged[key]

    def _add_bases(self, allowed: dict[str, bool], owned: set[str], capsules: Bases) -> None:
        """Allows the bases of shared delta capsules. If a revision has the base, that decides. A
        base that no revision has any more may have been private: it is for trusted peers.
        """
        dependent = allowed.keys() & capsules.keys()
        for _ in range(MAX_LINKS):
            found = {base for blob in dependent for base in capsules.get(blob, ())}
            dependent = found - owned - allowed.keys()
            allowed.update(dict.fromkeys(dependent, not self._policy.restricted))

    # Manifests

    def _read(self, digest: Digest) -> bytes | None:
        try:
            data = self._archive.layout.manifest(digest).read_bytes()
        except OSError as error:
            if is_exhausted(error):
                raise storage_error(error, "a manifest") from error
            return None
        return data if Digest.of(data) == digest else None  # `verify` tells

    def _manifest_of_draft(self, held: HeldRevision) -> Digest | None:
        """The name that a draft has as it is now."""
        key = (held.repo, held.commit)
        with self._lock:
            known = self._draft_names.get(key)
            if known is not None and known[0] == held.stamp:
                self._drafted.move_to_end(known[1])
                return known[1]
        try:
            draft = self._archive.drafts.load(*key)
        except OutlastError:
            return None
        return None if draft is None else self._name(key, held.stamp, draft)

    def _name(self, key: Key, stamp: tuple[int, ...], draft: Revision) -> Digest:
        data = draft.to_bytes()
        digest = Digest.of(data)
        with self._lock:
            self._draft_names[key] = stamp, digest
            self._drafted[digest] = key, data
            self._drafted.move_to_end(digest)
            while len(self._drafted) > self._kept_drafts:
                gone, _ = self._drafted.popitem(last=False)
                self._draft_names = {k: v for k, v in self._draft_names.items() if v[1] != gone}
        return digest


def _allow(allowed: dict[str, bool], blobs: Iterable[str], *, restricted: bool) -> None:
    if not restricted:
        allowed.update(dict.fromkeys(blobs, False))
        return
    for blob in blobs:
        allowed.setdefault(blob, True)


def _may(restricted: bool | None, trusted: bool) -> bool:
    """Whether a peer may have what is restricted or not, or (None) not shared at all."""
    return restricted is not None and (trusted or not restricted)


def _rank(held: HeldRevision) -> tuple[bool, bool, int, str]:
    """Drafts come first: they have what a manifest of the commit has. Then the more complete."""
    sealed = held.manifest is not None
    return sealed, held.partial, -held.files, held.manifest.hex if held.manifest else ""
