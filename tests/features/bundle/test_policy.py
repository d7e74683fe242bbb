"""What may leave, what a bundle may change, and what stays as it was."""

from pathlib import Path

import pytest

from outlast.core.digest import GitOid
from outlast.core.errors import PolicyError, TakenDownError
from outlast.core.names import RepoId
from outlast.features.bundle.planning import ExportWishes
from outlast.store.archive import Archive
from outlast.store.records.facts import About, Notice
from outlast.store.records.refs import Ref
from tests.features.bundle.world import export_to, import_from, make_private, put

BASE = RepoId.parse("org/base")


def test_private_models_leave_with_leave_alone_and_stay_private(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    make_private(archive, "org/base")
    with pytest.raises(PolicyError, match="private"):
        export_to(archive, tmp_path / "usb", "org/base")
    assert not (tmp_path / "usb").exists()
    export_to(archive, tmp_path / "usb", "org/base", wishes=ExportWishes(restricted=True))
    (result,) = import_from(other, tmp_path / "usb")
    assert result.is_whole
    assert other.refs.about(BASE).private


def test_what_is_private_there_stays_so(archive: Archive, other: Archive, tmp_path: Path) -> None:
    make_private(other, "org/base")
    export_to(archive, tmp_path / "usb", "org/base")
    import_from(other, tmp_path / "usb")
    assert other.refs.about(BASE).private


def test_a_withdrawn_model_does_not_leave(archive: Archive, tmp_path: Path) -> None:
    with archive.writer() as writer:
        about = About().with_notice(Notice("2026-11-01T00:00:00+00:00", "no", stopped=True))
        archive.refs.put_about(writer, BASE, about)
    with pytest.raises(TakenDownError):
        export_to(archive, tmp_path / "usb", "org/base", wishes=ExportWishes(restricted=True))


def test_notes_of_the_operator_do_not_travel(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    with archive.writer() as writer:
        about = About(tags=("license:mit",), facts={"pipeline_tag": "x"})
        about = about.with_withdrawn("https://hub", "", "2026-11-01T00:00:00+00:00", "gone")
        archive.refs.put_about(writer, BASE, about)
    export_to(archive, tmp_path / "usb", "org/base")
    import_from(other, tmp_path / "usb")
    arrived = other.refs.about(BASE)
    assert (arrived.tags, arrived.facts) == (("license:mit",), {"pipeline_tag": "x"})


def test_a_ref_never_goes_back(archive: Archive, other: Archive, tmp_path: Path) -> None:
    export_to(archive, tmp_path / "old", "org/base")
    newer = put(
        archive,
        tmp_path / "folders",
        {"config.json": b"{1}"},
        "org/base",
        observed="2026-11-02T00:00:00+00:00",
    )
    export_to(archive, tmp_path / "new", "org/base")
    import_from(other, tmp_path / "new")
    (result,) = import_from(other, tmp_path / "old")
    assert result.is_whole, "its files are welcome"
    assert [one.what for one in result.kept] == ["org/base@main"]
    assert "older" in result.kept[0].reason
    ref = other.refs.get(BASE, "main")
    assert ref is not None
    assert ref.commit == newer
    (forward,) = import_from(archive, tmp_path / "new")
    assert (forward.moved, forward.kept) == ([], [])


def test_a_ref_of_which_it_is_not_known_when_it_was_seen_stays(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    put(other, tmp_path / "own", {"config.json": b"{2}"}, "org/base")
    with other.writer() as writer:
        own = other.refs.get(BASE, "main")
        assert own is not None
        other.refs.put(writer, BASE, Ref("main", own.commit))
    export_to(archive, tmp_path / "usb", "org/base")
    (result,) = import_from(other, tmp_path / "usb")
    assert [one.what for one in result.kept] == ["org/base@main"]
    after = other.refs.get(BASE, "main")
    assert after is not None
    assert after.commit == own.commit


def test_another_list_of_files_of_a_known_commit_is_refused(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    revision = archive.revision(BASE)
    (entry,) = (e for e in revision.files if e.path == "config.json")
    put(other, tmp_path / "own", {"config.json": b"[]"}, "org/base")
    theirs = other.revision(BASE).find("config.json")
    assert theirs is not None
    with other.writer() as writer:
        forged = type(revision).of(BASE, revision.id, [theirs])
        other.put_revision(writer, forged)
    export_to(archive, tmp_path / "usb", "org/base")
    (result,) = import_from(other, tmp_path / "usb")
    assert not result.is_whole
    assert "this commit" in result.refused[0].reason
    kept = other.load(BASE, revision.id)
    assert kept is not None
    assert kept.find("config.json") == theirs != entry
    assert GitOid(revision.id.hex) in other.commits(BASE)


def test_a_digest_in_a_manifest_opens_no_private_file(
    archive: Archive, other: Archive, tmp_path: Path
) -> None:
    """A bundle whose public model names, and does not have, what is here for a private one."""
    secret = {"secret.bin": b"only for us"}
    put(other, tmp_path / "own", secret, "my/secret")
    make_private(other, "my/secret")
    put(archive, tmp_path / "folders", secret, "evil/public")
    export_to(archive, tmp_path / "first", "evil/public")
    from outlast.features.bundle.since import read_since  # noqa: PLC0415 - here alone

    known = read_since(tmp_path / "first")
    wishes = ExportWishes(known=type(known)(known.blobs, frozenset(), known.since))
    export_to(archive, tmp_path / "usb", "evil/public", wishes=wishes)
    (result,) = import_from(other, tmp_path / "usb")
    assert [one.what for one in result.refused] == ["evil/public: secret.bin"]
    (blob,) = (entry.sha256 for entry in other.revision(RepoId.parse("my/secret")).files)
    assert blob is not None
    assert not other.is_free_for(RepoId.parse("some/other"), blob)
