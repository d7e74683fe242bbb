"""Small models to archive."""

from collections.abc import Mapping

from outlast.codec.hashing import names_of
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import OutlastError
from outlast.core.manifest import FileEntry, Revision
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.writer import WriteSession

REPO = RepoId.parse("org/name")
COMMIT = GitOid("c0ffee" + "0" * 34)
OTHER = GitOid("decade" + "1" * 34)


def check_error(error: OutlastError) -> None:
    """What a person sees is one line, and a hint."""
    for line in (str(error), error.hint):
        assert line.isprintable()
        assert 0 < len(line) < 4000


def entry_of(path: str, data: bytes) -> FileEntry:
    """`data` as an archived file."""
    names = names_of(data)
    return FileEntry(path, names.size, names.sha256, None, names.merkle_root)


def revision_of(
    files: Mapping[str, bytes],
    missing: Mapping[str, bytes] | None = None,
    *,
    repo: RepoId = REPO,
    commit: GitOid | None = COMMIT,
    unlisted: bool = False,
) -> Revision:
    return Revision.of(
        repo,
        commit,
        [entry_of(path, data) for path, data in files.items()],
        [entry_of(path, data) for path, data in (missing or {}).items()],
        unlisted=unlisted,
    )


def put(archive: Archive, writer: WriteSession, *contents: bytes) -> list[Digest]:
    """Archives `contents` as blobs."""
    names = [names_of(data) for data in contents]
    for data, each in zip(contents, names, strict=True):
        archive.put(writer, data, each)
    return [each.sha256 for each in names]


def archive_revision(archive: Archive, files: Mapping[str, bytes]) -> Revision:
    """A complete revision with its blobs, from a writer of its own."""
    revision = revision_of(files)
    with archive.writer() as writer:
        put(archive, writer, *files.values())
        archive.put_revision(writer, revision)
    return revision
