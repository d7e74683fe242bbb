"""Building the repos that the stand-in hub serves."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from tests.hubsim import gitid

LFS_LIMIT = 10 << 20
LFS_SUFFIXES = frozenset(
    """
    .7z .arrow .bin .bz2 .ckpt .gguf .gz .h5 .joblib .mlmodel .model .msgpack .npy .npz .onnx .ot
    .parquet .pb .pickle .pkl .pt .pth .rar .safetensors .tar .tflite .tgz .wasm .xz .zip .zst
    """.split()  # noqa: SIM905
)
EPOCH = 1_700_000_000
Kind = Literal["model", "dataset"]


@dataclass(frozen=True, slots=True)
class HubFile:
    """Content with more said about it than bytes or a path can.

    `sha256` is believed, so that a huge file is not read; `listed` overrides keys of the API's
    listings, for example {"size": -1}.
    """

    content: bytes | Path
    lfs: bool | None = None
    sha256: str | None = None
    listed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of one commit, and where its bytes are: `length` bytes of `source` from `offset`."""

    size: int
    oid: str
    source: str
    offset: int = 0
    sha256: str | None = None
    listed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """The ETag without quotes: the sha256 of an LFS file, the blob id of any other."""
        return self.sha256 or self.oid

    @property
    def pointer_size(self) -> int:
        return len(gitid.lfs_pointer(self.sha256 or "", self.size))


@dataclass(frozen=True, slots=True)
class Commit:
    """An immutable state of a repo."""

    sha: str
    parent: str | None
    message: str
    seconds: int
    folders: Mapping[str, str]
    files: Mapping[str, StoredFile]

    @classmethod
    def read(cls, path: Path) -> Self:
        raw = json.loads(path.read_bytes())
        raw["files"] = {name: StoredFile(**entry) for name, entry in raw["files"].items()}
        return cls(**raw)


@dataclass(slots=True)
class _Pack:
    """Bytes of the files of one commit, on their way to its file."""

    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, data: bytes) -> int:
        """Where they begin."""
        self.parts.append(data)
        self.size += len(data)
        return self.size - len(data)


@dataclass(slots=True)
class RepoState:
    """What of a repo can change: visibility and refs."""

    private: bool = False
    gated: bool | str = False
    tags: list[str] = field(default_factory=list)
    card: dict[str, Any] = field(default_factory=dict)
    refusal: dict[str, Any] | None = None
    branches: dict[str, str] = field(default_factory=dict)
    git_tags: dict[str, str] = field(default_factory=dict)
    git: str = ""
    commits: list[str] = field(default_factory=list)


class HubRepo:
    """A repo under a hub's root; opens the one that is there, or makes it.

    `gated` may be False, "auto" or "manual", `tags` are the hub's labels (not git's tags).
    """

    def __init__(
        self,
        root: Path | str,
        repo_id: str,
        *,
        kind: Kind = "model",
        private: bool | None = None,
        gated: bool | str | None = None,
        tags: Sequence[str] | None = None,
    ) -> None:
        self.repo_id = repo_id
        self.kind = kind
        self.folder = Path(root) / f"{kind}s" / repo_id
        self.folder.mkdir(parents=True, exist_ok=True)
        state_file = self.folder / "repo.json"
        self._state = RepoState()
        if state_file.exists():
            self._state = RepoState(**json.loads(state_file.read_bytes()))
        self.configure(private=private, gated=gated, tags=tags)

    def configure(
        self,
        *,
        private: bool | None = None,
        gated: bool | str | None = None,
        tags: Sequence[str] | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        """Change who may read the repo, its labels, or what its card says; None leaves a thing as
        it is.
        """
        if private is not None:
            self._state.private = private
        if gated is not None:
            self._state.gated = gated
        if tags is not None:
            self._state.tags = list(tags)
        if card is not None:
            self._state.card = dict(card)
        self._save()

    def refuse(self, status: int | None, message: str = "", *, to: str = "everybody") -> None:
        """Answer everything about the repo with `status`, as 410 or 451: to everybody, or only to
        "anonymous" clients. None ends it.
        """
        said = {"status": status, "message": message, "to": to}
        self._state.refusal = None if status is None else said
        self._save()

    def move(self, new_id: str) -> Self:
        """Rename the repo, or transfer it to another account; the old name redirects."""
        folder = self.folder
        root = folder.parents[self.repo_id.count("/") + 1]
        self.folder = root / f"{self.kind}s" / new_id
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(self.folder)
        for path in self.folder.glob("*.json"):
            text = path.read_text()
            path.write_text(text.replace(f"{folder.resolve()}/", f"{self.folder.resolve()}/"))
        add_alias(root, self.repo_id, new_id, kind=self.kind)
        self.repo_id = new_id
        return self

    @property
    def branches(self) -> dict[str, str]:
        return dict(self._state.branches)

    @property
    def head(self) -> Commit:
        """The commit that main points at."""
        return self.read(self._state.branches["main"])

    def read(self, sha: str) -> Commit:
        """A commit by its full id."""
        return Commit.read(self.folder / f"{sha}.json")

    def commit(
        self,
        files: Mapping[str, bytes | Path | HubFile],
        *,
        refs: Sequence[str] = ("main",),
        tags: Iterable[str] = (),
        delete: Iterable[str] = (),
        message: str = "Upload files",
        fresh: bool = False,
        git: tuple[Path, str] | None = None,
    ) -> Commit:
        """Put files on top of what the first of `refs` has, and move `refs`.

        With `fresh` nothing is kept. A file given as a path is referred to, not copied: leave it.
        `git`: the folder and the commit of a real repository that has these files; the hub gives
        that commit's id, and the repository to who fetches with git.
        """
        parent = self._state.branches.get(refs[0]) if refs else None
        kept = dict(self.read(parent).files) if parent and not fresh else {}
        for name in delete:
            del kept[name]
        pack = _Pack()
        added = {name: _store(name, content, pack) for name, content in files.items()}
        made = self._write_commit(kept | added, parent, message, pack, git and git[1])
        if git is not None:
            self._state.git = str(git[0].resolve())
        for ref in refs:
            self._state.branches[ref] = made.sha
        for tag in tags:
            self._state.git_tags[tag] = made.sha
        self._save()
        return made

    def set_ref(self, name: str, sha: str | None, *, tag: bool = False) -> None:
        """Point a branch (or a tag) at a commit; None removes it."""
        refs = self._state.git_tags if tag else self._state.branches
        if sha is None:
            del refs[name]
        else:
            refs[name] = sha
        self._save()

    def delete(self) -> None:
        """Take the repo off the hub; files given as a path stay."""
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

    def _write_commit(
        self,
        files: dict[str, StoredFile],
        parent: str | None,
        message: str,
        pack: "_Pack",
        named: str | None = None,
    ) -> Commit:
        seconds = EPOCH + 60 * len(self._state.commits)
        folders = gitid.tree_ids(gitid.nest({name: file.oid for name, file in files.items()}))
        parents = [parent] if parent else []
        sha = named or gitid.commit_id(folders[""], parents, seconds, message)
        pack_file = self.folder.resolve() / f"{sha}.pack"
        with pack_file.open("wb") as file:
            file.writelines(pack.parts)
        placed = {
            name: file if file.source else _moved(file, str(pack_file))
            for name, file in files.items()
        }
        made = Commit(sha, parent, message, seconds, folders, placed)
        _write(self.folder / f"{sha}.json", asdict(made))
        self._state.commits.insert(0, sha)
        return made

    def _save(self) -> None:
        _write(self.folder / "repo.json", asdict(self._state))


def add_alias(root: Path | str, old_id: str, new_id: str, *, kind: Kind = "model") -> None:
    """Make the hub answer requests for `old_id` with a 307 to `new_id`, as after a rename."""
    path = Path(root) / "aliases.json"
    aliases = json.loads(path.read_bytes()) if path.exists() else {}
    _write(path, aliases | {f"{kind}s/{old_id}": new_id})


def put_collection(root: Path | str, slug: str, items: Iterable[str]) -> None:
    """Make a collection of models (and of datasets, as datasets/org/name), or replace its items."""
    path = Path(root) / "collections.json"
    collections = json.loads(path.read_bytes()) if path.exists() else {}
    _write(path, collections | {slug: list(items)})


def is_lfs(name: str, size: int) -> bool:
    """Whether the hub would keep such a file in LFS."""
    return size > LFS_LIMIT or Path(name).suffix.lower() in LFS_SUFFIXES


def _store(name: str, content: bytes | Path | HubFile, pack: "_Pack") -> StoredFile:
    """Describe a file; bytes go to the end of `pack`, and get their source later."""
    given = content if isinstance(content, HubFile) else HubFile(content)
    data = given.content
    size = len(data) if isinstance(data, bytes) else data.stat().st_size
    offset = 0
    if isinstance(data, bytes):
        offset = pack.add(data)
    source = "" if isinstance(data, bytes) else str(data.resolve())
    lfs = is_lfs(name, size) if given.lfs is None else given.lfs
    oid, sha256 = "", None
    if lfs:
        sha256 = given.sha256 or gitid.hash_source(data, lfs=True)
        oid = gitid.git_id("blob", gitid.lfs_pointer(sha256, size))
    else:
        oid = gitid.hash_source(data, lfs=False)
    return StoredFile(size, oid, source, offset, sha256, dict(given.listed))


def _moved(file: StoredFile, source: str) -> StoredFile:
    return StoredFile(file.size, file.oid, source, file.offset, file.sha256, file.listed)


def _write(path: Path, value: object) -> None:
    """Replace a JSON file whole, so that a running hub never reads half of it."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(value))
    os.replace(part, path)
