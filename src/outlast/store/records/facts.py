"""What a hub says of a model beside its files, and how that is written down."""

import json
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from outlast.core.digest import GitOid
from outlast.core.errors import CorruptError, OutlastError, one_line
from outlast.core.manifest import load_json
from outlast.store.records.records import LIMIT

_LINK: Final = "link:"
_WITHDRAWN: Final = "withdrawn:"
_PINNED: Final = "pinned:"
_REASON: Final = "withdrawn-reason:"
_NOTICE: Final = "notice:"
_SINCE: Final = "since"
_TEXT: Final = "reason"
_STOPPED: Final = "stopped"
_MOST_REASON: Final = 300
"""Characters of what a hub said."""
_MOST_WITHDRAWN: Final = 100
"""Notes of what sources withdrew, for each model. Guess: a model is withdrawn as a whole."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A takedown notice that the operator of this archive recorded. `since`: when (ISO 8601, UTC);
    `stopped`: whether the model is not given out any more. The bytes stay.
    """

    since: str
    reason: str
    stopped: bool


@dataclass(frozen=True, slots=True)
class About:
    """What a hub says of a model beside its files; it may change at any time."""

    private: bool = False
    gated: str | bool = False
    tags: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    """``pipeline_tag``, ``library_name``, ``lastModified`` and the like; and notes of ours, which
    no source overwrites: by ``link:`` and the commit, the link that a revision came by; by
    ``withdrawn:``, a source and the path of a file (none: all of them), since when it is withdrawn,
    and by ``withdrawn-reason:`` what the source said; by ``pinned:`` and a source, one of the
    commits that it listed where no ref was asked for; by ``notice:`` what the operator recorded.
    """

    @property
    def is_open(self) -> bool:
        """Whether a hub gives it to everybody. Whether this archive does, `notice` says too."""
        return not self.private and not self.gated

    @property
    def notice(self) -> Notice | None:
        """The takedown notice of this archive's operator, if there is one."""
        found = self._noted(_NOTICE)
        if not found:
            return None
        return Notice(found.get(_SINCE, ""), found.get(_TEXT, ""), _STOPPED in found)

    @property
    def is_stopped(self) -> bool:
        """Whether the operator stopped giving it out."""
        return _NOTICE + _STOPPED in self.facts

    def with_notice(self, notice: Notice | None) -> Self:
        """The same with another notice of the operator, or without one."""
        facts = {k: v for k, v in self.facts.items() if not k.startswith(_NOTICE)}
        if notice is not None:
            facts |= {_NOTICE + _SINCE: notice.since, _NOTICE + _TEXT: notice.reason}
            if notice.stopped:
                facts[_NOTICE + _STOPPED] = notice.since
        return replace(self, facts=facts)

    @property
    def notes(self) -> dict[str, str]:
        """Those of the facts that are notes of ours."""
        kinds = (_LINK, _WITHDRAWN, _REASON, _PINNED, _NOTICE)
        return {k: v for k, v in self.facts.items() if k.startswith(kinds)}

    @property
    def links(self) -> dict[str, str]:
        """By commit in hex, the link that a revision came by."""
        return self._noted(_LINK)

    @property
    def pinned(self) -> dict[str, str]:
        """The sources that commits came from without a ref, with one commit in hex of each."""
        return self._noted(_PINNED)

    @property
    def withdrawn(self) -> dict[str, str]:
        """What is withdrawn, as ``SOURCE`` or ``SOURCE PATH``, since when (ISO 8601, UTC)."""
        return self._noted(_WITHDRAWN)

    def _noted(self, kind: str) -> dict[str, str]:
        return {k.removeprefix(kind): v for k, v in self.facts.items() if k.startswith(kind)}

    def withdrawn_since(self, source: str, path: str) -> str:
        """Since when `source` does not give out `path`, or the model; empty if that has no note."""
        return self.facts.get(_withdrawn_key(source, path), "")

    @property
    def withdrawn_reasons(self) -> dict[str, str]:
        """What the source said to it, by the keys of `withdrawn`, where it gave a reason."""
        return self._noted(_REASON)

    def with_withdrawn(self, source: str, path: str, since: str, reason: str = "") -> Self:
        """The same with a note that `source` withdrew `path`, unless there is one already."""
        key = _withdrawn_key(source, path)
        if key in self.facts or len(self.withdrawn) >= _MOST_WITHDRAWN:
            return self
        facts = {**self.facts, key: since}
        if reason:
            facts[_reason_key(source, path)] = one_line(reason, _MOST_REASON)
        return replace(self, facts=facts)

    def without_withdrawn(self, source: str) -> Self:
        """The same without the note that `source` withdrew the model."""
        keys = {_withdrawn_key(source, ""), _reason_key(source, "")}
        return replace(self, facts={k: v for k, v in self.facts.items() if k not in keys})

    def with_pinned(self, source: str, commit: GitOid) -> Self:
        """The same with a note that `source` listed a commit that no ref names."""
        if source in self.pinned:
            return self
        return replace(self, facts={**self.facts, _PINNED + source: commit.hex})

    def with_link(self, commit: GitOid, link: str) -> Self:
        """The same with a note that a revision came by `link`."""
        return replace(self, facts={**self.facts, _LINK + commit.hex: link})

    def encode(self) -> bytes:
        """As JSON, a line."""
        document = {
            "private": self.private,
            "gated": self.gated,
            "tags": self.tags,
            "facts": self.facts,
        }
        return json.dumps(document, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """The inverse. Raises :class:`CorruptError`."""
        document = load_document(body)
        private, gated = document.get("private", False), document.get("gated", False)
        tags, facts = document.get("tags", []), document.get("facts", {})
        if (
            not isinstance(private, bool)
            or not isinstance(gated, bool | str)
            or not isinstance(tags, list)
            or not isinstance(facts, dict)
        ):
            raise CorruptError("a value in it has another type")
        texts = {str(key): str(value) for key, value in facts.items()}
        return cls(private, gated, tuple(map(str, tags)), texts)


def _withdrawn_key(source: str, path: str) -> str:
    return f"{_WITHDRAWN}{source} {path}".rstrip()


def _reason_key(source: str, path: str) -> str:
    return f"{_REASON}{source} {path}".rstrip()


UNREADABLE: Final = About(private=True)
"""What counts of a model of which nothing can be read: it is restricted."""


def load_document(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises :class:`CorruptError`."""
    try:
        document = load_json(body, LIMIT)
    except OutlastError as error:
        raise CorruptError(str(error)) from None
    if not isinstance(document, dict):
        raise CorruptError("it is not an object")
    return document
