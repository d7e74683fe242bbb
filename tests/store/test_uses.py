"""A blob is told of by the names of the files that it is."""

from pathlib import Path

import pytest

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import DamagedError
from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.uses import file_name, naming, places_of
from tests.store.build import put, revision_of

ONE, OTHER = RepoId.parse("org/one"), RepoId.parse("org/other")


def test_a_blob_has_the_names_of_its_files(tmp_path: Path) -> None:
    data = b"weights"
    with Archive(tmp_path, create=True) as archive, archive.writer() as writer:
        blob = Digest.of(data)
        assert file_name(archive, blob) == f"blob {blob.short}…"
        put(archive, writer, data)
        for number, repo in enumerate((ONE, OTHER)):
            revision = revision_of({"a/w.bin": data}, repo=repo, commit=GitOid(f"{number}" * 40))
            archive.put_revision(writer, revision)
            more = " (and 1 more)" if number else ""
            assert file_name(archive, blob) == f"org/one: a/w.bin{more}"
        places = places_of(archive, blob)
        assert [str(place) for place in places] == ["org/one: a/w.bin", "org/other: a/w.bin"]
        with (
            pytest.raises(DamagedError, match=r"org/one: a/w\.bin: blob is gone"),
            naming(ONE, places[0].entry),
        ):
            raise DamagedError("blob is gone")
