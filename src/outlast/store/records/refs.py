"""Refs: the mutable names of revisions, as small text files; and what is known of a model."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from outlast.core.digest import GitOid
from outlast.core.errors import BadNameError, CorruptError, DamagedRecordError, OutlastError
from outlast.core.names import RepoId, check_ref, quote_ref, unquote_ref
from outlast.store import disk
from outlast.store.layout import repo_of_folder
from outlast.store.records.facts import UNREADABLE, About, load_document
from outlast.store.records.records import Records
from outlast.store.writer import WriteSession

ABOUT: Final = ".about"


CACHE: Final = "cache"
"""The source of the refs of what was adopted."""


@dataclass(frozen=True, slots=True)
class Ref:
    """Where a ref points, which source said so, and when (ISO 8601, UTC; empty for local refs).
    `kind` is ``tag`` or ``branch``, empty where the source did not say. `complete` is a commit that
    the ref named before and of which everything is here: what can be served if the newest cannot.
    `unconfirmed`: the source is a node on the LAN, and no hub said so.
    """

    name: str
    commit: GitOid
    source: str = ""
    observed: str = ""
    kind: str = ""
    complete: GitOid | None = None
    unconfirmed: bool = False

    def encode(self) -> bytes:
        """As JSON, a line; the name is that of the file."""
        document: dict[str, str | bool] = {"commit": self.commit.hex}
        for key in ("source", "observed", "kind"):
            if value := getattr(self, key):
                document[key] = value
        if self.complete is not None:
            document["complete"] = self.complete.hex
        if self.unconfirmed:
            document["unconfirmed"] = True
        return json.dumps(document, sort_keys=True).encode() + b"\n"


def came_from_cache(refs: Sequence[Ref]) -> bool:
    """Whether refs of a model are here, and all of them as a cache of other programs had them."""
    return bool(refs) and all(ref.source == CACHE for ref in refs)


@dataclass(frozen=True, slots=True)
class RefsRead:
    """The refs of a model, by name; `damaged` has the errors of those that are damaged."""

    refs: tuple[Ref, ...]
    damaged: Mapping[str, DamagedRecordError]


class Refs:
    """The refs of all models of an archive. `is_held` says whether a revision of a model is here:
    of such a model something must be known.
    """

    def __init__(self, records: Records, is_held: Callable[[RepoId], bool]) -> None:
        self._records = records
        self._layout = records.layout
        self._is_held = is_held

    def repos(self) -> Iterator[RepoId]:
        """Every model and dataset that has a ref, sorted."""
        with disk.reporting(self._layout.refs):
            folders = sorted(Path(folder) for folder, _ in disk.stamped(self._layout.refs, 3))
        for folder in folders:
            with contextlib.suppress(BadNameError, FileNotFoundError):  # not a folder of ours
                if any(_is_ref(path.name) and path.is_file() for path in folder.iterdir()):
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
    def spelling(self, repo: RepoId) -> RepoId:
        """`repo` as this archive spells it: for hubs, names that differ only in case are one model.
        As it was given, where the archive knows no other spelling, or several.
        """
        found = self._spellings(repo)
        return found[0] if len(found) == 1 else repo

    @disk.reported
    def list(self, repo: RepoId) -> list[Ref]:
        """The refs of `repo`, by name, without those that are damaged."""
        return [*self.read(repo).refs]

    @disk.reported
    def read(self, repo: RepoId) -> "RefsRead":
        """The refs of `repo`, by name, and those that are damaged."""
        found = []
        damaged = {}
        for path in self._paths(repo):
            try:
                found.append(self._read(path))
            except DamagedRecordError as error:
                damaged[unquote_ref(path.name)] = error
            except FileNotFoundError:
                continue
        return RefsRead(tuple(found), damaged)

    @disk.reported
    def get(self, repo: RepoId, name: str) -> Ref | None:
        """A ref; None where there is none. Raises :class:`DamagedRecordError`."""
        try:
            return self._read(self._path(repo, name))
        except FileNotFoundError:
            return None

    @disk.reported
    def put(self, writer: WriteSession, repo: RepoId, ref: Ref) -> None:
        """Points `ref.name` at its commit. A ref that looks like a commit is refused: who pins a
        commit must get that commit.
        """
        if GitOid.is_valid(ref.name):
            raise BadNameError(f"{ref.name} is a commit id and cannot be a ref")
        self.refuse_twin(repo)
        self._records.write_twice(writer, self._path(repo, ref.name), ref.encode())
        disk.touch(self._layout.refs)

    @disk.reported
    def delete(self, repo: RepoId, name: str) -> bool:
        """Removes a ref; False where there was none."""
        path = self._path(repo, name)
        with disk.reporting(path):
            gone = self._records.delete(path)
            self.tidy(repo)
            disk.touch(self._layout.refs)
        return gone

    def about(self, repo: RepoId) -> About:
        """What is known of a model. Where that cannot be read, or is gone while a revision of the
        model is here, the model counts as private: damage opens nothing.
        """
        try:
            found = self.stored_about(repo)
        except DamagedRecordError:
            return replace(self._second_about(repo) or UNREADABLE, private=True)
        if found is None:
            return UNREADABLE if self._records.strict and self._is_held(repo) else About()
        return found

    def is_open(self, repo: RepoId) -> bool:
        """Whether a model is public, as far as is known, and given out here; not if that cannot be
        read.
        """
        about = self.about(repo)
        return about.is_open and not about.is_stopped

    def is_unsaid(self, repo: RepoId) -> bool:
        """Whether a model came from a cache of other programs alone, which does not tell whether
        its hub calls it private or gated: no hub was asked for it from here.
        """
        return came_from_cache(self.list(repo))

    def may_tell(self, repo: RepoId) -> bool:
        """Whether nodes that no operator named may hear of a model: its hub calls it public, or it
        has none.
        """
        return self.is_open(repo) and not self.is_unsaid(repo)

    def is_known(self, repo: RepoId) -> bool:
        """Whether what is written down of a model can be read."""
        try:
            return self.stored_about(repo) is not None or not self._records.strict
        except DamagedRecordError:
            return False

    @disk.reported
    def stored_about(self, repo: RepoId) -> About | None:
        """What is written down of a model; None where there is nothing. Raises
        :class:`DamagedRecordError`.
        """
        path = self.about_path(repo)
        try:
            body = self._records.read(path)
        except FileNotFoundError:
            return None
        try:
            return About.decode(body)
        except CorruptError as error:
            raise self._records.damaged(path, str(error)) from None

    def _second_about(self, repo: RepoId) -> About | None:
        """What the second copy says, where that is intact."""
        body = self._records.read_second(self.about_path(repo))
        try:
            return None if body is None else About.decode(body)
        except CorruptError:
            return None

    @disk.reported
    def put_about(self, writer: WriteSession, repo: RepoId, about: About) -> None:
        try:
            if self.stored_about(repo) == about:
                return
        except DamagedRecordError:
            pass  # it is replaced
        self.refuse_twin(repo)
        self._records.write_twice(writer, self.about_path(repo), about.encode())
        disk.touch(self._layout.refs)

    def introduce(self, writer: WriteSession, repo: RepoId) -> None:
        """Call before the first revision of a model is put: where nothing is known of it, that is
        written down. Of a model that is here, what is not known stays so.
        """
        with contextlib.suppress(DamagedRecordError):
            if self.stored_about(repo) is None and not self._is_held(repo):
                self.refuse_twin(repo)
                body = About().encode()  # what another process learnt meanwhile stays
                self._records.write_twice(writer, self.about_path(repo), body, new=True)
                disk.touch(self._layout.refs)

    @disk.reported
    def tidy(self, repo: RepoId) -> None:
        """Drops what is known of a model whose last ref and revision went. That it is private or
        gated stays noted, and so does a notice of the operator.
        """
        folder = self._layout.repo_refs(repo)
        about = self.about(repo)
        if self._paths(repo) or self._is_held(repo) or not about.is_open or about.notice:
            return
        self._records.delete(folder / ABOUT)
        disk.remove_empty_parents(folder / ABOUT, self._layout.refs)

    def about_path(self, repo: RepoId) -> Path:
        """The file with what is known of a model."""
        return self._layout.repo_refs(repo) / ABOUT

    def _path(self, repo: RepoId, name: str) -> Path:
        return self._layout.repo_refs(repo) / quote_ref(check_ref(name))

    def _paths(self, repo: RepoId) -> Sequence[Path]:
        folder = self._layout.repo_refs(repo)
        return [folder / name for name in self._records.names(folder) if _is_ref(name)]

    def _read(self, path: Path) -> Ref:
        try:
            return decode_ref(path.name, self._records.read(path))
        except DamagedRecordError:
            raise
        except CorruptError as error:
            raise self._records.damaged(path, str(error)) from None

    @disk.reported
    def refuse_twin(self, repo: RepoId) -> None:
        """`Org/Name` is no other model than `org/name`: not for hubs, and not where a file system
        takes upper and lower case for the same. Raises :class:`BadNameError`; every write does.
        """
        if repo not in (self._spellings(repo) or [repo]):
            raise BadNameError(
                f"{repo} differs only in case from a model that is archived",
                hint="use the spelling that 'outlast ls' shows",
            )

    def _spellings(self, repo: RepoId) -> Sequence[RepoId]:
        """The names that the archive knows and that differ from `repo` only in case; `repo` alone
        if it is one.
        """
        folder = self._layout.repo_refs(repo)
        kind, organisation, name = folder.parts[-3:]
        swapped = folder.parents[2] / kind / organisation.swapcase() / name.swapcase()
        if folder.is_dir() and not swapped.exists():
            return [repo]  # quick, where file systems tell upper from lower case
        found = [
            repo_of_folder(path)
            for above in _same_but_case(folder.parents[1], organisation)
            for path in _same_but_case(above, name)
        ]
        return [repo] if repo in found else found


def _same_but_case(folder: Path, name: str) -> Iterator[Path]:
    """The folders in `folder` that are called `name`, in upper or lower case."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in folder.iterdir():
            if path.name.isascii() and path.name.lower() == name.lower() and path.is_dir():
                yield path


def decode_ref(file_name: str, body: bytes) -> Ref:
    """The ref in a file of that name. Raises :class:`CorruptError`."""
    document = load_document(body)
    try:
        commit = GitOid(str(document.get("commit")))
        complete = GitOid(str(document["complete"])) if "complete" in document else None
    except OutlastError as error:
        raise CorruptError(str(error)) from None
    return Ref(
        name=unquote_ref(file_name),
        commit=commit,
        source=str(document.get("source", "")),
        observed=str(document.get("observed", "")),
        kind=str(document.get("kind", "")),
        complete=complete,
        unconfirmed=bool(document.get("unconfirmed", False)),
    )


def _is_ref(name: str) -> bool:
    """A file of ours: the name of a ref never starts with a dot."""
    return not name.startswith(".")
