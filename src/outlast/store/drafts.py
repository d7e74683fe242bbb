"""Drafts: revisions whose files are still arriving.

A draft is a file of JSON lines: first what the source lists for a commit, then a line for every
file as it is acknowledged. Appending is cheap, a torn last line is ignored, and several processes
may append at once. A complete draft becomes a manifest.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from outlast.core.digest import GitOid
from outlast.core.errors import (
    BadNameError,
    CorruptError,
    OutlastError,
    RevisionNotFoundError,
)
from outlast.core.manifest import MAX_MANIFEST_BYTES, FileEntry, Revision, load_json, parse_kind
from outlast.core.names import RepoId
from outlast.store import disk
from outlast.store.layout import Layout, repo_of_folder
from outlast.store.writer import WriteSession

_TYPE = "outlast-draft-v1"
_HELD = "held"
_MODE = 0o644


class Drafts:
    """The unfinished revisions of an archive."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @disk.reported
    def exists(self, repo: RepoId, commit: GitOid) -> bool:
        return self._layout.draft(repo, commit).is_file()

    @disk.reported
    def start(self, writer: WriteSession, listed: Revision) -> None:
        """Begins the draft of `listed`, a hub commit whose `missing` files are still to come."""
        commit = listed.id
        path = self._layout.draft(listed.repo, commit)
        if path.exists():
            return  # started before; its lines stay
        head = {
            "type": _TYPE,
            "kind": listed.repo.kind.value,
            "name": listed.repo.name,
            "commit": commit.hex,
            **({"unlisted": True} if listed.unlisted else {}),
        }
        lines = [
            json.dumps(head, sort_keys=True),
            *(_line(entry, held=True) for entry in listed.files),
            *(_line(entry, held=False) for entry in listed.missing),
        ]
        writer.write_new(path, ("\n".join(lines) + "\n").encode(), _MODE)
        disk.touch(self._layout.drafts)

    @disk.reported
    def add(self, repo: RepoId, commit: GitOid, entries: Iterable[FileEntry]) -> None:
        """Notes files that are acknowledged. Durable on return. Raises
        :class:`RevisionNotFoundError` where there is no such draft (any more).
        """
        lines = [_line(entry, held=True) for entry in entries]
        path = self._layout.draft(repo, commit)
        with disk.reporting(path), disk.locked(self._layout.lock, exclusive=False):
            try:
                fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            except FileNotFoundError:
                raise RevisionNotFoundError(f"no draft of {repo} at {commit}") from None
            try:
                # The leading newline ends a line that a crash may have torn.
                disk.append_all(fd, ("\n" + "\n".join(lines) + "\n").encode())
                disk.fsync(fd)
            finally:
                os.close(fd)
            disk.touch(self._layout.drafts)

    @disk.reported
    def load(self, repo: RepoId, commit: GitOid) -> Revision | None:
        """The draft as a revision: what is acknowledged, and what is missing."""
        path = self._layout.draft(repo, commit)
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_MANIFEST_BYTES + 1)
        except FileNotFoundError:
            return None
        return self._checked(path, data, repo, commit)

    def _checked(self, path: Path, data: bytes, repo: RepoId, commit: GitOid) -> Revision:
        try:
            revision = _parse(data)
        except OutlastError as error:
            raise CorruptError(f"the draft {path} is damaged: {error}") from None
        if (revision.repo, revision.id) != (repo, commit):
            raise CorruptError(f"the draft {path} is of {revision.repo} at {revision.id}")
        return revision

    def all(self) -> Iterator[Revision]:
        """Every draft, by name."""
        for path in disk.matching(self._layout.drafts, "*", "*", "*", "*.jsonl"):
            if not GitOid.is_valid(path.stem):
                continue
            repo = repo_of_folder(path.parent)
            with disk.reporting(path), contextlib.suppress(FileNotFoundError):
                yield self._checked(path, path.read_bytes(), repo, GitOid(path.stem))

    def paths(self) -> list[Path]:
        """The files of all drafts, sorted; also those whose name is not that of a draft."""
        if self._layout.drafts.exists():
            disk.listed(self._layout.drafts)  # a file in its place is an error, and not empty
        return disk.matching(self._layout.drafts, "*", "*", "*", "*.jsonl")

    def parse(self, path: Path, data: bytes) -> Revision:
        """The draft that the file `path`, one of :meth:`paths`, is with these bytes. Raises
        :class:`OutlastError` where it is none.
        """
        return self._checked(path, data, repo_of_folder(path.parent), GitOid(path.stem))

    def is_doubtful(self, repo: RepoId, commit: GitOid) -> bool:
        """Whether a draft has lines that cannot be read, from a crash or from damage."""
        with contextlib.suppress(FileNotFoundError):
            return bool(doubtful(self._layout.draft(repo, commit).read_bytes()))
        return False

    def stamps(self) -> dict[tuple[RepoId, GitOid], tuple[int, int, int]]:
        """Every draft, with what changes whenever something is appended to it. Reads none."""
        found = {}
        with disk.reporting(self._layout.drafts):
            for folder, _ in disk.stamped(self._layout.drafts, 3):
                with contextlib.suppress(BadNameError, FileNotFoundError):  # not ours; sealed
                    repo = repo_of_folder(folder)
                    for commit in self.of(repo):
                        stat = os.stat(self._layout.draft(repo, commit))
                        found[repo, commit] = stat.st_ino, stat.st_size, stat.st_mtime_ns
        return found

    @disk.reported
    def of(self, repo: RepoId) -> list[GitOid]:
        """The commits of `repo` that are drafts."""
        paths = disk.matching(self._layout.repo_drafts(repo), "*.jsonl")
        return [GitOid(path.stem) for path in paths if GitOid.is_valid(path.stem)]

    @disk.reported
    def delete(self, repo: RepoId, commit: GitOid) -> bool:
        path = self._layout.draft(repo, commit)
        with disk.reporting(path):
            gone = disk.remove(path)
            disk.remove_empty_parents(path, self._layout.drafts)
            disk.touch(self._layout.drafts)
        return gone


def _parse(data: bytes) -> Revision:
    lines = data.split(b"\n")
    lines.pop()  # what follows the last newline is torn or empty
    head = load_json(lines[0], MAX_MANIFEST_BYTES) if lines else None
    if not isinstance(head, dict) or head.get("type") != _TYPE:
        raise CorruptError("it does not start as a draft does")
    here: dict[str, FileEntry] = {}
    missing: dict[str, FileEntry] = {}
    for line in filter(None, lines[1:]):
        try:
            document = load_json(line, MAX_MANIFEST_BYTES)
            held = isinstance(document, dict) and document.pop(_HELD, False)
            entry = FileEntry.from_json(document)
        except OutlastError:
            continue  # torn by a crash: that file was not acknowledged
        (here if held else missing)[entry.path] = entry
    repo = RepoId(parse_kind(head.get("kind")), str(head.get("name")))
    absent = [entry for path, entry in missing.items() if path not in here]
    unlisted = head.get("unlisted") is True
    commit = GitOid(str(head.get("commit")))
    return Revision.of(repo, commit, here.values(), absent, unlisted=unlisted)


def doubtful(data: bytes) -> str:
    """What the bytes of a draft that parses cannot say any more; empty where they say all."""
    bad = sum(1 for line in data.split(b"\n")[1:] if line and not _is_entry(line))
    return f"{bad} of its lines cannot be read" if bad else ""


def _is_entry(line: bytes) -> bool:
    try:
        document = load_json(line, MAX_MANIFEST_BYTES)
        if isinstance(document, dict):
            document.pop(_HELD, None)
        FileEntry.from_json(document)
    except OutlastError:
        return False
    return True


def _line(entry: FileEntry, *, held: bool) -> str:
    document = entry.to_json()
    if held:
        document[_HELD] = True
    return json.dumps(document, sort_keys=True)
