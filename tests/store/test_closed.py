"""No bit that flips in a small file makes anything more public, more complete, or different in
silence; and mending makes nothing so either.
"""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import DamagedRecordError, OutlastError, StorageError
from outlast.core.names import RepoId
from outlast.ops.mend import mend
from outlast.store.archive import Archive
from outlast.store.copies import Copies, all_copies
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from outlast.store.records.survey import survey
from outlast.store.writer import WriteSession
from tests.campaign import SEED, rounds
from tests.store.build import COMMIT, OTHER, entry_of, put, revision_of
from tests.store.fault import Crash, FaultyOs, When, die, seeing

OPEN, GATED, PRIVATE = (RepoId.parse(f"org/{name}") for name in ("open", "gated", "private"))
REPOS = (OPEN, GATED, PRIVATE)
FILES = {"config.json": b"{}", "a/b.txt": b"text"}
LISTED = {f"file{n}": b"content %d" % n for n in range(6)}
SHARE = "ab" * 20
TORRENT = b"d4:infod4:name1:xee"


@dataclass(frozen=True)
class Said:
    """What an archive says by its small files: None stands for what it does not say."""

    open_to_all: frozenset[RepoId]
    refs: dict[tuple[RepoId, str], Ref | None]
    here: frozenset[str] | None
    missing: frozenset[str]
    whole: bool
    share: bytes | None


def build(home: Path) -> None:
    with Archive(home, create=True) as archive, archive.writer() as writer:
        put(archive, writer, *FILES.values(), *LISTED.values())
        for repo, about in zip(
            REPOS,
            (About(), About(gated="auto", tags=("a",)), About(private=True, facts={"a": "b"})),
            strict=True,
        ):
            archive.refs.put_about(writer, repo, about)
            archive.put_revision(writer, revision_of(FILES, repo=repo))
            archive.refs.put(writer, repo, Ref("main", COMMIT, "hub", "2026-01-01", "", OTHER))
        archive.refs.put(writer, GATED, Ref("refs/pr/1", OTHER))
        held = {"file0": LISTED["file0"]}
        others = {path: data for path, data in LISTED.items() if path != "file0"}
        archive.drafts.start(writer, revision_of(held, others, repo=PRIVATE, commit=OTHER))
        for path in ("file1", "file2"):
            archive.drafts.add(PRIVATE, OTHER, [entry_of(path, LISTED[path])])
        archive.shares.put(writer, SHARE, TORRENT)


def says(home: Path) -> Said:
    with Archive(home) as archive:
        refs: dict[tuple[RepoId, str], Ref | None] = {}
        for repo in REPOS:
            found = archive.refs.read(repo)
            refs |= {(repo, ref.name): ref for ref in found.refs}
            refs |= dict.fromkeys((repo, name) for name in found.damaged)
        try:
            draft = archive.load(PRIVATE, OTHER)
        except DamagedRecordError:
            draft = None
        try:
            share = archive.shares.get(SHARE)
        except DamagedRecordError:
            share = None
        return Said(
            frozenset(repo for repo in REPOS if archive.refs.about(repo).is_open),
            refs,
            None if draft is None else frozenset(e.path for e in draft.files),
            frozenset() if draft is None else frozenset(e.path for e in draft.missing),
            draft is not None and not draft.unlisted,
            share,
        )


def check_no_more(now: Said, before: Said) -> None:
    """That `now` says nothing that was not so `before`."""
    assert now.open_to_all <= before.open_to_all
    for key, ref in now.refs.items():
        assert ref is None or ref == before.refs[key]
    assert now.share in (None, before.share)
    if now.here is None:
        return
    assert before.here is not None
    assert now.here <= before.here
    if now.whole:
        assert now.here | now.missing == before.here | before.missing


def small_files(home: Path) -> list[Path]:
    roots = ("refs", "second", "drafts", "shared")
    found = [path for root in roots for path in (home / root).rglob("*") if path.is_file()]
    return [home / "outlast.json", *sorted(found)]


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.chmod(0o644)
    path.write_bytes(data)


def check_flip(home: Path, path: Path, bit: int) -> None:
    before = says(home)
    kept = path.read_bytes()
    flip(path, bit)
    check_no_more(says(home), before)
    with Archive(home) as archive:
        damaged = survey(archive).damaged
    name = path.relative_to(home).as_posix()
    assert [damage.name for damage in damaged] == [name.removeprefix("second/")]
    mended = list(mend(home))
    assert [each.name for each in mended] == [name.removeprefix("second/")]
    after = says(home)
    check_no_more(after, before)
    if not name.startswith(("drafts", "shared")):
        assert after == before, "it had a second copy"
        assert path.read_bytes() == kept
    with Archive(home) as archive:
        assert survey(archive).damaged == ()


@pytest.mark.torture
def test_any_bit_of_any_small_file(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    build(tmp_path / "home")
    for number in range(rounds(120, 10_000)):
        home = tmp_path / f"{number}"
        shutil.copytree(tmp_path / "home", home)
        path = chance.choice(small_files(home))
        bit = chance.randrange(path.stat().st_size * 8)
        try:
            check_flip(home, path, bit)
        except AssertionError as error:
            raise AssertionError(f"{path.relative_to(home)}, bit {bit}: {error}") from error
        shutil.rmtree(home)


@pytest.mark.parametrize("repo", REPOS, ids=str)
def test_every_bit_of_what_is_known_of_a_model(tmp_path: Path, repo: RepoId) -> None:
    """Of an `.about` all bits, without mending: none of them opens anything, or is not seen."""
    home = tmp_path / "home"
    build(home)
    with Archive(home) as archive:
        path = archive.refs.about_path(repo)
        for bit in range(path.stat().st_size * 8):
            flip(path, bit)
            assert not archive.refs.about(repo).is_open
            with pytest.raises(DamagedRecordError):
                archive.refs.stored_about(repo)
            flip(path, bit)
        assert archive.refs.about(repo).is_open == (repo == OPEN)


def test_every_bit_of_a_draft(tmp_path: Path) -> None:
    home = tmp_path / "home"
    build(home)
    before = says(home)
    with Archive(home) as archive:
        path = archive.layout.draft(PRIVATE, OTHER)
        for bit in range(0, path.stat().st_size * 8, rounds(7, 3)):
            flip(path, bit)
            state = archive.drafts.state(PRIVATE, OTHER)
            assert state is not None
            if state.revision is None:
                assert state.error is not None
            else:
                assert state.bad_lines
                here = {entry.path for entry in state.revision.files}
                missing = {entry.path for entry in state.revision.missing}
                assert before.here is not None
                assert here < before.here
                assert here | missing == set(LISTED)
            flip(path, bit)


def test_a_torn_line_is_no_damage(tmp_path: Path) -> None:
    """Wherever a crash cut it: its file was not acknowledged."""
    home = tmp_path / "home"
    build(home)
    with Archive(home) as archive:
        path = archive.layout.draft(PRIVATE, OTHER)
        whole = path.read_bytes()
        start = whole.rindex(b"\n{") + 1
        for cut in range(start, len(whole) - 1):
            path.write_bytes(whole[:cut])
            state = archive.drafts.state(PRIVATE, OTHER)
            assert state is not None
            assert state.revision is not None
            assert not state.bad_lines
            assert "file2" not in {entry.path for entry in state.revision.files}


@pytest.mark.parametrize("gone", ["one", "both"])
def test_what_is_gone_opens_nothing(tmp_path: Path, gone: str) -> None:
    home = tmp_path / "home"
    build(home)
    with Archive(home) as archive:
        for repo in REPOS:
            path = archive.refs.about_path(repo)
            path.unlink()
            if gone == "both":
                archive.layout.second_of(path).unlink()
            assert not archive.refs.about(repo).is_open
        with archive.writer() as writer:  # nor does another revision of the model
            archive.put_revision(writer, revision_of({"c": b"{}"}, repo=OPEN, commit=None))
        assert not archive.refs.about(OPEN).is_open
        assert len(survey(archive).damaged) == 3
    list(mend(home))
    assert says(home).open_to_all == ({OPEN} if gone == "one" else set())


def test_a_file_under_the_name_of_another_is_not_believed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    build(home)
    with Archive(home) as archive:
        refs, layout = archive.refs, archive.layout
        shutil.copy(refs.about_path(OPEN), refs.about_path(PRIVATE))
        assert not refs.about(PRIVATE).is_open
        shutil.copy(layout.repo_refs(OPEN) / "main", layout.repo_refs(OPEN) / "v2")
        assert list(refs.read(OPEN).damaged) == ["v2"]
        third = GitOid("3" * 40)
        shutil.copy(layout.draft(PRIVATE, OTHER), layout.draft(PRIVATE, third))
        with pytest.raises(DamagedRecordError):
            archive.load(PRIVATE, third)


def test_a_file_without_a_check_is_not_believed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    build(home)
    with Archive(home) as archive:
        archive.refs.about_path(PRIVATE).write_bytes(About().encode())
        (archive.layout.repo_refs(OPEN) / "v3").write_bytes(Ref("v3", COMMIT).encode())
        assert not archive.refs.about(PRIVATE).is_open
        assert list(archive.refs.read(OPEN).damaged) == ["v3"]
    marker = home / "outlast.json"
    marker.chmod(0o644)
    marker.write_text('{"outlast-archive": 2}\n')  # nor does the marker of an older format help
    assert says(home).open_to_all == {OPEN}


@pytest.mark.parametrize("lost", ["first", "second"])
def test_the_marker_has_two_copies(tmp_path: Path, lost: str) -> None:
    home = tmp_path / "home"
    build(home)
    before = says(home)
    path = home / ("outlast.json" if lost == "first" else "second/outlast.json")
    path.unlink()
    assert says(home) == before
    if lost == "first":
        with Archive(home) as archive, pytest.raises(DamagedRecordError) as caught:
            archive.writer()
        assert "--mend" in caught.value.hint
    assert [each.name for each in mend(home)] == ["outlast.json"]
    with Archive(home) as archive:
        archive.writer().close()
        assert survey(archive).damaged == ()


@pytest.mark.parametrize("bit", range(len(b'{"outlast-archive": 2}') * 8))
def test_a_flip_in_an_old_marker(tmp_path: Path, bit: int) -> None:
    home = tmp_path / "home"
    shutil.copytree(Path(__file__).parents[1] / "golden" / "archives" / "v2", home)
    flip(home / "outlast.json", bit)
    try:
        with Archive(home) as archive:
            assert {str(summary.repo) for summary in archive.summaries()}
            assert not archive.refs.about(RepoId.parse("datasets/org/closed")).is_open
    except StorageError:
        pytest.fail("it cannot be read any more")
    list(mend(home))
    with Archive(home) as archive:
        assert survey(archive).damaged == ()
        assert archive.refs.get(RepoId.parse("org/open"), "main") is not None


def test_mending_takes_what_opens_less(tmp_path: Path) -> None:
    """A second copy that is older than the first, as a person's own backup may be."""
    home = tmp_path / "home"
    build(home)
    with Archive(home) as archive:
        path = archive.refs.about_path(OPEN)
        old = archive.layout.second_of(path).read_bytes()
        with archive.writer() as writer:
            archive.refs.put_about(writer, OPEN, About(private=True))
        archive.layout.second_of(path).write_bytes(old)
        flip(path, path.stat().st_size * 8 - 12)  # in the check
    list(mend(home))
    assert OPEN not in says(home).open_to_all


def test_a_damaged_draft_is_begun_again_with_what_it_still_knows(tmp_path: Path) -> None:
    home = tmp_path / "home"
    build(home)
    with Archive(home) as archive:
        path = archive.layout.draft(PRIVATE, OTHER)
        lines = path.read_bytes().split(b"\n")
        lines[4] = lines[4].replace(b'"size": 9', b'"size": 8')
        path.write_bytes(b"\n".join(lines))
        with pytest.raises(DamagedRecordError):
            archive.load(PRIVATE, OTHER)
        with archive.writer() as writer:
            archive.drafts.start(writer, revision_of({}, LISTED, repo=PRIVATE, commit=OTHER))
        draft = archive.load(PRIVATE, OTHER)
        assert draft is not None
        assert not draft.unlisted
        assert {entry.path for entry in draft.files} == {"file0", "file1", "file2"}
        assert {entry.path for entry in draft.missing} == {"file3", "file4", "file5"}
        (aside,) = (home / "quarantine" / "records").iterdir()
        assert aside.read_bytes() == b"\n".join(lines)


def test_what_cannot_be_restored_is_set_aside_and_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    build(home)
    garbage = b"\xff\xfe"
    for name in ("main", ".about"):
        for root in ("refs", "second/refs"):
            (home / root / "models" / "org" / "open" / name).write_bytes(garbage)
    (home / "shared" / f"{SHARE}.torrent").write_bytes(garbage)
    (home / "drafts/models/org/private" / f"{OTHER}.jsonl").write_bytes(garbage)
    mended = {each.name: each for each in mend(home)}
    assert len(mended) == 4
    assert all(each.lost and each.outcome.value == "set-aside" for each in mended.values())
    assert COMMIT.hex[:12] in mended["refs/models/org/open/main"].lost
    aside = [path.read_bytes() for path in (home / "quarantine" / "records").iterdir()]
    assert aside == [garbage] * 6
    with Archive(home) as archive:
        assert survey(archive).damaged == ()
        assert archive.refs.about(OPEN) == About(private=True)
        assert archive.refs.list(OPEN) == []
        assert archive.commits(OPEN) == [COMMIT]
        assert archive.shares.stamps() == {}
        with pytest.raises(OutlastError):
            archive.revision(PRIVATE, OTHER.hex)


def test_a_noted_link_keeps_its_copy_whatever_flips(tmp_path: Path) -> None:
    digest = Digest.of(b"copy")
    with Archive(tmp_path / "home", create=True) as archive, archive.writer() as writer:
        path, link = archive.layout.copy(digest), tmp_path / "link"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"copy")
        link.symlink_to(path)
        Copies(archive.layout, writer, 0).note_link(digest, link)
        notes = path.with_name(f"{digest}.links")
        for bit in range(notes.stat().st_size * 8):
            flip(notes, bit)
            (copy,) = all_copies(archive.layout)
            assert copy.is_linked
            flip(notes, bit)
        link.unlink()
        assert not copy.is_linked
        notes.write_bytes(os.fsencode(link) + b"\0")  # of an older version
        assert not copy.is_linked
        link.symlink_to(path)
        assert copy.is_linked


def put_new(archive: Archive, writer: WriteSession) -> None:
    archive.refs.put(writer, OPEN, Ref("new", OTHER))


def put_again(archive: Archive, writer: WriteSession) -> None:
    archive.refs.put(writer, OPEN, Ref("main", OTHER))


def close(archive: Archive, writer: WriteSession) -> None:
    archive.refs.put_about(writer, OPEN, About(private=True))


def delete(archive: Archive, _: WriteSession) -> None:
    archive.refs.delete(OPEN, "main")


def introduce(archive: Archive, writer: WriteSession) -> None:
    archive.refs.introduce(writer, RepoId.parse("org/unheard-of"))


@pytest.mark.parametrize("when", When, ids=lambda when: when.value)
@pytest.mark.parametrize("act", [put_new, put_again, close, delete, introduce])
def test_a_crash_between_the_copies_is_no_damage(
    tmp_path: Path, act: Callable[[Archive, WriteSession], None], when: When
) -> None:
    build(tmp_path / "home")
    before = says(tmp_path / "home")
    for fuse in range(100):
        home = tmp_path / str(fuse)
        shutil.copytree(tmp_path / "home", home)
        faulty = FaultyOs(fuse, when)
        with Archive(home) as archive:
            writer = archive.writer()
            try:
                with seeing(faulty):
                    act(archive, writer)
            except Crash:
                die(writer, seen=faulty)
            else:
                writer.close()
                break
        with Archive(home) as archive:
            assert survey(archive).damaged == ()
        assert says(home).open_to_all <= before.open_to_all
        list(mend(home))
        for path in (home / "refs").rglob("*"):
            if path.is_file():
                assert (home / "second" / path.relative_to(home)).read_bytes() == path.read_bytes()
    assert fuse > 3 or act is delete
