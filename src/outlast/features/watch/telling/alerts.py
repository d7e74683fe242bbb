"""What an alert says: what changed, what is held here, and the one command that helps. Pure."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from outlast.core.digest import GitOid
from outlast.core.errors import one_line
from outlast.core.names import RepoId, RepoKind
from outlast.features.watch.changes import Change, ChangeKind

_SHORT: Final = 12
_MOST: Final = 20
"""Lines of a diff, and paths, in the text of an alert."""
_SUBJECT: Final = 200


@dataclass(frozen=True, slots=True)
class HeldCommits:
    """What the archive holds of a model: the commits of which all files are here, and those of
    which some are.
    """

    complete: frozenset[str] = frozenset()
    partial: frozenset[str] = frozenset()


NOTHING: Final = HeldCommits()


@dataclass(frozen=True, slots=True)
class Alert:
    """A change as people are told. `subject` is one line; `held` says what is here, `command` what
    helps; it may be empty.
    """

    change: Change
    subject: str
    held: str
    command: str

    def text(self) -> str:
        """All of it, as lines of plain text."""
        change = self.change
        lines = [self.subject, f"noticed:    {change.when}"]
        if change.reason:
            lines.append(f"the hub:    {change.reason}")
        if self.held:
            lines.append(f"held here:  {self.held}")
        if self.command:
            lines.append(f"what helps: {self.command}")
        lines += [f"  {path}" for path in change.files[:_MOST]]
        if len(change.files) > _MOST:
            lines.append(f"  and {len(change.files) - _MOST} more")
        diff = change.diff.splitlines()
        lines += [f"  {line}" for line in diff[:_MOST]]
        if len(diff) > _MOST:
            lines.append(f"  and {len(diff) - _MOST} lines more: 'outlast log --json' has them")
        return "\n".join(one_line(line) for line in lines) + "\n"


def alert_of(change: Change, held: HeldCommits) -> Alert:
    """What is told of a change, where the archive holds that much of the model."""
    return Alert(
        change,
        one_line(sentence(change), _SUBJECT),
        "" if change.repo is None else _held(change, held),
        _command(change, held),
    )


# What changed


def sentence(change: Change) -> str:
    """What changed, as a sentence without its end: ``org/name was deleted at HUB``."""
    what = _WORDS[change.kind].format(
        ref=change.ref or "main",
        before=_shown(change.before),
        after=_shown(change.after),
        files=_files(change),
    )
    if change.repo is None and change.kind in _OF_HUBS:
        return f"{change.hub} {what}"
    return f"{change.repo or change.before or 'an account'} {what} at {change.hub}"


def detail(change: Change) -> str:
    """What changed in a few words, where its kind and the model are said beside it."""
    moved = " → ".join(filter(None, (_shown(change.before, ""), _shown(change.after, ""))))
    told = " ".join(filter(None, (change.ref, moved, ", ".join(change.files[:3]))))
    return ": ".join(filter(None, (told, change.reason)))


_WORDS: Final[Mapping[ChangeKind, str]] = {
    ChangeKind.APPEARED: "appeared",
    ChangeKind.NEW_REF: "has a new branch or tag, {ref} ({after}),",
    ChangeKind.MOVED: "has a new commit on {ref} ({before} → {after})",
    ChangeKind.FORCE_PUSHED: "lost the history of {ref} ({before} → {after})",
    ChangeKind.REF_DELETED: "lost its branch or tag {ref} ({before})",
    ChangeKind.FILES_DROPPED: "lost {files}",
    ChangeKind.RELICENSED: "has another licence ({before} → {after})",
    ChangeKind.CARD_CHANGED: "has another model card",
    ChangeKind.GATED: "is gated now",
    ChangeKind.UNGATED: "is not gated any more",
    ChangeKind.MADE_PRIVATE: "was made private",
    ChangeKind.RENAMED: "was renamed to {after}",
    ChangeKind.TRANSFERRED: "was transferred to {after}",
    ChangeKind.REFUSED: "was withdrawn (deleted, private or closed to us)",
    ChangeKind.DELETED: "was deleted",
    ChangeKind.ACCOUNT_GONE: "went with its whole account",
    ChangeKind.BLOCKED: "is blocked",
    ChangeKind.RETURNED: "is back",
    ChangeKind.HUB_DARK: "does not answer",
    ChangeKind.HUB_BACK: "answers again",
}
_OF_HUBS: Final = frozenset({ChangeKind.HUB_DARK, ChangeKind.HUB_BACK})


def _shown(word: str, missing: str = "none") -> str:
    return (word[:_SHORT] if GitOid.is_valid(word) else word) or missing


def _files(change: Change) -> str:
    if not change.files:
        return "files"
    more = len(change.files) - 1
    return f"{change.files[0]}{f' and {more} other files' if more else ''}"


# What is held


def _held(change: Change, held: HeldCommits) -> str:
    commit = _commit(change)
    if commit in held.complete:
        return f"all of commit {commit[:_SHORT]}"
    if commit in held.partial:
        return f"a part of commit {commit[:_SHORT]}"
    others = len(held.complete) + len(held.partial)
    if commit and others:
        beside = f"; {others} other commit{'s' * (others > 1)}"
        return f"not commit {commit[:_SHORT]}{beside}"
    if held.complete:
        count = len(held.complete)
        return f"all files of {'1 commit' if count == 1 else f'{count} commits'}"
    return "a part of its files" if held.partial else "nothing of it"


def _commit(change: Change) -> str:
    """The commit that one would want to hold; empty if any will do."""
    gone = {ChangeKind.FORCE_PUSHED, ChangeKind.REF_DELETED, ChangeKind.FILES_DROPPED}
    come = {ChangeKind.MOVED, ChangeKind.NEW_REF}
    word = change.before if change.kind in gone else change.after if change.kind in come else ""
    return word if GitOid.is_valid(word) else ""


# What helps


def _command(change: Change, held: HeldCommits) -> str:
    repo = change.repo
    if repo is None:
        return "outlast serve" if change.kind is ChangeKind.HUB_DARK else ""
    commit = _commit(change)
    has = bool(held.complete) if not commit else commit in held.complete
    return _HELP.get(change.kind, _gone)(change, repo, has)


def _gone(_change: Change, repo: RepoId, has: bool) -> str:
    """The hub gives nothing any more: what is here has to be sound, or comes from other nodes."""
    return f"outlast verify {repo}" if has else f"outlast pull {repo} --from lan"


def _kept(change: Change, repo: RepoId, has: bool) -> str:
    """The hub may still have a commit that no ref names."""
    commit = _commit(change)
    target = f"{repo}@{commit}" if commit else str(repo)
    return f"outlast show {target}" if has else f"outlast pull {target}"


def _new(change: Change, repo: RepoId, has: bool) -> str:
    ref = change.ref if change.ref not in {"", "main"} else ""
    target = shlex.quote(f"{repo}@{ref}" if ref else str(repo))
    return f"outlast {'show' if has else 'pull'} {target}"


def _log(_change: Change, repo: RepoId, _has: bool) -> str:
    return f"outlast log {repo}"


def _available(_change: Change, repo: RepoId, _has: bool) -> str:
    return f"outlast pull {repo}"


def _moved(change: Change, repo: RepoId, _has: bool) -> str:
    prefix = "" if repo.kind is RepoKind.MODEL else f"{repo.kind.plural}/"
    return f"outlast follow {shlex.quote(prefix + change.after)}"


_HELP: Final[Mapping[ChangeKind, Callable[[Change, RepoId, bool], str]]] = {
    ChangeKind.APPEARED: _available,
    ChangeKind.NEW_REF: _new,
    ChangeKind.MOVED: _new,
    ChangeKind.FORCE_PUSHED: _kept,
    ChangeKind.REF_DELETED: _kept,
    ChangeKind.FILES_DROPPED: _kept,
    ChangeKind.RELICENSED: _log,
    ChangeKind.CARD_CHANGED: _log,
    ChangeKind.UNGATED: _available,
    ChangeKind.RENAMED: _moved,
    ChangeKind.TRANSFERRED: _moved,
    ChangeKind.RETURNED: _available,
}
