"""The API's JSON for files, folders, commits and repos."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from tests.hubsim.catalogue import ServedRepo
from tests.hubsim.faults import RuleJson
from tests.hubsim.gitid import is_odd
from tests.hubsim.repo import EPOCH, Commit, StoredFile

Json = dict[str, Any]
_SAFE: Json = {
    "status": "safe",
    "avScan": {"status": "safe", "message": "No security issues detected", "reportLink": ""},
    "pickleImportScan": None,
}


def moment(seconds: int) -> str:
    """A time as the hub writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def file_row(path: str, file: StoredFile) -> Json:
    """A file in tree and paths-info."""
    row: Json = {"type": "file", "oid": file.oid, "size": file.size, "path": path}
    if file.sha256 is not None:
        row["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return row | dict(file.listed)


def folder_row(path: str, oid: str) -> Json:
    return {"type": "directory", "oid": oid, "size": 0, "path": path}


def sibling(path: str, file: StoredFile, *, blobs: bool) -> Json:
    """A file in a repo's info."""
    row: Json = {"rfilename": path}
    if blobs:
        row |= {"size": file.size, "blobId": file.oid}
        if file.sha256 is not None:
            lfs = {"sha256": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
            row["lfs"] = lfs
        row |= dict(file.listed)
    return row


def tree_rows(commit: Commit) -> list[Json]:
    """All of a commit: each folder before what is in it, folders before files."""
    keyed = [
        (_order(path, is_file=False), folder_row(path, oid))
        for path, oid in commit.folders.items()
        if path
    ]
    keyed += [(_order(path, is_file=True), file_row(path, f)) for path, f in commit.files.items()]
    return [row for _, row in sorted(keyed, key=lambda pair: pair[0])]


def below(rows: Iterable[Json], folder: str, *, recursive: bool) -> list[Json]:
    """The rows in a folder (the root: ""), or at any depth under it."""
    prefix = f"{folder}/" if folder else ""
    found = [row for row in rows if str(row["path"]).startswith(prefix)]
    if recursive:
        return found
    return [row for row in found if "/" not in row["path"][len(prefix) :] or is_odd(row["path"])]


def expanded(repo: ServedRepo, commit: Commit, row: Json) -> Json:
    """A row with its last commit and its scan's result."""
    last = commit
    while last.parent and (parent := repo.commit(last.parent)) and _same(parent, last, row):
        last = parent
    more: Json = {
        "lastCommit": {"id": last.sha, "title": last.message, "date": moment(last.seconds)}
    }
    if row["type"] == "file":
        more["securityFileStatus"] = _SAFE
    return row | more


def commit_row(commit: Commit) -> Json:
    return {
        "id": commit.sha,
        "title": commit.message,
        "message": "",
        "authors": [{"user": "sim", "avatar": "/avatars/sim.svg"}],
        "date": moment(commit.seconds),
    }


def refs_doc(repo: ServedRepo, *, pull_requests: bool) -> Json:
    """Branches and tags."""

    def rows(refs: Mapping[str, str], space: str) -> list[Json]:
        return [
            {"name": name, "ref": f"refs/{space}/{name}", "targetCommit": sha}
            for name, sha in refs.items()
        ]

    doc: Json = {
        "tags": rows(repo.state.git_tags, "tags"),
        "branches": rows(repo.state.branches, "heads"),
        "converts": [],
    }
    return doc | ({"pullRequests": []} if pull_requests else {})


def info_doc(repo: ServedRepo, commit: Commit | None, *, files: bool, blobs: bool) -> Json:
    """A repo's info; an empty repo has no commit."""
    state = repo.state
    seconds = commit.seconds if commit else EPOCH
    doc: Json = {
        "_id": (commit.sha if commit else "0" * 40)[:24],
        "id": repo.repo_id,
        "author": repo.repo_id.split("/")[0],
        "private": state.private,
        "gated": state.gated,
        "disabled": False,
        "sha": commit.sha if commit else None,
        "lastModified": moment(seconds),
        "createdAt": moment(EPOCH),
        "downloads": 0,
        "likes": 0,
        "tags": state.tags,
        "cardData": state.card,
        "usedStorage": sum(file.size for file in commit.files.values()) if commit else 0,
    }
    if repo.kind == "model":
        doc |= {"modelId": repo.repo_id, "library_name": "transformers", "spaces": []}
    if files and commit is not None:
        doc["siblings"] = [
            sibling(path, file, blobs=blobs) for path, file in sorted(commit.files.items())
        ]
    return doc


def collection_doc(slug: str, items: Iterable[str]) -> Json:
    """A collection; an item is a model, or `datasets/` and the id of a dataset."""
    rows = []
    for item in items:
        is_dataset = item.startswith("datasets/")
        kind = "dataset" if is_dataset else "model"
        rows.append({"type": kind, "id": item.removeprefix("datasets/")})
    return {"slug": slug, "title": slug, "items": rows}


def expand(doc: Json, names: str) -> Json:
    """Only what `names` (joined by commas) ask for, and the id; all of it where they are empty."""
    if not names:
        return doc
    return {key: doc[key] for key in ("_id", "id", *names.split(",")) if key in doc}


def lie_about_size(rows: list[Json], rule: RuleJson) -> None:
    """Change the sizes that rows of tree or info give, for files that the rule's glob matches."""
    for row in rows:
        name = row.get("path") or row.get("rfilename", "")
        if row.get("type") == "directory" or not fnmatchcase(name, rule.get("file", "*")):
            continue
        for place in (row, row.get("lfs")):
            if place and "size" in place:
                place["size"] = rule.get("size", place["size"] + rule.get("delta", 0))


def _order(path: str, *, is_file: bool) -> list[tuple[int, str]]:
    parts = [path] if is_odd(path) else path.split("/")
    return [*((0, part) for part in parts[:-1]), (int(is_file), parts[-1])]


def _same(older: Commit, newer: Commit, row: Json) -> bool:
    path = row["path"]
    if row["type"] == "directory":
        return older.folders.get(path) == newer.folders.get(path)
    before = older.files.get(path)
    return before is not None and before.oid == newer.files[path].oid
