"""Changes and observations as JSON: how they are kept, and what is read back."""

import json
from typing import Any, Final

from outlast.core.digest import GitOid
from outlast.core.errors import CorruptError, OutlastError
from outlast.core.manifest import load_json
from outlast.core.names import RepoId
from outlast.features.watch.changes import Change, ChangeKind, HubStanding, Observation

_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of one document: a model with 100,000 refs."""


def change_document(change: Change) -> dict[str, Any]:
    """A change as a JSON object, without what is empty."""
    document = {
        "kind": str(change.kind),
        "hub": change.hub,
        "when": change.when,
        "repo": None if change.repo is None else str(change.repo),
        "ref": change.ref,
        "before": change.before,
        "after": change.after,
        "reason": change.reason,
        "diff": change.diff,
        "files": list(change.files),
    }
    return {key: value for key, value in document.items() if value}


def encode_change(change: Change) -> str:
    return json.dumps(change_document(change), sort_keys=True)


def decode_change(text: str) -> Change:
    """The inverse. Raises :class:`CorruptError`."""
    document = _load(text)
    repo = document.get("repo")
    try:
        return Change(
            kind=ChangeKind(str(document.get("kind"))),
            hub=str(document.get("hub", "")),
            when=str(document.get("when", "")),
            repo=None if repo is None else RepoId.parse(str(repo)),
            ref=str(document.get("ref", "")),
            before=str(document.get("before", "")),
            after=str(document.get("after", "")),
            reason=str(document.get("reason", "")),
            diff=str(document.get("diff", "")),
            files=tuple(map(str, document.get("files", ()))),
        )
    except (ValueError, TypeError, OutlastError) as error:
        raise CorruptError(f"not a change: {error}") from None


def encode_observation(seen: Observation) -> str:
    refs = None if seen.refs is None else {name: oid.hex for name, oid in seen.refs.items()}
    document = {
        "standing": str(seen.standing),
        "name": seen.name,
        "commit": None if seen.commit is None else seen.commit.hex,
        "refs": refs,
        "licence": seen.licence,
        "modified": seen.modified,
        "files": seen.files,
        "size": seen.size,
        "reason": seen.reason,
        "facts": dict(seen.facts),
    }
    return json.dumps(document, sort_keys=True)


def decode_observation(text: str) -> Observation:
    """The inverse. Raises :class:`CorruptError`."""
    document = _load(text)
    commit, refs = document.get("commit"), document.get("refs")
    try:
        return Observation(
            standing=HubStanding(str(document.get("standing"))),
            name=str(document.get("name", "")),
            commit=None if commit is None else GitOid(str(commit)),
            refs=None if refs is None else {str(k): GitOid(str(v)) for k, v in refs.items()},
            licence=str(document.get("licence", "")),
            modified=str(document.get("modified", "")),
            files=int(document.get("files", 0)),
            size=int(document.get("size", 0)),
            reason=str(document.get("reason", "")),
            facts={str(k): str(v) for k, v in document.get("facts", {}).items()},
        )
    except (ValueError, TypeError, AttributeError, OutlastError) as error:
        raise CorruptError(f"not an observation: {error}") from None


def _load(text: str) -> dict[str, Any]:
    try:
        document = load_json(text.encode(), _LIMIT)
    except OutlastError as error:
        raise CorruptError(str(error)) from None
    if not isinstance(document, dict):
        raise CorruptError("not an object")
    return document
