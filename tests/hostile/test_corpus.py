"""Every file of the corpus is refused with one line and a hint, and takes nothing along.

A file that once broke something goes into the folder of its kind; nothing else is to be done.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import OutlastError
from outlast.core.manifest import Revision
from outlast.store.archive import Archive
from outlast.store.collect import collect
from outlast.store.refs import Ref
from tests.store.build import REPO, check_error, put

CORPUS = Path(__file__).parent / "corpus"
COMMIT = GitOid("cd" * 20)
CASES = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*"))


def read_manifest(archive: Archive, data: bytes) -> None:
    """As one that an archive from elsewhere holds: under its own name."""
    archive.layout.manifest(Digest.of(data)).write_bytes(data)
    assert archive.summaries() == []
    with pytest.raises(OutlastError):
        list(collect(archive, dry_run=False))
    Revision.from_bytes(data)


def read_draft(archive: Archive, data: bytes) -> None:
    place = archive.layout.draft(REPO, COMMIT)
    place.parent.mkdir(parents=True)
    place.write_bytes(data)
    with pytest.raises(OutlastError):
        list(collect(archive, dry_run=False))
    with pytest.raises(OutlastError):
        archive.load(REPO, COMMIT)
    archive.drafts.load(REPO, COMMIT)


def read_ref(archive: Archive, data: bytes) -> None:
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
    (archive.layout.repo_refs(REPO) / "main").write_bytes(data)
    assert list(archive.refs.repos()) == [REPO]
    with pytest.raises(OutlastError):
        archive.refs.list(REPO)
    archive.refs.get(REPO, "main")


def read_about(archive: Archive, data: bytes) -> None:
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("main", COMMIT))
    (archive.layout.repo_refs(REPO) / ".about").write_bytes(data)
    assert [ref.name for ref in archive.refs.list(REPO)] == ["main"]
    archive.refs.about(REPO)


def read_marker(archive: Archive, data: bytes) -> None:
    archive.layout.marker.unlink()
    archive.layout.marker.write_bytes(data)
    with pytest.raises(OutlastError):
        Archive(archive.layout.home, create=True)
    assert archive.layout.marker.read_bytes() == data
    Archive(archive.layout.home).close()


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
