"""The JSON documents of hubs, read as hostile: types, bounds and names are checked here, and any
fault raises :class:`MalformedError`.
"""

from dataclasses import dataclass
from typing import Any, Final

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import MalformedError
from outlast.core.manifest import MAX_FILES, FileEntry, check_size
from outlast.sources.base import NEIGHBOUR, RemoteRef, RepoClaims

_FACTS: Final = ("pipeline_tag", "library_name", "lastModified", "createdAt", "author")
_REFS: Final = ("branches", "tags", "converts", "pullRequests")


@dataclass(frozen=True, slots=True)
class HubDescription:
    """What a hub says of a revision. `spelled` is the name that it gives the model, `names` are the
    paths of the files; `entries` is None where sizes or digests are lacking. `held` are the paths
    that a mirror has itself; None where the server does not tell. `partial`: it has not all files
    of the commit. `by_neighbour`: a node on the LAN has told it.
    """

    commit: GitOid
    spelled: str
    names: set[str]
    entries: list[FileEntry] | None
    held: frozenset[str] | None
    claims: RepoClaims
    partial: bool
    by_neighbour: bool


@dataclass(frozen=True, slots=True)
class TreePage:
    """The files of one page of a listing, which had so many rows."""

    rows: int
    entries: list[FileEntry]


def read_description(info: object) -> HubDescription:
    if not isinstance(info, dict):
        raise MalformedError("the hub's description is no object")
    commit = GitOid(str(info.get("sha")))
    names, entries = _siblings(info.get("siblings"))
    return HubDescription(
        commit=commit,
        spelled=str(info.get("id"))[:300],
        names=names,
        entries=entries,
        held=_held(info["siblings"]),
        claims=_facts(info),
        partial=info.get("partial") is True,
        by_neighbour=info.get("listed_by") == NEIGHBOUR,
    )


def read_tree(page: object) -> TreePage:
    if not isinstance(page, list):
        raise MalformedError("the hub's list of files is none")
    return TreePage(len(page), [_tree_entry(item) for item in page if _is_file(item)])


def read_refs(found: object) -> list[RemoteRef]:
    if not isinstance(found, dict) or not isinstance(found.get("branches"), list):
        raise MalformedError("the hub listed no branches")
    listed = [
        (kind, item) for kind in _REFS if isinstance(found.get(kind), list) for item in found[kind]
    ]
    return [
        RemoteRef(str(item["name"]), GitOid(str(item["targetCommit"])), kind)
        for kind, item in listed
        if isinstance(item, dict) and "name" in item and "targetCommit" in item
    ]


def _siblings(siblings: object) -> tuple[set[str], list[FileEntry] | None]:
    """The paths in a hub's description, and the files; None where it lacks sizes or digests."""
    if not isinstance(siblings, list) or len(siblings) > MAX_FILES:
        raise MalformedError("the hub's description lists no files")
    for item in siblings:
        if not isinstance(item, dict) or not isinstance(item.get("rfilename"), str):
            raise MalformedError("the hub's description lists a file without a name")
    names = {item["rfilename"] for item in siblings}
    if len(names) < len(siblings):
        raise MalformedError("the hub's description lists a file twice")
    if not all("size" in item and ("blobId" in item or "lfs" in item) for item in siblings):
        return names, None
    return names, [
        _entry(item["rfilename"], item["size"], item.get("blobId"), item.get("lfs"))
        for item in siblings
    ]


def _held(siblings: list[dict[str, Any]]) -> frozenset[str] | None:
    """The paths of files that a mirror has itself; None where the server does not tell them apart:
    a hub. What it does not speak of counts as not held.
    """
    if not any(isinstance(item.get("held"), bool) for item in siblings):
        return None
    return frozenset(item["rfilename"] for item in siblings if item.get("held") is True)


def _is_file(item: object) -> bool:
    return isinstance(item, dict) and item.get("type") == "file"


def _tree_entry(item: dict[str, Any]) -> FileEntry:
    path = item.get("path")
    if not isinstance(path, str):
        raise MalformedError("the hub lists a file without a path")
    return _entry(path, item.get("size"), item.get("oid"), item.get("lfs"))


def _entry(path: str, size: object, git: object, lfs: object) -> FileEntry:
    if isinstance(lfs, dict):
        sha256 = str(lfs.get("sha256") or lfs.get("oid"))
        return FileEntry(path, check_size(lfs.get("size", size), path), sha256=Digest(sha256))
    return FileEntry(path, check_size(size, path), git_sha1=GitOid(str(git)))


def _facts(info: dict[str, Any]) -> RepoClaims:
    tags = info.get("tags")
    gated = info.get("gated", False)
    return RepoClaims(
        private=bool(info.get("private", False)),
        gated=gated if isinstance(gated, str) else bool(gated),
        tags=tuple(str(tag)[:200] for tag in tags[:1000]) if isinstance(tags, list) else (),
        facts={key: str(info[key])[:200] for key in _FACTS if info.get(key)},
    )
