"""The text of a draft: JSON lines, each with its check behind a tab.

The first lines, the head and what the source lists, are written as one. The head gives the number
of the others, so that none of them can vanish. Lines that note acknowledged files are appended.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from outlast.core.digest import GitOid
from outlast.core.errors import CorruptError, MalformedError, OutlastError
from outlast.core.manifest import MAX_FILES, FileEntry, Revision, load_json, parse_kind
from outlast.core.names import RepoId
from outlast.store.records import sealed

_TYPE: Final = "outlast-draft-v2"
_OLD_TYPE: Final = "outlast-draft-v1"
_HELD: Final = "held"
_LINE_LIMIT: Final = 1024 * 1024
"""Bytes of a line, at most: a path has at most 4 KiB, each byte of it six in JSON."""

_Head = dict[str, Any]


@dataclass(slots=True)
class DraftText:
    """What can be read of a draft. `lost` says what is not known any more of the commit's list of
    files, and is empty where nothing is. `bad_lines` counts the lines that have changed.
    """

    head: _Head = field(default_factory=dict)
    here: dict[str, FileEntry] = field(default_factory=dict)
    missing: dict[str, FileEntry] = field(default_factory=dict)
    lost: str = ""
    bad_lines: int = 0

    def take(self, line: bytes) -> str:
        """Adds the file of an intact line; returns its path. Raises :class:`OutlastError`."""
        document = load_json(line, _LINE_LIMIT)
        held = isinstance(document, dict) and document.pop(_HELD, False)
        entry = FileEntry.from_json(document)
        (self.here if held else self.missing)[entry.path] = entry
        return entry.path

    def revision(self, repo: RepoId, commit: GitOid) -> Revision:
        """The files as a revision, one that may lack files where some are lost."""
        absent = [entry for path, entry in self.missing.items() if path not in self.here]
        unlisted = bool(self.lost) or self.head.get("unlisted") is True
        return Revision.of(repo, commit, self.here.values(), absent, unlisted=unlisted)


def write_start(name: str, listed: Revision) -> bytes:
    """The first lines of the draft of `listed` in the file `name`."""
    head = {
        "type": _TYPE,
        "kind": listed.repo.kind.value,
        "name": listed.repo.name,
        "commit": listed.id.hex,
        "listed": len(listed.files) + len(listed.missing),
        **({"unlisted": True} if listed.unlisted else {}),
    }
    lines = [
        json.dumps(head, sort_keys=True).encode(),
        *(_line(entry, held=True) for entry in listed.files),
        *(_line(entry, held=False) for entry in listed.missing),
    ]
    return b"".join(sealed.seal_line(name, sealed.LISTED, line) + b"\n" for line in lines)


def write_notes(name: str, entries: Iterable[FileEntry]) -> bytes:
    """Lines that note acknowledged files. The newline in front ends a line that a crash tore."""
    lines = (sealed.seal_line(name, sealed.NOTED, _line(entry, held=True)) for entry in entries)
    return b"\n" + b"\n".join(lines) + b"\n"


def read(name: str, data: bytes, *, strict: bool) -> DraftText:
    """Reads the draft in the file `name` as far as it is intact. A draft without checks, of format
    2 and before, is read unless `strict`.
    """
    lines = data.split(b"\n")
    if not strict and b"\t" not in lines[0]:
        return _read_old(lines)
    found = DraftText()
    listed: set[str] = set()
    head = sealed.unseal_line(name, sealed.LISTED, lines[0])
    if head is None:
        found.bad_lines += 1
    else:
        found.head = _head(head)
    for line in filter(None, lines[1:]):
        text = sealed.unseal_line(name, sealed.NOTED, line)
        if text is not None:
            found.take(text)
        elif (text := sealed.unseal_line(name, sealed.LISTED, line)) is not None:
            listed.add(found.take(text))
        elif not sealed.is_torn(line):
            found.bad_lines += 1
    if not found.head:
        found.lost = "its first line cannot be read"
    elif missing := found.head["listed"] - len(listed):
        found.lost = f"{missing} of the {found.head['listed']} files that it lists cannot be read"
    return found


def check_head(head: _Head, repo: RepoId, commit: GitOid) -> None:
    """Raises :class:`CorruptError` where a draft is of something else."""
    try:
        found = RepoId(parse_kind(head.get("kind")), str(head.get("name")))
        its = GitOid(str(head.get("commit")))
    except OutlastError as error:
        raise CorruptError(str(error)) from None
    if (found, its) != (repo, commit):
        raise CorruptError(f"it is of {found} at {its}")


def _head(line: bytes) -> _Head:
    head = load_json(line, _LINE_LIMIT)
    if not isinstance(head, dict) or head.get("type") != _TYPE:
        raise MalformedError("it does not start as a draft does")
    count = head.get("listed")
    if type(count) is not int or not 0 <= count <= MAX_FILES:
        raise MalformedError("its first line gives no number of files")
    return head


def _read_old(lines: list[bytes]) -> DraftText:
    """A draft of format 2. Nothing tells whether a line that does not parse was one of the first:
    if it is not torn, the draft may lack files.
    """
    found = DraftText()
    # The first lines are written as one: a head without its end is damaged.
    head = load_json(lines[0], _LINE_LIMIT) if len(lines) > 1 else None
    if not isinstance(head, dict) or head.get("type") != _OLD_TYPE:
        raise MalformedError("it does not start as a draft does")
    appended = False
    for line in lines[1:]:
        appended |= not line  # each batch begins with an empty line
        if line and not _takes(found, line):
            found.bad_lines += not (appended and _is_torn(line))
    found.head = {**head, "unlisted": True} if found.bad_lines else head
    return found


def _takes(text: DraftText, line: bytes) -> bool:
    try:
        text.take(line)
    except OutlastError:
        return False
    return True


def _is_torn(line: bytes) -> bool:
    """Whether a line without a check is the beginning of one. It is not, if only its last byte, or
    the end of the line behind it, is another one.
    """
    if line.endswith(b"}") or b"\0" in line:
        return False
    return not any(_takes(DraftText(), whole) for whole in (line[:-1], line[:-1] + b"}"))


def _line(entry: FileEntry, *, held: bool) -> bytes:
    document = entry.to_json()
    if held:
        document[_HELD] = True
    return json.dumps(document, sort_keys=True).encode()
