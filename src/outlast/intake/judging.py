"""Asks the rules of an archive about a model: by what a source says of it, by the names of its
files alone, or by what is archived of it.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from outlast.codec.memory import read
from outlast.core.claims import Claim, Claims, ClaimState, Standing
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import DamagedRecordError, OutlastError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.core.policy import Action, Subject, Verdict, enforce
from outlast.intake.base_names import UNREAD_BASE, BaseNames, read_tags
from outlast.intake.front_matter import FRONT as _FRONT
from outlast.intake.front_matter import front_matter
from outlast.sources.base import Listing
from outlast.store.archive import Archive
from outlast.store.records.file_list import entries_of, listing_digest
from outlast.store.records.seen import YOU

FRESH: Final = 10.0
"""Seconds for which a verdict on what is served counts, if the revision is the same. Guess: rules
that were changed hold soon enough, and a client's hundreds of requests are judged once."""
_KEPT: Final = 256
"""Verdicts that are remembered, with their revisions: what clients use at one time. Guess."""
CARD: Final = "README.md"
"""The model's card."""
_UNREAD: Final = "card-that-cannot-be-read"
"""No licence is called so, so what a model is under is unknown."""
_MOST: Final = 8
"""Licences of one card."""
_SHOWN: Final = 200
_KEYS: Final = ("license", "license_name")
_LICENCE_TAG: Final = "license:"
_NONE: Final = frozenset({"", "other", "unknown", "none", "null", "~"})
"""What cards write where they name no licence."""


def require_listing(archive: Archive, action: Action, listing: Listing, source: str) -> None:
    """Raises :class:`RefusedByRulesError` where the rules do not allow `action` with what `source`
    lists, or with what is here of it already: its card may say more.
    """
    if archive.rules.is_open:
        return
    claims = listing.facts
    archive.rules.require(
        action,
        Subject(
            repo=listing.repo,
            files=tuple(listing.entries),
            source=source,
            licence=_joined(_tagged(claims.tags)),
            base_models=_names(read_tags(claims.tags)),
            gated=bool(claims.gated or claims.private),
            facts=dict(claims.facts),
        ),
    )
    try:
        known = archive.load(listing.repo, listing.commit)
    except DamagedRecordError:
        return  # it is written anew, and asked about when it is
    if known is not None and known.files:
        require_revision(archive, action, known, source=source)


def require_files(
    archive: Archive, action: Action, repo: RepoId, files: Iterable[FileEntry], *, source: str
) -> None:
    """The same of files of which no more is known than their names and sizes."""
    if not archive.rules.is_open:
        archive.rules.require(action, Subject(repo, files=tuple(files), source=source))


def require_revision(
    archive: Archive, action: Action, revision: Revision, *, source: str = ""
) -> None:
    """The same of what is archived."""
    allowed(archive, action, revision, source=source)


def allowed(archive: Archive, action: Action, revision: Revision, *, source: str = "") -> Verdict:
    """The same; what the rules say, where they allow it."""
    verdict = judge(archive, action, revision, source=source)
    enforce(action, revision.repo, verdict)
    return verdict


def judge(archive: Archive, action: Action, revision: Revision, *, source: str = "") -> Verdict:
    """What the rules say of an action with an archived revision, or one that is still arriving."""
    if archive.rules.is_open:
        return Verdict(allowed=True)
    return archive.rules.judge(action, subject_of(archive, revision, source=source))


def subject_of(archive: Archive, revision: Revision, *, source: str = "") -> Subject:
    """What the archive knows of a revision: its hub's facts and its own card. `source`: where it
    comes from, if no ref says so yet.
    """
    repo, commit = revision.repo, revision.id
    about = archive.refs.about(repo)
    names = BaseNames(archive, repo)
    names.learn_revision(revision)
    sealed = archive.index.manifests_of(repo, commit)
    drafted = archive.drafts.exists(repo, commit)
    manifest = sealed[0] if sealed and not drafted else None
    return Subject(
        repo=repo,
        manifest=manifest,
        files=(*revision.files, *revision.missing),
        claims=_claims(archive, revision, manifest),
        source=source or _source(archive, repo, commit),
        licence=_joined([*_carded(archive, revision), *_tagged(about.tags)]),
        base_models=(*_names(names.all()), *([UNREAD_BASE] if names.unread else [])),
        gated=not about.is_open,
        facts={k: v for k, v in about.facts.items() if k not in about.notes},
        revision=revision,
    )


class Judgements:
    """What the rules say of what is served, remembered for a moment. Thread-safe."""

    def __init__(
        self, archive: Archive, action: Action, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` gives seconds that never go back."""
        self._archive = archive
        self._action = action
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[int, _Judged] = OrderedDict()
        """By `id()` of the revision: to name one without a commit, its manifest would be hashed."""

    def require(self, revision: Revision) -> None:
        """Raises :class:`RefusedByRulesError` where the rules do not allow the action."""
        rules = self._archive.rules
        if rules.is_open:
            return
        key, now = id(revision), self._clock()
        with self._lock:
            known = self._known.get(key)
        # A draft to which a file came is another one: that file may be the card.
        if known is not None and known.revision is revision and now - known.at < FRESH:
            rules.note(known.verdict)
        else:
            known = _Judged(revision, now, judge(self._archive, self._action, revision))
            self._keep(key, known)
        enforce(self._action, revision.repo, known.verdict)

    def _keep(self, key: int, judged: "_Judged") -> None:
        with self._lock:
            self._known[key] = judged
            self._known.move_to_end(key)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A verdict, and when it was given (seconds of the clock)."""

    revision: Revision
    at: float
    verdict: Verdict


def _claims(archive: Archive, revision: Revision, manifest: Digest | None) -> Claims:
    """What the archive's records claim; nothing is hashed for it."""
    if manifest is not None and (assessor := archive.rules.assessor) is not None:
        return assessor.claims(manifest, revision)
    return own_claims(archive, revision, sealed=manifest is not None)


def own_claims(archive: Archive, revision: Revision, *, sealed: bool) -> Claims:
    """What the archive proves by itself, from records of its own alone: that all bytes are here,
    and that a hub listed just these files to it.
    """
    states = []
    if sealed and all(map(archive.holds, revision.files)):
        states.append(ClaimState(Claim.INTACT, Standing.HOLDS))
    seen = archive.seen.get(revision.repo)
    if seen is not None and seen.has(revision.id):
        own = seen.of(revision.id, listing_digest(entries_of(revision)))
        if own:
            first = min(own, key=lambda row: row.when)
            who, why = (YOU,), f"at {first.hub}"
            states.append(ClaimState(Claim.OBSERVED, Standing.HOLDS, who, first.when, why))
    return Claims.of(states)


def _source(archive: Archive, repo: RepoId, commit: GitOid) -> str:
    """Where the ref came from that names a commit; empty where none does, or several differ."""
    found = {ref.source for ref in archive.refs.read(repo).refs if ref.commit == commit}
    return found.pop() if len(found) == 1 else ""


def _names(repos: Iterable[RepoId]) -> tuple[str, ...]:
    return tuple(map(str, repos))


# Licences, as they are written


def _joined(names: Iterable[str]) -> str:
    """All that is named, each once: who may do a thing must be allowed it by each."""
    found = dict.fromkeys(names)
    if len(found) == 1:
        return next(iter(found))
    return " AND ".join(f"({name})" if " OR " in name else name for name in found)


def _tagged(tags: Iterable[str]) -> list[str]:
    """The licences that a hub's tags name."""
    found = (t.removeprefix(_LICENCE_TAG) for t in tags if t.startswith(_LICENCE_TAG))
    return _named(found)


def _carded(archive: Archive, revision: Revision) -> list[str]:
    """The licences that the card of a revision names, if it is here, however long it is. One that
    cannot be read names :data:`_UNREAD`: it may say more than the hub's tags.
    """
    entry = next((e for e in revision.files if e.path == CARD), None)
    if entry is None or entry.sha256 is None:
        return []
    try:
        with archive.open_blob(entry.sha256) as blob:
            data = read(blob, 0, min(blob.size, _FRONT))
    except OutlastError:
        return [_UNREAD]  # `verify` tells
    return read_licences(data)


def read_licences(card: bytes) -> list[str]:
    """The licences that the front matter of a README.md names: those of ``license`` (a text or a
    list), or ``license_name`` where that says ``other``.
    """
    said: dict[str, list[str]] = {}
    text = card[:_FRONT].decode(errors="replace")
    for key, value in front_matter(text, _KEYS, cut=len(card) >= _FRONT):
        said.setdefault(key or "license", []).append(_UNREAD if value is None else value)
    return _named(said.get("license", ())) or _named(said.get("license_name", ()))


def _named(values: Iterable[str]) -> list[str]:
    """Licences without quotes and what means none; at most some. What is cut off could be a licence
    too, so then what is known is not all.
    """
    found = [" ".join(value.split()).strip("'\"").strip() for value in values]
    kept = list(dict.fromkeys(v for v in found if v.lower() not in _NONE))
    cut = [v if len(v) <= _SHOWN else _UNREAD for v in kept[:_MOST]]
    return [*dict.fromkeys(cut), *([_UNREAD] if len(kept) > _MOST and _UNREAD not in cut else [])]
