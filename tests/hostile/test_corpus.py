"""Every file of the corpus is refused with one line and a hint, and takes nothing along.

A file that once broke something goes into the folder of its kind; nothing else is to be done.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import OutlastError
from outlast.core.manifest import Revision
from outlast.store.archive import Archive
from outlast.store.collect import Spared, collect
from outlast.store.records.refs import Ref
from outlast.store.records.sealed import seal
from tests.store.build import REPO, check_error, put

CORPUS = Path(__file__).parent / "corpus"
COMMIT = GitOid("cd" * 20)
CASES = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*"))


def spares(archive: Archive) -> None:
    """A collection goes on without the record, and keeps all that it may name."""
    with archive.writer() as writer:
        put(archive, writer, b"may be named")
    spared: list[Spared] = []
    for dry_run in (True, False):
        assert not [g for g in collect(archive, dry_run=dry_run, spared=spared.append)
                    if g.what != "tmp"]  # fmt: skip
    assert [(record.count, record.size) for record in spared] == [(2, 22)] * 2


def read_manifest(archive: Archive, data: bytes) -> None:
    """As one that an archive from elsewhere holds: under its own name."""
    archive.layout.manifest(Digest.of(data)).write_bytes(data)
    assert archive.summaries() == []
    spares(archive)
    Revision.from_bytes(data)


def older(archive: Archive) -> Archive:
    """The archive, opened as one of format 2, in which small files have no checks: there what they
    say is read whatever it is.
    """
    archive.layout.marker.unlink()
    archive.layout.marker.write_bytes(b'{"outlast-archive": 2}\n')
    shutil.rmtree(archive.layout.second)
    return Archive(archive.layout.home)


def read_draft(archive: Archive, data: bytes) -> None:
    place = archive.layout.draft(REPO, COMMIT)
    place.parent.mkdir(parents=True)
    place.write_bytes(data)
    spares(archive)
    with pytest.raises(OutlastError):
        archive.load(REPO, COMMIT)
    with older(archive) as opened:
        spares(opened)
        with pytest.raises(OutlastError):
            opened.load(REPO, COMMIT)
        opened.drafts.load(REPO, COMMIT)


def read_ref(archive: Archive, data: bytes) -> None:
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
    path = archive.layout.repo_refs(REPO) / "main"
    for text in (data, seal(archive.layout.name_of(path), data)):
        path.write_bytes(text)
        assert list(archive.refs.repos()) == [REPO]
        assert list(archive.refs.read(REPO).damaged) == ["main"]
        with pytest.raises(OutlastError):
            archive.refs.get(REPO, "main")
    path.write_bytes(data)
    with older(archive) as opened:
        opened.refs.get(REPO, "main")


def read_about(archive: Archive, data: bytes) -> None:
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
    path = archive.layout.repo_refs(REPO) / ".about"
    for text in (data, seal(archive.layout.name_of(path), data)):
        path.write_bytes(text)
        assert [ref.name for ref in archive.refs.list(REPO)] == ["main"]
        assert not archive.refs.about(REPO).is_open
        with pytest.raises(OutlastError):
            archive.refs.stored_about(REPO)
    path.write_bytes(data)
    with older(archive) as opened:
        assert not opened.refs.about(REPO).is_open
        opened.refs.stored_about(REPO)


def read_marker(archive: Archive, data: bytes) -> None:
    """It can be read all the same, and not be written to."""
    archive.layout.marker.unlink()
    archive.layout.marker.write_bytes(data)
    with Archive(archive.layout.home) as opened:
        assert opened.summaries() == []
    with pytest.raises(OutlastError):
        Archive(archive.layout.home, create=True)
    with pytest.raises(OutlastError):
        archive.writer()
    assert archive.layout.marker.read_bytes() == data
    shutil.rmtree(archive.layout.second)
    with Archive(archive.layout.home) as opened:
        opened.writer()


READERS: dict[str, Callable[[Archive, bytes], None]] = {
    "manifest": read_manifest,
    "draft": read_draft,
    "ref": read_ref,
    "about": read_about,
    "marker": read_marker,
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused(tmp_path: Path, case: str) -> None:
    kind, _, _ = case.partition("/")
    data = (CORPUS / case).read_bytes()
    with Archive(tmp_path / "home", create=True) as archive:
        with archive.writer() as writer:
            (digest,) = put(archive, writer, b"of another")
        with pytest.raises(OutlastError) as caught:
            READERS[kind](archive, data)
        assert archive.has(digest, 10), "nothing is deleted while it is not known what is used"
    check_error(caught.value)


def test_every_kind_has_cases() -> None:
    assert {case.partition("/")[0] for case in CASES} == set(READERS)
    assert len(CASES) > 100
