"""Refs: the mutable names of revisions, as small text files; and what a hub says of a model."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from outlast.core.digest import GitOid
from outlast.core.errors import BadNameError, CorruptError, OutlastError
from outlast.core.manifest import load_json
from outlast.core.names import RepoId, check_ref, quote_ref, unquote_ref
from outlast.store import disk
from outlast.store.layout import Layout, repo_of_folder
from outlast.store.writer import WriteSession

_ABOUT = ".about"
_LINK = "link:"
_LIMIT = 1024 * 1024
_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Ref:
    """Where a ref points, which source said so, and when (ISO 8601, UTC; empty for local refs).
    `kind` is ``tag`` or ``branch``, empty where the source did not say. `complete` is a commit that
    the ref named before and of which everything is here: what can be served if the newest cannot.
    """

    name: str
    commit: GitOid
    source: str = ""
    observed: str = ""
    kind: str = ""
    complete: GitOid | None = None


@dataclass(frozen=True, slots=True)
class About:
    """What a hub says of a model beside its files; it may change at any time."""

    private: bool = False
    gated: str | bool = False
    tags: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)
    """``pipeline_tag``, ``library_name``, ``lastModified`` and the like; and, by ``link:`` and the
    commit, the link that a revision came by: a note of ours, which no source overwrites.
    """

    @property
    def is_open(self) -> bool:
        """Whether a hub gives it to everybody."""
        return not self.private and not self.gated

    @property
    def link_facts(self) -> dict[str, str]:
        """Those of the facts that say which revision came by which link."""
        return {key: value for key, value in self.facts.items() if key.startswith(_LINK)}

    @property
    def links(self) -> dict[str, str]:
        """By commit in hex, the link that a revision came by."""
        return {key.removeprefix(_LINK): value for key, value in self.link_facts.items()}

    def with_link(self, commit: GitOid, link: str) -> Self:
        """The same with a note that a revision came by `link`."""
        return replace(self, facts={**self.facts, _LINK + commit.hex: link})


class Refs:
    """The refs of all models of an archive."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def repos(self) -> Iterator[RepoId]:
        """Every model and dataset that has a ref, sorted."""
        with disk.reporting(self._layout.refs):
            folders = sorted(Path(folder) for folder, _ in disk.stamped(self._layout.refs, 3))
        for folder in folders:
            with contextlib.suppress(BadNameError, FileNotFoundError):  # not a folder of ours
                if any(map(_is_ref, folder.iterdir())):
                    yield repo_of_folder(folder)

    def stamps(self) -> dict[RepoId, int]:
        """By model or dataset, the time (in nanoseconds since 1970) at which a ref of it, or what
        a hub says of it, was written last. Reads none of them.
        """
        found = {}
        with disk.reporting(self._layout.refs):
            for folder, stamp in disk.stamped(self._layout.refs, 3):
                with contextlib.suppress(BadNameError):
                    found[repo_of_folder(folder)] = stamp
        return found

    @disk.reported
    def list(self, repo: RepoId) -> list[Ref]:
        """The refs of `repo`, by name."""
        folder = self._layout.repo_refs(repo)
        try:
            paths = [path for path in sorted(folder.iterdir()) if _is_ref(path)]
        except FileNotFoundError:
            return []
        return [_read(path) for path in paths]

    @disk.reported
    def readable(self, repo: RepoId) -> tuple[Ref, ...]:
        """The same without those that are damaged."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for path in sorted(self._layout.repo_refs(repo).iterdir()):
                with contextlib.suppress(OutlastError, FileNotFoundError):
                    if _is_ref(path):
                        found.append(_read(path))
        return tuple(found)

    @disk.reported
    def get(self, repo: RepoId, name: str) -> Ref | None:
        path = self._path(repo, name)
        try:
            return _read(path)
        except FileNotFoundError:
            return None

    @disk.reported
    def put(self, writer: WriteSession, repo: RepoId, ref: Ref) -> None:
        """Points `ref.name` at its commit. A ref that looks like a commit is refused: who pins a
        commit must get that commit.
        """
        if GitOid.is_valid(ref.name):
            raise BadNameError(f"{ref.name} is a commit id and cannot be a ref")
        self._refuse_twin(repo)
        document = {"commit": ref.commit.hex}
        for key in ("source", "observed", "kind"):
            if value := getattr(ref, key):
                document[key] = value
        if ref.complete is not None:
            document["complete"] = ref.complete.hex
        writer.write(self._path(repo, ref.name), _encode(document), _MODE)
        disk.touch(self._layout.refs)

    @disk.reported
    def delete(self, repo: RepoId, name: str) -> bool:
        """Removes a ref; False where there was none."""
        path = self._path(repo, name)
        with disk.reporting(path):
            gone = disk.remove(path)
            self._tidy(repo)
            disk.touch(self._layout.refs)
        return gone

    @disk.reported
    def about(self, repo: RepoId) -> About:
        try:
            data = (self._layout.repo_refs(repo) / _ABOUT).read_bytes()
        except FileNotFoundError:
            return About()
        document = _document(data, _ABOUT)
        private, gated = document.get("private", False), document.get("gated", False)
        tags, facts = document.get("tags", []), document.get("facts", {})
        if (
            not isinstance(private, bool)
            or not isinstance(gated, bool | str)
            or not isinstance(tags, list)
            or not isinstance(facts, dict)
        ):
            raise CorruptError(f"the file {_ABOUT!r} of {repo} is damaged")
        texts = {str(key): str(value) for key, value in facts.items()}
        return About(private, gated, tuple(map(str, tags)), texts)

    @disk.reported
    def put_about(self, writer: WriteSession, repo: RepoId, about: About) -> None:
        if about != self.about(repo):
            self._refuse_twin(repo)
            writer.write(self._layout.repo_refs(repo) / _ABOUT, _encode(asdict(about)), _MODE)
            disk.touch(self._layout.refs)

    def _path(self, repo: RepoId, name: str) -> Path:
        return self._layout.repo_refs(repo) / quote_ref(check_ref(name))

    def _refuse_twin(self, repo: RepoId) -> None:
        """On a case-insensitive file system, `Org/Name` must not write into `org/name`."""
        folder = self._layout.repo_refs(repo)
        if folder.is_dir() and folder.name not in {path.name for path in folder.parent.iterdir()}:
            raise BadNameError(
                f"{repo} differs only in case from a model that is archived",
                hint="use the spelling that 'outlast ls' shows",
            )

    def is_open(self, repo: RepoId) -> bool:
        """Whether a model is public, as far as is known; not if that cannot be read."""
        try:
            return self.about(repo).is_open
        except OutlastError:
            return False

    def _tidy(self, repo: RepoId) -> None:
        """Drops the folder of a model whose last ref went. That it is private or gated stays
        noted: a revision without a ref may be here.
        """
        folder = self._layout.repo_refs(repo)
        if folder.is_dir() and not any(map(_is_ref, folder.iterdir())) and self.is_open(repo):
            disk.remove(folder / _ABOUT)
            disk.remove_empty_parents(folder / _ABOUT, self._layout.refs)


def _is_ref(path: Path) -> bool:
    """A file of ours: the name of a ref never starts with a dot."""
    return not path.name.startswith(".") and path.is_file()


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode() + b"\n"


def _document(data: bytes, name: str) -> dict[str, Any]:
    try:
        document = load_json(data, _LIMIT)
    except OutlastError as error:
        raise CorruptError(f"the ref file {name!r} is damaged: {error}") from None
    if not isinstance(document, dict):
        raise CorruptError(f"the ref file {name!r} is damaged: it is not an object")
    return document


def _read(path: Path) -> Ref:
    document = _document(path.read_bytes(), path.name)
    try:
        commit = GitOid(str(document.get("commit")))
        complete = GitOid(str(document["complete"])) if "complete" in document else None
    except OutlastError as error:
        raise CorruptError(f"the ref file {path.name!r} is damaged: {error}") from None
    return Ref(
        name=unquote_ref(path.name),
        commit=commit,
        source=str(document.get("source", "")),
        observed=str(document.get("observed", "")),
        kind=str(document.get("kind", "")),
        complete=complete,
    )
