"""Reading the repos under a root, as they are now."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tests.hubsim.repo import Commit, Kind, RepoState

_HEX = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True)
class ServedRepo:
    """A repo as it is at the time of one request."""

    kind: Kind
    repo_id: str
    folder: Path
    state: RepoState
    commits: dict[Path, Commit]

    def revision(self, name: str) -> Commit | None:
        """The commit that a branch, a tag, a full ref, or an id (7 digits or more) means."""
        state = self.state
        short = name.removeprefix("refs/heads/").removeprefix("refs/tags/")
        sha = state.branches.get(name) or state.git_tags.get(name)
        if sha is None and short != name:
            refs = state.branches if name.startswith("refs/heads/") else state.git_tags
            sha = refs.get(short)
        if sha is None and _HEX.fullmatch(name):
            found = [one for one in state.commits if one.startswith(name)]
            sha = found[0] if len(found) == 1 else None
        return self.commit(sha) if sha else None

    def commit(self, sha: str) -> Commit | None:
        path = self.folder / f"{sha}.json"
        if path not in self.commits and path.exists():
            self.commits[path] = Commit.read(path)
        return self.commits.get(path)

    @property
    def known_refs(self) -> list[str]:
        return [*self.state.branches, *self.state.git_tags]


class Catalogue:
    """All repos of a root; what changed on disk is read again, commits are kept."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._states: dict[Path, tuple[tuple[int, int], RepoState]] = {}
        self._commits: dict[Path, Commit] = {}

    def find(self, kind: Kind, repo_id: str) -> ServedRepo | None:
        folder = self._root / f"{kind}s" / repo_id
        state = self._state(folder)
        return None if state is None else ServedRepo(kind, repo_id, folder, state, self._commits)

    def all(self, kind: Kind) -> list[ServedRepo]:
        base = self._root / f"{kind}s"
        found = sorted(path.parent for path in base.rglob("repo.json"))
        repos = [self.find(kind, folder.relative_to(base).as_posix()) for folder in found]
        return [repo for repo in repos if repo is not None]

    def alias(self, kind: Kind, repo_id: str) -> str | None:
        path = self._root / "aliases.json"
        if not path.exists():
            return None
        target: str | None = json.loads(path.read_bytes()).get(f"{kind}s/{repo_id}")
        return target

    def collection(self, slug: str) -> list[str] | None:
        path = self._root / "collections.json"
        if not path.exists():
            return None
        items: list[str] | None = json.loads(path.read_bytes()).get(slug)
        return items

    def _state(self, folder: Path) -> RepoState | None:
        path = folder / "repo.json"
        try:
            stat = path.stat()
        except (OSError, ValueError):
            return None
        seen = (stat.st_ino, stat.st_mtime_ns)
        known = self._states.get(path)
        if known is None or known[0] != seen:
            known = (seen, RepoState(**json.loads(path.read_bytes())))
            self._states[path] = known
        return known[1]
