"""One look at a model: what a hub says of it becomes an observation, and what changed is asked for
in detail.
"""

import difflib
import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from outlast.core.digest import GitOid
from outlast.core.errors import BadNameError, Cancelled, MalformedError, OutlastError
from outlast.core.names import RepoId, check_ref
from outlast.features.watch.changes import HubStanding, Observation
from outlast.features.watch.memory_rows import ModelState
from outlast.features.watch.polls.compare import MAIN, Particulars, moved_refs
from outlast.sources.hub_watch import Asked, FileSeen, HubWatch

T = TypeVar("T")
_log = logging.getLogger(__name__)

_STANDINGS: Final = {
    401: HubStanding.REFUSED,
    403: HubStanding.REFUSED,
    404: HubStanding.MISSING,
    410: HubStanding.GONE,
    451: HubStanding.BLOCKED,
}
_UNTOLD: Final = "without a token the hub does not say whether it was deleted or made private"
_CARD: Final = "README.md"
_LICENCE: Final = re.compile(
    r"(licen[cs]e|copying|notice|use_policy)([._-][\w.-]*)?\Z", re.IGNORECASE
)
_MOST_LICENCES: Final = 4
_MOST_REFS: Final = 100_000
_MOST_ASKED: Final = 20
"""Refs that moved in one poll, of which it is asked whether they kept their history."""
_DIFF: Final = 64 * 1024
"""Characters of a diff. The whole texts are in the archive, or at the hub."""
_DIFF_LINES: Final = 5000
"""Lines of a text that are compared: the time of a diff grows with their square."""


class Past(Protocol):
    """What the archive has of commits that a hub may have no more."""

    def files(self, repo: RepoId, commit: GitOid) -> Mapping[str, FileSeen] | None:
        """The files of a commit, whether their bytes are here or not; None if it is not known."""

    def text(self, repo: RepoId, commit: GitOid, path: str) -> str | None:
        """A small file; None if its bytes are not here."""

    def seed(self, hub: str, repo: RepoId) -> Observation | None:
        """What was seen last of a model at a hub, before it was watched; None if nothing was."""


@dataclass(frozen=True, slots=True)
class Look:
    """What came of a look: the new state's observation, with what the next one needs. `seen` is as
    before where the hub said that nothing changed.
    """

    seen: Observation
    etag: str = ""
    refs_etag: str = ""
    asked_refs: bool = False


def look(hub: HubWatch, state: ModelState, *, refs: bool, info: bool = True) -> Look:
    """Asks for a model (`info`), and for its refs. Raises the errors of sources if there was no
    answer of the hub's own.
    """
    repo = known_as(state)
    listed: dict[str, GitOid] | None = None
    refs_etag = state.refs_etag
    if refs and not info:
        asked = hub.refs(repo, state.refs_etag)
        assert state.seen is not None
        if asked.status == 304:
            return Look(state.seen, state.etag, state.refs_etag, asked_refs=True)
        if asked.status == 200:
            listed = _refs(asked.document, repo)
            refs_etag = asked.etag
            if listed.get(MAIN) == state.seen.commit:
                seen = replace(state.seen, refs=listed, reason="")
                if state.seen.standing.serves:
                    return Look(seen, state.etag, refs_etag, asked_refs=True)
    seen, etag = _info(hub, state, repo)
    if refs and listed is None and seen.standing.serves:
        listed, refs_etag = _ask_refs(hub, state, _renamed(repo, seen.name))
    if listed is not None and seen.standing.serves:
        if MAIN in listed:  # what was asked for first may be older by a push
            seen = replace(seen, commit=listed[MAIN])
        seen = replace(seen, refs=listed)
    return Look(seen, etag, refs_etag, asked_refs=refs)


def known_as(state: ModelState) -> RepoId:
    """The model by the hub's last name for it."""
    return _renamed(state.repo, state.seen.name if state.seen is not None else "")


def _renamed(repo: RepoId, name: str) -> RepoId:
    return RepoId(repo.kind, name) if name else repo


def _info(hub: HubWatch, state: ModelState, repo: RepoId) -> tuple[Observation, str]:
    before = state.seen
    asked = hub.info(repo, state.etag if before is not None and before.standing.serves else "")
    if asked.status == 304:
        assert before is not None
        return replace(before, refs=None), state.etag
    if asked.status == 401 and hub.has_token:  # the token itself may be what it refuses
        public = hub.with_token(None)
        try:
            other = public.info(repo)
        finally:
            hub.requests += public.requests
        asked = other if other.status == 200 else asked
    return observation(asked, repo, has_token=hub.has_token), asked.etag


def _ask_refs(
    hub: HubWatch, state: ModelState, repo: RepoId
) -> tuple[dict[str, GitOid] | None, str]:
    """None where the hub gives no list of refs: `main` is watched all the same."""
    asked = hub.refs(repo, state.refs_etag)
    if asked.status == 304:
        return dict((state.seen and state.seen.refs) or {}), state.refs_etag
    if asked.status != 200:
        return None, ""
    return _refs(asked.document, repo), asked.etag


def observation(asked: Asked, repo: RepoId, *, has_token: bool) -> Observation:
    """What an answer says."""
    if asked.status != 200:
        standing = HubStanding.GONE if asked.disabled else _STANDINGS[asked.status]
        hidden = asked.status == 401 and not has_token
        reason = f"{asked.reason}; {_UNTOLD}" if hidden else asked.reason
        return Observation(standing, reason=reason)
    return described(asked.document, repo)


def described(info: object, repo: RepoId) -> Observation:
    """What a hub's description of a model says. Raises :class:`MalformedError`."""
    if not isinstance(info, dict) or not isinstance(info.get("id"), str):
        raise MalformedError(f"the hub gave no description of {repo}")
    try:
        name = RepoId(repo.kind, info["id"]).name
    except BadNameError as error:
        raise MalformedError(f"the hub describes {repo}: {error}") from None
    sha = info.get("sha")
    if sha is not None and not GitOid.is_valid(str(sha)):
        raise MalformedError(f"the hub gives no commit of {repo}")
    if info.get("disabled") is True:
        return Observation(HubStanding.GONE, reason="the hub has disabled it")
    gated, size = info.get("gated"), info.get("usedStorage")
    standing = HubStanding.GATED if gated else HubStanding.OPEN
    return Observation(
        standing=HubStanding.PRIVATE if info.get("private") else standing,
        name=name,
        commit=None if sha is None else GitOid(str(sha)),
        licence=_licence(info),
        modified=str(info.get("lastModified") or "")[:40],
        size=size if isinstance(size, int) and 0 <= size < 1 << 62 else 0,
        reason=f"access: {str(gated)[:40]}" if gated else "",
    )


def hint(seen: Observation) -> str:
    """What a list said of a model, in short: while it stays the same, no more is asked."""
    said = [seen.standing, seen.name, seen.commit and seen.commit.hex, seen.licence, seen.modified]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def _licence(info: Mapping[str, Any]) -> str:
    """The licence that the card names, or else a tag."""
    card = info.get("cardData")
    card = card if isinstance(card, dict) else {}
    word = card.get("license")
    if isinstance(word, list):
        word = ", ".join(sorted(str(one) for one in word[:10]))
    if not word:
        tags = info.get("tags")
        found = (str(tag) for tag in tags or ()) if isinstance(tags, list) else iter(())
        word = next((t.removeprefix("license:") for t in found if t.startswith("license:")), "")
    name = card.get("license_name")
    return f"{word} ({name})"[:200] if word and isinstance(name, str) and name else str(word)[:200]


def _refs(document: object, repo: RepoId) -> dict[str, GitOid]:
    """Branches by their names, and tags by theirs, where no branch has it. Refs that the hub itself
    makes are left out.
    """
    if not isinstance(document, dict) or not isinstance(document.get("branches"), list):
        raise MalformedError(f"the hub listed no branches of {repo}")
    found: dict[str, GitOid] = {}
    for kind in ("branches", "tags"):
        rows = document.get(kind)
        for row in rows if isinstance(rows, list) else ():
            if not isinstance(row, dict) or not GitOid.is_valid(str(row.get("targetCommit"))):
                continue
            try:
                name = check_ref(str(row.get("name")))
            except BadNameError:
                continue
            name = f"tags/{name}" if name in found else name
            found[name] = GitOid(str(row["targetCommit"]))
            if len(found) > _MOST_REFS:
                raise MalformedError(f"the hub lists too many refs of {repo}")
    return found


# What changed, in detail


def details(
    hub: HubWatch, state: ModelState, after: Observation, kept: Past, *, repo: RepoId
) -> Particulars:
    """What is asked for because something moved. What the hub does not answer is not known, and the
    change is told without it.
    """
    before = state.seen
    if before is None or not after.standing.serves:
        return Particulars()
    moved = moved_refs(before, after)
    if not moved:
        return Particulars()
    descends = {
        ref: _or_none(partial(hub.descends, repo, new, old))
        for ref, (old, new) in sorted(moved.items(), key=lambda pair: pair[0] != MAIN)[:_MOST_ASKED]
    }
    if MAIN not in moved:
        return Particulars(descends)
    old, new = moved[MAIN]
    texts = _Texts(hub, kept, repo, state.repo)
    was, now = texts.files(old), texts.files(new)
    if was is None or now is None:
        return Particulars(descends)
    return Particulars(
        descends,
        dropped=tuple(sorted(was.keys() - now.keys())),
        card=texts.diff(old, new, [_CARD]),
        licence=texts.diff(old, new, _licences({*was, *now})),
    )


def _licences(paths: set[str]) -> list[str]:
    return sorted(path for path in paths if _LICENCE.match(path))[:_MOST_LICENCES]


class _Texts:
    """The texts of two commits, from the archive or from the hub."""

    def __init__(self, hub: HubWatch, kept: Past, repo: RepoId, archived: RepoId) -> None:
        self._hub = hub
        self._kept = kept
        self._repo = repo
        self._archived = archived
        self._files: dict[GitOid, Mapping[str, FileSeen]] = {}

    def files(self, commit: GitOid) -> Mapping[str, FileSeen] | None:
        found = _or_none(lambda: self._hub.files(self._repo, commit))
        if found is None:
            found = self._kept.files(self._archived, commit)
        if found is not None:
            self._files[commit] = found
        return found

    def diff(self, old: GitOid, new: GitOid, paths: list[str]) -> str:
        """Unified, of those of the texts that differ; cut at its bound."""
        parts: list[str] = []
        for path in paths:
            was, now = self._files[old].get(path), self._files[new].get(path)
            if was == now:
                continue
            before = "" if was is None else self._text(old, path)
            after = "" if now is None else self._text(new, path)
            if before is None or after is None:
                parts.append(f"{path} is another one; its text is not available")
            else:
                parts += _unified(path, before, after)
        whole = "\n".join(parts)
        return whole if len(whole) <= _DIFF else f"{whole[:_DIFF]}\n… (cut)"

    def _text(self, commit: GitOid, path: str) -> str | None:
        kept = self._kept.text(self._archived, commit, path)
        return (
            kept if kept is not None else _or_none(lambda: self._hub.text(self._repo, commit, path))
        )


def _unified(path: str, old: str, new: str) -> list[str]:
    if old == new:
        return []
    was, now = old.splitlines()[:_DIFF_LINES], new.splitlines()[:_DIFF_LINES]
    return [*difflib.unified_diff(was, now, f"a/{path}", f"b/{path}", lineterm="")]


def _or_none(ask: Callable[[], T | None]) -> T | None:
    """None where the hub gives no answer: the change is told all the same."""
    try:
        return ask()
    except Cancelled:
        raise
    except OutlastError as error:
        _log.info("a detail is not known: %s", error)
        return None
