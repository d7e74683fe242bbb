"""The JSON documents of the hub's API, made from what the archive knows."""

from collections.abc import Collection, Iterable
from typing import Any

from outlast.core.digest import GitOid, lfs_pointer
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId, RepoKind
from outlast.mirror.answers import Found
from outlast.mirror.views import View
from outlast.sources.base import NEIGHBOUR
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref

_UNKNOWN_DATE = "1970-01-01T00:00:00.000Z"


def home(origin: str) -> dict[str, str]:
    """``GET /``: where the lists are."""
    return {"server": "outlast", **{k.plural: f"{origin}/api/{k.plural}" for k in RepoKind}}


def whoami(name: str) -> dict[str, Any]:
    """``GET /api/whoami-v2``, of a token by its `name`."""
    token = {"displayName": "outlast", "role": "read"}
    return {
        "type": "user",
        "id": name,
        "name": name,
        "fullname": name,
        "orgs": [],
        "isPro": False,
        "auth": {"type": "access_token", "accessToken": token},
    }


def info(
    found: Found, about: About, *, blobs: bool, without: Collection[str] = ()
) -> dict[str, Any]:
    """``GET /api/models/{id}``: what a model is and which files it has, `without` some."""
    view, revision = found.view, found.view.revision
    held = {entry.path for entry in revision.files}  # the rest would be fetched from upstream
    notes = about.notes  # they are ours, and name other sources
    facts = {key: value for key, value in about.facts.items() if key not in notes}
    document = {
        "_id": revision.id.hex[:24],
        "id": revision.repo.name,
        "sha": revision.id.hex,
        "private": about.private,
        "gated": about.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": list(about.tags),
        "lastModified": facts.pop("lastModified", _UNKNOWN_DATE),
        "createdAt": facts.pop("createdAt", _UNKNOWN_DATE),
        "author": facts.pop("author", revision.repo.name.split("/")[0]),
        "siblings": [
            _sibling(entry, blobs=blobs, held=entry.path in held)
            for entry in view.files.values()
            if entry.path not in without
        ],
        "partial": view.lacking > 0 or revision.unlisted,
        **facts,
    }
    document |= listed_by(found.unconfirmed)
    if revision.repo.kind is RepoKind.MODEL:
        document["modelId"] = revision.repo.name
    return document


def listed_by(unconfirmed: bool) -> dict[str, str]:
    """Says that a node on the LAN alone told what a model consists of."""
    return {"listed_by": NEIGHBOUR} if unconfirmed else {}


def _sibling(entry: FileEntry, *, blobs: bool, held: bool) -> dict[str, Any]:
    document: dict[str, Any] = {"rfilename": entry.path}
    if blobs:
        document |= {"size": entry.size, "blobId": _oid(entry).hex, "held": held}
        if entry.is_lfs:
            size = len(lfs_pointer(entry.sha256, entry.size)) if entry.sha256 else 0
            document["lfs"] = {"sha256": entry.key, "size": entry.size, "pointerSize": size}
    return document


def _oid(entry: FileEntry) -> GitOid:
    """The git blob id of the file, or of its LFS pointer if that is what git has."""
    if entry.git_sha1 is not None:
        return entry.git_sha1
    assert entry.sha256 is not None
    return GitOid.of_blob(lfs_pointer(entry.sha256, entry.size))


def file_row(entry: FileEntry, view: View, about: About, *, expand: bool) -> dict[str, Any]:
    """A file in ``tree`` and ``paths-info``."""
    row: dict[str, Any] = {
        "type": "file",
        "oid": _oid(entry).hex,
        "size": entry.size,
        "path": entry.path,
    }
    if entry.is_lfs and entry.sha256 is not None:
        pointer = len(lfs_pointer(entry.sha256, entry.size))
        row["lfs"] = {"oid": entry.key, "size": entry.size, "pointerSize": pointer}
    return row | (_last_commit(view, about) if expand else {})


def _folder_row(path: str, view: View, about: About, *, expand: bool) -> dict[str, Any]:
    # Git's tree ids need file modes, which a hub does not tell: any stable id will do.
    row: dict[str, Any] = {
        "type": "directory",
        "oid": GitOid.of_blob(f"{view.revision.id}/{path}".encode()).hex,
        "size": 0,
        "path": path,
    }
    return row | (_last_commit(view, about) if expand else {})


def _last_commit(view: View, about: About) -> dict[str, Any]:
    """The archive keeps no history: a file's last commit is the one that was archived."""
    date = about.facts.get("lastModified", _UNKNOWN_DATE)
    return {"lastCommit": {"id": view.revision.id.hex, "title": "", "date": date}}


def tree(
    view: View,
    about: About,
    folder: str,
    *,
    recursive: bool,
    expand: bool,
    without: Collection[str] = (),
) -> list[dict[str, Any]] | None:
    """The files and folders of a revision below `folder`, `without` some files; None where there is
    no such folder.
    """
    folder = folder.strip("/")
    if folder and folder not in view.folders:
        return None
    prefix = f"{folder}/" if folder else ""
    rows: dict[str, dict[str, Any]] = {}
    for path in sorted(view.files):
        if not path.startswith(prefix) or path in without:
            continue
        parts = path[len(prefix) :].split("/")
        depth = len(parts) if recursive else 1
        for end in range(1, min(depth, len(parts) - 1) + 1):
            name = prefix + "/".join(parts[:end])
            if name not in rows:
                rows[name] = _folder_row(name, view, about, expand=expand)
        if len(parts) <= depth:
            rows[path] = file_row(view.files[path], view, about, expand=expand)
    return list(rows.values())


def paths_info(
    view: View, about: About, paths: Iterable[str], *, expand: bool
) -> list[dict[str, Any]]:
    """The rows of the named files and folders; what does not exist is left out."""
    rows = []
    for path in dict.fromkeys(path.strip("/") for path in paths):
        entry = view.files.get(path)
        if entry is not None:
            rows.append(file_row(entry, view, about, expand=expand))
        elif path in view.folders:
            rows.append(_folder_row(path, view, about, expand=expand))
    return rows


def refs(found: Iterable[Ref], *, pull_requests: bool) -> dict[str, Any]:
    """``GET …/refs``, from the refs that are archived."""
    document: dict[str, Any] = {"branches": [], "tags": [], "converts": []}
    if pull_requests:
        document["pullRequests"] = []
    for ref in found:
        kind, full = _ref_kind(ref)
        if kind in document:
            name = ref.name.removeprefix("refs/convert/").removeprefix("refs/pr/")
            row = {"name": name, "ref": full, "targetCommit": ref.commit.hex}
            document[kind].append(row)
    return document


def _ref_kind(ref: Ref) -> tuple[str, str]:
    if ref.name.startswith("refs/pr/"):
        return "pullRequests", ref.name
    if ref.name.startswith("refs/convert/"):
        return "converts", ref.name
    if ref.kind == "tag":
        return "tags", f"refs/tags/{ref.name}"
    return "branches", f"refs/heads/{ref.name}"


def commits(ids: Iterable[GitOid], about: About) -> list[dict[str, Any]]:
    """``GET …/commits/{rev}``: the commits that are archived, the requested one first."""
    date = about.facts.get("lastModified", _UNKNOWN_DATE)
    return [
        {"id": commit.hex, "title": "", "message": "", "authors": [], "date": date}
        for commit in ids
    ]


def listed(repo: RepoId, commit: GitOid, about: About) -> dict[str, Any]:
    """A line of ``GET /api/models``."""
    return {
        "_id": commit.hex[:24],
        "id": repo.name,
        "modelId": repo.name,
        "sha": commit.hex,
        "author": repo.name.split("/")[0],
        "private": about.private,
        "gated": about.gated,
        "tags": list(about.tags),
        "downloads": 0,
        "likes": 0,
        "lastModified": about.facts.get("lastModified", _UNKNOWN_DATE),
        "createdAt": about.facts.get("createdAt", _UNKNOWN_DATE),
    } | {key: about.facts[key] for key in ("pipeline_tag", "library_name") if key in about.facts}
