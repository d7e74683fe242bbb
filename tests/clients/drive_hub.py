"""Runs inside a client's environment: makes calls of huggingface_hub, and tells what came of them.

Each argument is one call as JSON: ["action", {"argument": value}]. Prints one JSON object:
{"version": …, "results": [{"value": …} | {"error": …, "bases": […], "message": …, "status": …}]}.
It uses only what all majors of the library have.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download


def _digest(path: str | Path) -> list[Any]:
    data = Path(path).read_bytes()
    return [len(data), hashlib.sha256(data).hexdigest()]


def snapshot(**arguments: Any) -> dict[str, Any]:
    """Every file under the folder that was made: its size and sha256."""
    folder = Path(snapshot_download(**arguments))
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): _digest(path) for path in found}
    return {"name": folder.name, "files": {k: v for k, v in files.items() if k[:6] != ".cache"}}


def download(**arguments: Any) -> list[Any]:
    """The file's size and sha256."""
    return _digest(hf_hub_download(**arguments))


def metadata(**arguments: Any) -> dict[str, Any]:
    """What the client reads from a HEAD request."""
    url = huggingface_hub.hf_hub_url(**arguments)
    told = huggingface_hub.get_hf_file_metadata(url)
    return {"commit": told.commit_hash, "etag": told.etag, "size": told.size}


def _row(entry: Any) -> dict[str, Any]:
    row = {"path": entry.path, "folder": not hasattr(entry, "size")}
    if row["folder"]:
        return row | {"oid": entry.tree_id}
    row |= {"size": entry.size, "oid": entry.blob_id, "sha256": entry.lfs and entry.lfs.sha256}
    last = getattr(entry, "last_commit", None)
    return row | ({"last": last.oid} if last else {})


def tree(**arguments: Any) -> list[Any]:
    """The rows of a listing."""
    return [_row(entry) for entry in HfApi().list_repo_tree(**arguments)]


def paths_info(**arguments: Any) -> list[Any]:
    """The rows of some paths."""
    return [_row(entry) for entry in HfApi().get_paths_info(**arguments)]


def refs(**arguments: Any) -> dict[str, Any]:
    """Names and commits of branches and tags."""
    told = HfApi().list_repo_refs(**arguments)
    return {
        "branches": {one.name: one.target_commit for one in told.branches},
        "tags": {one.name: one.target_commit for one in told.tags},
    }


def commits(**arguments: Any) -> list[Any]:
    """Commit ids, newest first."""
    return [one.commit_id for one in HfApi().list_repo_commits(**arguments)]


def info(**arguments: Any) -> dict[str, Any]:
    """A repo's info."""
    told = HfApi().repo_info(**arguments)
    files = {
        one.rfilename: [one.size, one.blob_id, one.lfs and one.lfs.sha256] for one in told.siblings
    }
    return {
        "class": type(told).__name__,
        "id": told.id,
        "sha": told.sha,
        "private": told.private,
        "gated": told.gated,
        "files": files,
    }


def models(**arguments: Any) -> list[Any]:
    """Ids of models found."""
    return [one.id for one in HfApi().list_models(**arguments)]


def fs_ls(path: str) -> dict[str, Any]:
    """Names and sizes in a folder."""
    return {one["name"]: one["size"] for one in HfFileSystem().ls(path, detail=True)}


def fs_glob(pattern: str) -> list[Any]:
    """Names that match."""
    return HfFileSystem().glob(pattern)


def fs_read(path: str, start: int, length: int) -> list[Any]:
    """The sha256 of some bytes of a file."""
    with HfFileSystem().open(path, "rb") as file:
        file.seek(start)
        data = file.read(length)
    return [len(data), hashlib.sha256(data).hexdigest()]


def fs_isfile(path: str) -> bool:
    """Whether there is such a file."""
    return HfFileSystem().isfile(path)


def upload(content: str, **arguments: Any) -> str:
    """Uploads a file; its URL."""
    return str(HfApi().upload_file(path_or_fileobj=content.encode(), **arguments))


def change(method: str, **arguments: Any) -> str:
    """Calls a method of the API that changes a hub; what it returned."""
    return str(getattr(HfApi(), method)(**arguments))


ACTIONS = {
    "upload": upload,
    "change": change,
    "snapshot": snapshot,
    "download": download,
    "metadata": metadata,
    "tree": tree,
    "paths_info": paths_info,
    "refs": refs,
    "commits": commits,
    "info": info,
    "models": models,
    "fs_ls": fs_ls,
    "fs_glob": fs_glob,
    "fs_read": fs_read,
    "fs_isfile": fs_isfile,
    "file_exists": lambda **arguments: HfApi().file_exists(**arguments),
    "revision_exists": lambda **arguments: HfApi().revision_exists(**arguments),
    "repo_exists": lambda **arguments: HfApi().repo_exists(**arguments),
    "auth_check": lambda **arguments: HfApi().auth_check(**arguments),
    "whoami": lambda **arguments: HfApi().whoami(**arguments)["name"],
}


def attempt(action: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The value of one call, or what it raised."""
    try:
        return {"value": ACTIONS[action](**arguments)}
    except Exception as error:
        response = getattr(error, "response", None)
        return {
            "error": type(error).__name__,
            "bases": [base.__name__ for base in type(error).__mro__],
            "message": str(error)[:2000],
            "status": getattr(response, "status_code", None),
            "cause": type(error.__cause__).__name__ if error.__cause__ else None,
        }


def main() -> None:
    """Make the calls given on the command line."""
    results = [attempt(*json.loads(argument)) for argument in sys.argv[1:]]
    print(json.dumps({"version": huggingface_hub.__version__, "results": results}))


if __name__ == "__main__":
    main()
