"""Whether a hub's commit id follows from a manifest: commit → folders → files.

A file of a manifest has git's own id, or is in LFS: then git has its pointer, a small text that
follows from sha256 and size (git-lfs, docs/spec.md). So the folders can be made again from the
manifest, and what it does not say is written beside: modes, links, submodules.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes

from outlast.codec.git.commits import CommitText
from outlast.codec.git.trees import FILE, TreeEntry, files_below, root_of
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import IntegrityError, MalformedError
from outlast.core.manifest import FileEntry

MOST_BESIDE: Final = 4096
"""Entries that a manifest does not say. Guess: scripts that may be run, links, submodules."""
_MOST_LINE: Final = 3 * 4096 + 100
_DERIVED: Final = "-"
_PLAIN: Final = "/ !$&'()*+;=:@"
"""What stands in a line as it is, beside letters, digits and ``_.-~``."""


@dataclass(frozen=True, slots=True)
class Beside:
    """An entry of a commit that does not follow from the manifest: its path (git's bytes), its
    mode, and its id, or None where the manifest says that and only the mode is another.
    """

    path: bytes
    mode: str
    oid: GitOid | None = None

    def to_line(self) -> str:
        """``MODE ID PATH``: the path percent-encoded, ``-`` for an id that follows."""
        oid = _DERIVED if self.oid is None else self.oid.hex
        return f"{self.mode} {oid} {quote_from_bytes(self.path, safe=_PLAIN)}"

    @classmethod
    def of_line(cls, line: str) -> Self:
        """The inverse. Raises :class:`MalformedError` for another spelling of the same."""
        mode, _, rest = line.partition(" ")
        oid, _, path = rest.partition(" ")
        found = cls(unquote_to_bytes(path), mode, None if oid == _DERIVED else GitOid(oid))
        TreeEntry(mode, GitOid("0" * 40))  # refuses what is no mode
        if len(line) > _MOST_LINE or found.to_line() != line:
            raise MalformedError("an entry of a commit that is not written in the one way")
        return found


@dataclass(frozen=True, slots=True)
class HubCommit:
    """The text of a commit, and what its folders have beside the files of a manifest, in the order
    of paths.
    """

    text: bytes
    beside: tuple[Beside, ...] = ()


def pointer_of(sha256: Digest, size: int) -> bytes:
    """The text that git has in place of a file in LFS."""
    line = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    return line.encode()


def blob_of(entry: FileEntry) -> GitOid:
    """The id of what git has as this file: of its bytes, or of its pointer."""
    if entry.git_sha1 is not None:
        return entry.git_sha1
    if entry.sha256 is None:
        raise MalformedError(f"{entry.path!r} has neither a sha256 nor a git blob id")
    return GitOid.of_blob(pointer_of(entry.sha256, entry.size))


def prove(commit: GitOid, entries: Iterable[FileEntry], proof: HubCommit) -> int:
    """How many files of a manifest `commit` was computed again from. Raises
    :class:`IntegrityError` where another id follows, and :class:`MalformedError`.
    """
    text = CommitText.read(proof.text)
    if text.id != commit:
        raise IntegrityError(f"the text is that of another commit: {text.id.hex[:12]}")
    rows = {entry.path.encode(): TreeEntry(FILE, blob_of(entry)) for entry in entries}
    files = len(rows)
    for one in proof.beside:
        known = rows.get(one.path)
        if (known is None) == (one.oid is None):
            raise MalformedError("an entry beside the manifest that is in it, or the other way")
        oid = one.oid if known is None else known.oid
        assert oid is not None
        rows[one.path] = TreeEntry(one.mode, oid)
    found = root_of(rows.items())
    if found != text.tree:
        raise IntegrityError(f"commit {commit.hex[:12]} has other files than the manifest")
    return files


def beside_of(
    text: CommitText, trees: Mapping[GitOid, bytes], entries: Iterable[FileEntry]
) -> tuple[Beside, ...]:
    """What the folders of a commit have that does not follow from `entries`. Raises
    :class:`IntegrityError` where a file of these is another one there, or is not there, and
    :class:`MalformedError`.
    """
    known = {entry.path.encode(): blob_of(entry) for entry in entries}
    most = 3 * len(known) + MOST_BESIDE  # a folder for each file, and as many in these
    found = sorted(_differing(known, files_below(text.tree, trees, most)), key=lambda one: one.path)
    if known:
        raise IntegrityError(f"the commit does not have {min(known)[:100]!r}")
    return tuple(found)


def _differing(
    known: dict[bytes, GitOid], rows: Iterable[tuple[bytes, TreeEntry]]
) -> Iterator[Beside]:
    """Takes out of `known` what is there."""
    count = 0
    for path, entry in rows:
        oid = known.pop(path, None)
        if oid is None:
            yield Beside(path, entry.mode, entry.oid)
        elif oid != entry.oid:
            raise IntegrityError(f"the commit has other bytes as {path[:100]!r}")
        elif entry.mode != FILE:
            yield Beside(path, entry.mode)
        else:
            continue
        count += 1
        if count > MOST_BESIDE:
            raise MalformedError(f"more than {MOST_BESIDE} entries are not as a manifest says")
