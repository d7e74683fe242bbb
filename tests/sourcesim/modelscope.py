"""ModelScope as its client knows it, over a few models in memory."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.sourcesim.site import Asked, Reply, Site, ranged

_ROUTE = re.compile(r"/api/v1/models/([^/]+/[^/]+)(/revisions|/commits|/repo/files|/repo|)$")
SMALL = 1000
"""Larger files are in LFS: they come from the CDN, and in ranges."""


@dataclass
class Model:
    """A model: `states` are its commits, `branches` and `tags` name them. One whose `token` is set
    answers with that alone.
    """

    states: dict[str, Mapping[str, bytes]]
    branches: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)
    visibility: int | None = 5
    protected: int = 2
    token: str = ""
    tells_commits: bool = True

    @property
    def names(self) -> dict[str, str]:
        return {**self.branches, **self.tags, **{commit: commit for commit in self.states}}


class ModelScopeSim(Site):
    """`cap`: how many files and folders a listing shows at most, without a word that it is cut."""

    def __init__(self, models: Mapping[str, Model], cap: int = 3000) -> None:
        super().__init__()
        self.models = dict(models)
        self.cap = cap

    def answer(self, asked: Asked) -> Reply:
        if asked.cdn:
            return self._blob(asked)
        match = _ROUTE.match(asked.path)
        model = self.models.get(match[1]) if match else None
        if match is None or model is None or (model.token and asked.token != model.token):
            return _envelope(None, code=10010205001, status=404, message="Model does not exist.")
        match match[2]:
            case "":
                return _envelope(_about(match[1], model))
            case "/revisions":
                return _envelope(_revisions(model))
            case "/commits":
                return self._commits(model, asked)
            case "/repo/files":
                return self._files(model, asked)
            case _:
                return self._file(model, asked)

    def _commits(self, model: Model, asked: Asked) -> Reply:
        commit = model.names.get(asked.query["Ref"])
        if not model.tells_commits or commit is None:
            return _envelope({"Commit": None})
        return _envelope({"Commit": [{"Id": commit, "ShortId": commit[:8]}]})

    def _files(self, model: Model, asked: Asked) -> Reply:
        commit = model.names.get(asked.query.get("Revision", "master"))
        if commit is None:  # no error, as its client says
            return _envelope({"Files": None, "LatestCommitter": None})
        root, recursive = asked.query.get("Root", ""), asked.query.get("Recursive") == "True"
        rows = listing(model.states[commit], root, recursive=recursive)
        return _envelope({"Files": rows[: self.cap], "LatestCommitter": {"ShortId": commit[:8]}})

    def _file(self, model: Model, asked: Asked) -> Reply:
        commit = model.names.get(asked.query["Revision"], "")
        data = model.states.get(commit, {}).get(asked.query["FilePath"])
        if data is None:
            return _envelope(None, code=404, status=404, message="no such file")
        if len(data) < SMALL:
            return Reply(200, data)  # whatever range is asked for
        digest = hashlib.sha256(data).hexdigest()
        linked = {"X-Linked-ETag": f'"{digest}"', "Location": f"{self.cdn_url}/{digest}?sign=1"}
        return Reply(302, b"", linked)

    def _blob(self, asked: Asked) -> Reply:
        for model in self.models.values():
            for state in model.states.values():
                for data in state.values():
                    if asked.path == f"/{hashlib.sha256(data).hexdigest()}":
                        return ranged(data, asked)
        return Reply(404)


def listing(files: Mapping[str, bytes], root: str, *, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders below `root`."""
    prefix = f"{root}/" if root else ""
    rows: dict[str, dict[str, Any]] = {}
    for path, data in files.items():
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].split("/")
        for depth in range(1, len(parts)):
            folder = prefix + "/".join(parts[:depth])
            if recursive or depth == 1:
                rows.setdefault(folder, {"Path": folder, "Type": "tree", "Size": 0})
        if recursive or len(parts) == 1:
            rows[path] = row(path, data)
    return list(rows.values())


def row(path: str, data: bytes) -> dict[str, Any]:
    return {
        "Name": path.rpartition("/")[2],
        "Path": path,
        "Type": "blob",
        "Size": len(data),
        "Sha256": hashlib.sha256(data).hexdigest(),
        "IsLFS": len(data) >= SMALL,
    }


def _about(name: str, model: Model) -> dict[str, Any]:
    owner, _, short = name.partition("/")
    about: dict[str, Any] = {"Path": owner, "Name": short, "License": "apache-2.0", "Tags": ["llm"]}
    about["ProtectedMode"] = model.protected
    return about if model.visibility is None else {**about, "Visibility": model.visibility}


def _revisions(model: Model) -> dict[str, Any]:
    def rows(names: Mapping[str, str]) -> list[dict[str, Any]]:
        return [{"Revision": name, "CreatedAt": 1} for name in names]

    return {"RevisionMap": {"Branches": rows(model.branches), "Tags": rows(model.tags) or None}}


def _envelope(data: Any, code: int = 200, status: int = 200, message: str = "success") -> Reply:
    document = {"Code": code, "Data": data, "Message": message, "Success": code == 200}
    return Reply(status, json.dumps(document).encode(), {"Content-Type": "application/json"})
