"""Sharing: who is offered what, and how soon a change of the archive is seen."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import CorruptError, ExhaustedError, RevokedError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.core.offer import Offer
from outlast.core.policy import Action, Subject, Verdict
from outlast.node.policy import SharePolicy, Sharing
from outlast.node.tuning import TUNING
from outlast.store import disk
from outlast.store.archive import Archive
from outlast.store.index import Index
from outlast.store.records.drafts import Drafts
from outlast.store.records.facts import About
from outlast.store.records.refs import CACHE, Ref
from outlast.store.words.revocations import Revoked
from outlast.store.writer import WriteSession
from tests.store import weights
from tests.store.build import COMMIT, OTHER, REPO, archive_revision, put, revision_of
from tests.store.weights import model, tuned

FILES = {"config.json": b"{}", "model.bin": b"weights" * 1000}
SECRET = RepoId.parse("org/secret")
DATA = RepoId.parse("datasets/org/data")
ALONE = RepoId.parse("gpt2")
BASE = model(1)
FINE = tuned(BASE, 2)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True) as archive:
        yield archive


@pytest.fixture
def writer(archive: Archive) -> Iterator[WriteSession]:
    with archive.writer() as writer:
        yield writer


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sharing(archive: Archive, clock: Clock | None = None, **policy: Any) -> Sharing:
    return Sharing(archive, SharePolicy(**policy), clock=clock or Clock())


def archived(
    archive: Archive,
    writer: WriteSession,
    repo: RepoId,
    files: dict[str, bytes],
    *,
    about: About | None = None,
    commit: GitOid = COMMIT,
    ref: str = "main",
) -> Revision:
    put(archive, writer, *files.values())
    revision = revision_of(files, repo=repo, commit=commit)
    archive.put_revision(writer, revision)
    archive.refs.put(writer, repo, Ref(ref, commit))
    if about is not None:
        archive.refs.put_about(writer, repo, about)
    return revision


def names(offers: list[Offer]) -> list[str]:
    return [str(offer.repo) for offer in offers]


def of(*data: bytes) -> set[Digest]:
    return set(map(Digest.of, data))


def test_an_empty_archive_shares_nothing(archive: Archive) -> None:
    found = sharing(archive)
    assert found.offers(trusted=True) == []
    assert dict(found.blobs()) == {}
    assert found.manifest(Digest.of(b"x"), trusted=True) is None
    assert not found.allows(Digest.of(b"x"), trusted=True)


def test_what_is_revoked_is_for_no_peer(
    archive: Archive, writer: WriteSession, clock: Clock
) -> None:
    revision = archived(archive, writer, REPO, FILES)
    fewer = revision_of({"config.json": b"{}"}, repo=ALONE, commit=OTHER)
    archive.put_revision(writer, fewer)
    found = sharing(archive, clock)
    assert names(found.offers(trusted=True)) == ["gpt2", "org/name"]
    said = Revoked(revision.digest, REPO, COMMIT, "a backdoor", "", "")
    assert archive.revocations.note(writer, said)
    clock.now += 60
    for trusted in (False, True):
        assert names(found.offers(trusted=trusted)) == ["gpt2"]
        assert found.manifest(revision.digest, trusted=trusted) is None
        assert not found.allows(Digest.of(FILES["model.bin"]), trusted=trusted)
        assert found.allows(Digest.of(b"{}"), trusted=trusted)  # another model has it too
    archive.revocations.accept(writer, revision.digest, "2026-11-30T12:00:00+00:00")
    clock.now += 60
    assert names(found.offers(trusted=True)) == ["gpt2", "org/name"]


@pytest.mark.parametrize("both", [False, True])
def test_a_revocation_whose_record_is_damaged_still_counts(
    archive: Archive, writer: WriteSession, *, both: bool
) -> None:
    revision = archived(archive, writer, REPO, FILES)
    archive.revocations.note(writer, Revoked(revision.digest, REPO, COMMIT, "a backdoor", "", ""))
    path = archive.layout.revoked / revision.digest.hex
    for copy in (path, archive.layout.second_of(path)) if both else (path,):
        copy.write_bytes(b"?")
    disk.touch(archive.layout.revoked)
    found = sharing(archive)
    assert found.offers(trusted=True) == []
    with pytest.raises(RevokedError, match="does not say why" if both else "a backdoor"):
        archive.revocations.refuse(revision)


def test_an_open_revision_is_for_everybody(archive: Archive, writer: WriteSession) -> None:
    revision = archived(archive, writer, REPO, FILES)
    archive.refs.put(writer, REPO, Ref("v1", COMMIT))
    archive.refs.put(writer, REPO, Ref("other", OTHER))
    found = sharing(archive)
    for trusted in (False, True):
        assert found.offers(trusted=trusted) == [
            Offer(
                *(REPO, COMMIT, revision.digest, ("main", "v1")),
                files=2,
                size=revision.size,
                partial=False,
                restricted=False,
            )
        ]
        assert found.manifest(revision.digest, trusted=trusted) == revision.to_bytes()
        assert all(found.allows(blob, trusted=trusted) for blob in of(*FILES.values()))
    assert found.blobs() == dict.fromkeys(of(*FILES.values()), False)


def test_what_a_cache_had_is_for_the_trusted_until_a_hub_says_more(
    archive: Archive, writer: WriteSession, clock: Clock
) -> None:
    """A cache of other programs does not tell whether a model is private or gated."""
    revision = archived(archive, writer, SECRET, {"a": b"secret"})
    archive.refs.put(writer, SECRET, Ref("main", COMMIT, CACHE))
    found, open_to_all = sharing(archive, clock), sharing(archive, restricted=True)
    assert found.offers(trusted=False) == []
    assert found.manifest(revision.digest, trusted=False) is None
    assert not found.allows(Digest.of(b"secret"), trusted=False)
    assert [o.restricted for o in found.offers(trusted=True)] == [True]
    assert names(open_to_all.offers(trusted=False)) == [str(SECRET)]
    assert archive.refs.is_unsaid(SECRET)
    assert not archive.refs.may_tell(SECRET)
    archive.refs.put(writer, SECRET, Ref("v1", COMMIT, "https://hub.example"))
    clock.now += 60
    assert names(found.offers(trusted=False)) == [str(SECRET)]
    assert archive.refs.may_tell(SECRET)


@pytest.mark.parametrize(
    "about", [About(private=True), About(gated="manual"), About(gated="auto"), About(gated=True)]
)
def test_what_is_private_or_gated_is_for_the_trusted(
    archive: Archive, writer: WriteSession, about: About
) -> None:
    revision = archived(archive, writer, SECRET, {"a": b"secret"}, about=about)
    found = sharing(archive)
    blob = Digest.of(b"secret")
    assert found.offers(trusted=False) == []
    assert found.manifest(revision.digest, trusted=False) is None
    assert not found.allows(blob, trusted=False)
    assert [o.restricted for o in found.offers(trusted=True)] == [True]
    assert found.manifest(revision.digest, trusted=True) == revision.to_bytes()
    assert found.allows(blob, trusted=True)
    assert found.blobs() == {blob: True}

    told = sharing(archive, restricted=True)
    assert [o.restricted for o in told.offers(trusted=False)] == [False]
    assert told.allows(blob, trusted=False)
    assert told.blobs() == {blob: False}


def test_a_blob_that_an_open_revision_has_too_is_open(
    archive: Archive, writer: WriteSession
) -> None:
    archived(archive, writer, SECRET, {"a": b"shared", "b": b"secret"}, about=About(private=True))
    archived(archive, writer, REPO, {"a": b"shared"})
    assert sharing(archive).blobs() == {Digest.of(b"shared"): False, Digest.of(b"secret"): True}
    # What is not offered opens nothing.
    assert sharing(archive, exclude=("org/name",)).blobs() == {
        Digest.of(b"shared"): True,
        Digest.of(b"secret"): True,
    }


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, ["datasets/org/data", "gpt2", "org/name"]),
        ({"include": ()}, []),
        ({"include": ("org/*",)}, ["org/name"]),
        ({"include": ("gpt2", "datasets/*")}, ["datasets/org/data", "gpt2"]),
        ({"include": ("ORG/*",)}, []),
        ({"exclude": ("*/*",)}, ["gpt2"]),
        ({"include": ("org/*",), "exclude": ("org/name",)}, []),
        ({"largest": 3}, ["gpt2"]),
        ({"largest": 4}, ["datasets/org/data", "gpt2"]),
    ],
)
def test_the_policy_decides(
    archive: Archive, writer: WriteSession, policy: dict[str, Any], expected: list[str]
) -> None:
    for repo, data in ((REPO, b"12345"), (DATA, b"1234"), (ALONE, b"123")):
        archived(archive, writer, repo, {"a": data})
    found = sharing(archive, **policy)
    assert sorted(names(found.offers(trusted=False))) == expected
    assert len(found.blobs()) == len(expected)


def test_offers_by_part_of_a_name(archive: Archive, writer: WriteSession) -> None:
    for repo in (REPO, DATA, ALONE, RepoId.parse("Org/Bert-Base")):
        archived(archive, writer, repo, {"a": b"a"})
    found = sharing(archive)
    assert names(found.offers("bert", trusted=False)) == ["Org/Bert-Base"]
    assert names(found.offers("BERT-B", trusted=False)) == ["Org/Bert-Base"]
    assert sorted(names(found.offers("org/", trusted=False))) == [
        *("Org/Bert-Base", "datasets/org/data", "org/name")
    ]
    assert found.offers("nothing\n", trusted=False) == []
    assert len(found.offers("", trusted=False)) == 4


def test_a_draft_offers_what_it_has_and_allows_what_comes(
    archive: Archive, writer: WriteSession
) -> None:
    put(archive, writer, b"one")
    archive.drafts.start(writer, revision_of({}, {"a": b"one", "b": b"three"}))
    found = sharing(archive)
    assert found.offers(trusted=False) == []  # nothing of it is here yet
    put(archive, writer, b"one")
    first = revision_of({"a": b"one"}, {"b": b"three"})
    archive.acknowledge(writer, REPO, COMMIT, first.files)
    (offer,) = found.offers(trusted=False)
    assert (offer.files, offer.size, offer.partial) == (1, 3, True)
    assert offer.manifest == first.digest
    assert found.manifest(first.digest, trusted=False) == first.to_bytes()
    assert found.blobs() == {Digest.of(b"one"): False}
    assert found.allows(Digest.of(b"three"), trusted=False)

    put(archive, writer, b"three")
    whole = revision_of({"a": b"one", "b": b"three"})
    archive.acknowledge(writer, REPO, COMMIT, whole.files)
    archive.put_revision(writer, whole)
    (offer,) = found.offers(trusted=False)
    assert (offer.manifest, offer.partial) == (whole.digest, False)
    assert found.blobs().keys() == of(b"one", b"three")


def test_who_heard_of_a_draft_can_have_its_manifest_though_files_came(
    archive: Archive, writer: WriteSession
) -> None:
    put(archive, writer, b"a", b"b")
    first = revision_of({"a": b"a"}, {"b": b"b", "c": b"c"})
    archive.drafts.start(writer, first)
    found = sharing(archive)
    (offer,) = found.offers(trusted=False)
    second = revision_of({"a": b"a", "b": b"b"}, {"c": b"c"})
    archive.acknowledge(writer, REPO, COMMIT, second.files)
    assert found.manifest(offer.manifest, trusted=False) == first.to_bytes()
    assert [o.manifest for o in found.offers(trusted=False)] == [second.digest]
    archive.refs.put_about(writer, REPO, About(private=True))
    assert found.manifest(offer.manifest, trusted=False) is None
    assert found.manifest(offer.manifest, trusted=True) == first.to_bytes()


def test_what_is_still_to_come_opens_nothing_that_is_here(
    archive: Archive, writer: WriteSession
) -> None:
    """Any client can list a file that others have."""
    archived(archive, writer, SECRET, {"a": b"secret"}, about=About(private=True))
    archive.drafts.start(writer, revision_of({}, {"a": b"secret", "b": b"b"}))
    found = sharing(archive)
    assert not found.allows(Digest.of(b"secret"), trusted=False)
    assert found.allows(Digest.of(b"b"), trusted=False)
    assert not sharing(archive, exclude=("*/secret",)).allows(Digest.of(b"secret"), trusted=True)


@pytest.mark.parametrize("policy", [{}, {"exclude": ("*/secret",)}])
def test_what_comes_for_a_private_model_is_not_opened_by_an_open_list(
    archive: Archive, writer: WriteSession, policy: dict[str, Any]
) -> None:
    """Both wait for the same file, which arrives piece by piece."""
    archive.drafts.start(writer, revision_of({}, {"a": b"secret", "b": b"b"}))
    archive.drafts.start(writer, revision_of({}, {"a": b"secret"}, repo=SECRET))
    archive.refs.put_about(writer, SECRET, About(gated="auto"))
    found = sharing(archive, **policy)
    assert not found.allows(Digest.of(b"secret"), trusted=False)
    assert found.allows(Digest.of(b"secret"), trusted=True) == (not policy)
    assert found.allows(Digest.of(b"b"), trusted=False)
    put(archive, writer, b"secret")
    archive.acknowledge(writer, REPO, COMMIT, revision_of({"a": b"secret"}).files)
    assert found.allows(Digest.of(b"secret"), trusted=False)  # its own source sent it, too


def test_the_size_of_a_draft_is_what_it_will_be(archive: Archive, writer: WriteSession) -> None:
    put(archive, writer, b"one")
    archive.drafts.start(writer, revision_of({"a": b"one"}, {"b": b"three"}))
    assert names(sharing(archive, largest=8).offers(trusted=False)) == [str(REPO)]
    assert sharing(archive, largest=7).offers(trusted=False) == []


def test_blobs_that_are_gone_are_not_shared(archive: Archive, writer: WriteSession) -> None:
    archived(archive, writer, REPO, {"a": b"a", "b": b"b"})
    disk.remove(archive.layout.blob(Digest.of(b"b")))
    assert sharing(archive).blobs().keys() == of(b"a")


class TestBases:
    def packed(self, archive: Archive, writer: WriteSession) -> None:
        base, fine = put(archive, writer, BASE, FINE)
        assert weights.pack(archive, writer, fine, base)
        assert weights.pack(archive, writer, base)

    def test_of_an_offered_model_are_shared_as_that_is(
        self, archive: Archive, writer: WriteSession
    ) -> None:
        self.packed(archive, writer)
        archived(archive, writer, REPO, {"w": FINE})
        archived(archive, writer, SECRET, {"w": BASE}, about=About(private=True))
        assert sharing(archive).blobs() == {Digest.of(FINE): False, Digest.of(BASE): True}
        archive.refs.put_about(writer, SECRET, About())
        assert sharing(archive).blobs() == {Digest.of(FINE): False, Digest.of(BASE): False}

    def test_of_an_excluded_model_are_not_shared(
        self, archive: Archive, writer: WriteSession
    ) -> None:
        self.packed(archive, writer)
        archived(archive, writer, REPO, {"w": FINE})
        archived(archive, writer, SECRET, {"w": BASE})
        assert sharing(archive, exclude=("org/secret",)).blobs() == {Digest.of(FINE): False}

    def test_that_no_model_has_are_for_the_trusted(
        self, archive: Archive, writer: WriteSession
    ) -> None:
        self.packed(archive, writer)
        archived(archive, writer, REPO, {"w": FINE})
        found = sharing(archive)
        assert found.blobs() == {Digest.of(FINE): False, Digest.of(BASE): True}
        assert not found.allows(Digest.of(BASE), trusted=False)
        assert found.allows(Digest.of(BASE), trusted=True)
        told = sharing(archive, restricted=True)
        assert told.blobs() == dict.fromkeys(of(FINE, BASE), False)

    @pytest.mark.parametrize("restricted", [False, True])
    def test_a_capsule_goes_to_whom_its_base_may_go(
        self, archive: Archive, writer: WriteSession, *, restricted: bool
    ) -> None:
        """With the fine-tune itself, which is open, it gives away the base."""
        self.packed(archive, writer)
        archived(archive, writer, REPO, {"w": FINE})
        archived(archive, writer, SECRET, {"w": BASE}, about=About(gated="auto"))
        form = archive.form_of(Digest.of(FINE))
        assert form.bases
        found = sharing(archive, restricted=restricted)
        assert found.allows(Digest.of(FINE), trusted=False)
        assert found.allows_capsule(form.bases, trusted=False) == restricted
        assert found.allows_capsule(form.bases, trusted=True)
        hidden = sharing(archive, exclude=("org/secret",), restricted=restricted)
        assert not hidden.allows_capsule(form.bases, trusted=True)
        archive.refs.put_about(writer, SECRET, About())
        assert found.allows_capsule(form.bases, trusted=False)

    def test_a_capsule_whose_base_no_model_has(
        self, archive: Archive, writer: WriteSession
    ) -> None:
        self.packed(archive, writer)
        archived(archive, writer, REPO, {"w": FINE})
        bases = archive.form_of(Digest.of(FINE)).bases
        found = sharing(archive)
        assert found.allows_capsule(bases, trusted=False)
        archive.refs.put_about(writer, SECRET, About(private=True))  # it may have been of this one
        assert not found.allows_capsule(bases, trusted=False)
        assert found.allows_capsule(bases, trusted=True)

    def test_a_chain_of_them(self, archive: Archive, writer: WriteSession) -> None:
        third = tuned(FINE, 3)
        base, fine, last = put(archive, writer, BASE, FINE, third)
        assert weights.pack(archive, writer, last, fine)
        assert weights.pack(archive, writer, fine, base)
        archived(archive, writer, REPO, {"w": third})
        assert sharing(archive).blobs() == {last: False, fine: True, base: True}


class TestChanges:
    """Each is seen at the next question."""

    def test_of_refs_and_what_a_hub_says(self, archive: Archive, writer: WriteSession) -> None:
        archived(archive, writer, REPO, FILES)
        found = sharing(archive)
        for n in range(20):  # also within one tick of the file system's clock
            archive.refs.put_about(writer, REPO, About(private=n % 2 == 0))
            assert len(found.offers(trusted=False)) == n % 2
            archive.refs.put(writer, REPO, Ref(f"v{n}", COMMIT))
            assert f"v{n}" in found.offers(trusted=True)[0].refs
        archive.refs.delete(REPO, "v3")
        assert "v3" not in found.offers(trusted=True)[0].refs

    def test_of_a_private_model_whose_last_ref_goes(
        self, archive: Archive, writer: WriteSession
    ) -> None:
        archived(archive, writer, REPO, FILES, about=About(private=True))
        found = sharing(archive)
        archive.refs.delete(REPO, "main")
        assert found.offers(trusted=False) == []
        assert len(found.offers(trusted=True)) == 1

    def test_of_revisions(self, archive: Archive, writer: WriteSession) -> None:
        found = sharing(archive)
        for n in range(20):
            commit = GitOid(f"{n:040x}")
            archived(archive, writer, REPO, FILES, commit=commit)
            assert [o.commit for o in found.offers(trusted=False)] == [commit]
            archive.delete_revision(REPO, commit)
            assert found.offers(trusted=False) == []
            assert not found.blobs()

    def test_by_another_process(self, archive: Archive) -> None:
        found = sharing(archive)
        assert not found.offers(trusted=False)
        with Archive(archive.layout.home) as other, other.writer() as theirs:
            archived(other, theirs, REPO, FILES)
            assert len(found.offers(trusted=False)) == 1
            other.refs.put_about(theirs, REPO, About(gated="auto"))
            assert not found.offers(trusted=False)

    def test_by_hand(self, archive: Archive, writer: WriteSession, clock: Clock) -> None:
        """A file that disappears, as when a blob is quarantined, is noticed before long."""
        archived(archive, writer, REPO, FILES)
        settle(archive)
        found = sharing(archive, clock=clock)
        assert len(found.blobs()) == 2
        archive.quarantine_blob(Digest.of(b"{}"))
        assert len(found.blobs()) == 2
        clock.now += TUNING.look_again
        assert found.blobs().keys() == of(FILES["model.bin"])

    def test_of_form(self, archive: Archive, writer: WriteSession, clock: Clock) -> None:
        archived(archive, writer, REPO, {"w": BASE})
        found = sharing(archive, clock=clock)
        seen = {found.version}
        for change in (weights.pack, weights.unpack):
            change(archive, writer, Digest.of(BASE))
            clock.now += TUNING.look_again
            assert found.version not in seen
            assert found.blobs() == {Digest.of(BASE): False}
            seen.add(found.version)

    def test_the_version_tells(self, archive: Archive, writer: WriteSession) -> None:
        found = sharing(archive)
        seen = {found.version}
        steps: list[Callable[[], object]] = [
            lambda: archived(archive, writer, REPO, FILES),
            lambda: archive.refs.put_about(writer, REPO, About(private=True)),
            lambda: archive.refs.put(writer, REPO, Ref("v1", COMMIT)),
            lambda: archive.drafts.start(
                writer, revision_of({"a": b"{}"}, {"b": b"b"}, repo=ALONE, commit=OTHER)
            ),
            lambda: archive.delete_revision(REPO, COMMIT),
        ]
        for step in steps:
            step()
            assert found.version not in seen
            assert found.version == found.version
            seen.add(found.version)
        archive.refs.put(writer, REPO, Ref("v1", COMMIT))  # the same again
        archive.refs.put_about(writer, REPO, About(private=True, tags=("x",)))
        assert found.version in seen


def settle(archive: Archive) -> None:
    """Makes all folders look as if they were changed long ago."""
    for folder, _, _ in os.walk(archive.layout.home):
        os.utime(folder, ns=(10**18, 10**18))


class TestReading:
    """What costs time is done once."""

    def test_nothing_is_looked_at_twice(
        self, archive: Archive, writer: WriteSession, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        archived(archive, writer, REPO, FILES)
        archive.drafts.start(writer, revision_of({"a": b"{}"}, {"b": b"b"}, repo=ALONE))
        settle(archive)
        found = sharing(archive)
        before = found.offers(trusted=True)

        def fail(*args: object) -> object:
            raise AssertionError(args)

        for name in ("scandir", "listdir", "open"):
            monkeypatch.setattr(os, name, fail)
        assert found.offers(trusted=True) == before
        assert len(found.blobs()) == 2

    def test_one_changed_model_is_read_again_alone(
        self, archive: Archive, writer: WriteSession, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for n in range(5):
            archived(archive, writer, RepoId.parse(f"org/m{n}"), FILES)
        settle(archive)
        found = sharing(archive)
        found.offers(trusted=True)
        asked: list[RepoId] = []
        about = archive.refs.about

        def counted(repo: RepoId) -> About:
            asked.append(repo)
            return about(repo)

        monkeypatch.setattr(archive.refs, "about", counted)
        archive.refs.put(writer, RepoId.parse("org/m3"), Ref("v1", COMMIT))
        found.offers(trusted=True)
        assert asked == [RepoId.parse("org/m3")]

    def test_a_draft_that_takes_long_is_read_seldom(
        self, archive: Archive, writer: WriteSession, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(archive, writer, b"a", b"b")
        archive.drafts.start(writer, revision_of({"a": b"a"}, {"b": b"b"}))
        settle(archive)
        load = archive.drafts.load

        def slow(repo: RepoId, commit: GitOid) -> Revision | None:
            clock.now += 1
            return load(repo, commit)

        monkeypatch.setattr(archive.drafts, "load", slow)
        found = sharing(archive, clock=clock)
        assert [o.files for o in found.offers(trusted=False)] == [1]
        archive.acknowledge(writer, REPO, COMMIT, revision_of({"b": b"b"}).files)
        assert [o.files for o in found.offers(trusted=False)] == [1]
        clock.now = 20.9
        assert [o.files for o in found.offers(trusted=False)] == [1]
        clock.now = 21.1
        assert [o.files for o in found.offers(trusted=False)] == [2]


class TestDamage:
    """Hides nothing else."""

    @pytest.fixture
    def found(self, archive: Archive, writer: WriteSession) -> Sharing:
        archived(archive, writer, REPO, FILES)
        archived(archive, writer, ALONE, {"a": b"alone"})
        return sharing(archive)

    def test_a_ref(self, archive: Archive, found: Sharing) -> None:
        (archive.layout.repo_refs(ALONE) / "main").write_bytes(b"\xff{")
        (archive.layout.repo_refs(ALONE) / "v1").mkdir()
        offers = {str(o.repo): o.refs for o in found.offers(trusted=False)}
        assert offers == {"gpt2": (), "org/name": ("main",)}

    @pytest.mark.parametrize(
        "data", [b"", b"{", b"[]", b'{"private": 1}', b'{"gated": null}', b"\0" * 5000]
    )
    def test_what_cannot_be_read_is_not_taken_for_open(
        self, archive: Archive, found: Sharing, data: bytes
    ) -> None:
        (archive.layout.repo_refs(ALONE) / ".about").write_bytes(data)
        assert names(found.offers(trusted=False)) == [str(REPO)]
        assert names(found.offers(trusted=True)) == ["gpt2", str(REPO)]

    def test_a_manifest(self, archive: Archive, found: Sharing) -> None:
        first, _ = (revision_of(FILES), found.offers(trusted=False))
        path = archive.layout.manifest(first.digest)
        path.chmod(0o644)
        path.write_bytes(first.to_bytes()[:-1] + b" ")
        assert found.manifest(first.digest, trusted=True) is None
        assert len(found.offers(trusted=False)) == 2
        again = sharing(archive)
        archive.index.rebuild()
        assert names(again.offers(trusted=False)) == ["gpt2"]

    def test_a_draft(self, archive: Archive, writer: WriteSession, found: Sharing) -> None:
        archive.drafts.start(writer, revision_of({"a": b"{}"}, {"b": b"b"}, repo=DATA))
        assert len(found.offers(trusted=False)) == 3
        archive.layout.draft(DATA, COMMIT).write_bytes(b"not a draft\n")
        disk.touch(archive.layout.drafts)
        assert names(found.offers(trusted=False)) == ["gpt2", str(REPO)]

    def test_foreign_files_and_folders(self, archive: Archive, found: Sharing) -> None:
        before = found.offers(trusted=True)
        layout = archive.layout
        for folder in (layout.refs, layout.drafts, layout.blobs, layout.capsules, layout.manifests):
            for name in ("x", "models/..x/CON", "spaces/a/b", "models/org/con", "ab"):
                (folder / name).mkdir(parents=True, exist_ok=True)
                (folder / name / "file.jsonl").write_bytes(b"x")
                (folder / name / f"{'0' * 40}.jsonl").write_bytes(b"x")
                (folder / name / f"{'0' * 64}.olc").write_bytes(b"x")
            (folder / "README").write_bytes(b"x")
        assert found.offers(trusted=True) == before

    def test_a_disk_that_fails_for_a_while(
        self,
        archive: Archive,
        writer: WriteSession,
        found: Sharing,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What was seen before it failed is not forgotten."""
        put(archive, writer, b"data")
        archive.drafts.start(writer, revision_of({}, {"b": b"b"}, repo=DATA, commit=OTHER))
        found.offers(trusted=True)
        archive.put_revision(writer, revision_of({"a": b"data"}, repo=DATA))

        def fail() -> dict[RepoId, int]:
            raise CorruptError("the disk says no")

        with monkeypatch.context() as patched:
            patched.setattr(archive.drafts, "stamps", fail)
            with pytest.raises(CorruptError):
                found.offers(trusted=True)
        assert len(found.offers(trusted=True)) == 3


def test_threads_ask_while_the_archive_changes(archive: Archive) -> None:
    found = sharing(archive)

    def ask(n: int) -> int:
        if n % 4 == 0:
            repo = RepoId.parse(f"org/m{n}")
            with archive.writer() as writer:
                archived(archive, writer, repo, {"a": str(n).encode()})
        assert all(found.allows(blob, trusted=False) for blob in found.blobs())
        return len(found.offers(trusted=False))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(40)))
    assert len(found.offers(trusted=False)) == 10


def test_what_another_writer_archives_is_offered(archive: Archive) -> None:
    found = sharing(archive)
    assert found.offers(trusted=False) == []
    revision = archive_revision(archive, FILES)  # by its commit: no ref
    assert [o.manifest for o in found.offers(trusted=False)] == [revision.digest]


@pytest.mark.parametrize("damage", [None, b"", b"not a database " * 1000, bytes(40960)])
def test_a_lost_or_damaged_index_changes_no_answer(
    archive: Archive, writer: WriteSession, damage: bytes | None
) -> None:
    archived(archive, writer, REPO, FILES)
    archived(archive, writer, SECRET, {"a": b"secret"}, about=About(private=True))
    found = sharing(archive)
    before = found.offers(trusted=True), found.blobs()
    writer.close()
    archive.close()
    archive.layout.index.unlink()
    if damage is not None:
        archive.layout.index.write_bytes(damage)
    with Archive(archive.layout.home) as again:
        found = sharing(again)
        assert (found.offers(trusted=True), found.blobs()) == before


@pytest.mark.parametrize("where", [(Index, "summaries"), (Drafts, "load")])
def test_what_a_node_could_not_read_for_want_of_files_it_reads_again(
    archive: Archive,
    writer: WriteSession,
    monkeypatch: pytest.MonkeyPatch,
    where: tuple[type, str],
) -> None:
    node = sharing(archive)
    archived(archive, writer, REPO, {"one": b"sealed"})
    put(archive, writer, b"drafted")
    archive.drafts.start(writer, revision_of({"two": b"drafted"}, {"three": b"later"}, repo=DATA))
    for folder in (archive.layout.manifests, archive.layout.drafts):
        os.utime(folder, (1e9, 1e9))

    def short(*_: object) -> None:
        raise ExhaustedError("Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(*where, short)
        with pytest.raises(ExhaustedError):
            node.blobs()
    assert node.blobs().keys() == {Digest.of(b"sealed"), Digest.of(b"drafted")}


# Rules


class Refusing:
    """A gate that does not allow to share the models that it names."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.asked = 0

    def judge(self, action: Action, subject: Subject) -> Verdict:
        self.asked += 1
        return Verdict(action is not Action.SHARE or str(subject.repo) not in self.names, "no")


def test_what_the_rules_refuse_is_for_no_peer(tmp_path: Path) -> None:
    gate, clock = Refusing("org/name"), Clock()
    with Archive(tmp_path / "ruled", create=True, gate=gate) as archive, archive.writer() as writer:
        held = archived(archive, writer, REPO, {"a.bin": b"only here", "b.bin": b"both"})
        archived(archive, writer, ALONE, {"b.bin": b"both"})
        shared = sharing(archive, clock)
        only, both = held.files[0].sha256, held.files[1].sha256
        assert only is not None
        assert both is not None
        assert [offer.repo for offer in shared.offers(trusted=True)] == [ALONE]
        assert not shared.allows(only, trusted=True)
        assert shared.allows(both, trusted=False), "as a file of the other model"
        assert shared.manifest(held.digest, trusted=True) is None
        assert shared.refuses(REPO, COMMIT)
        asked = gate.asked
        shared.offers(trusted=False)
        assert gate.asked == asked
        gate.names.clear()
        clock.now += TUNING.rejudge * 2
        assert len(shared.offers(trusted=False)) == 2
        gate.names.add("gpt2")
        clock.now += TUNING.rejudge * 2
        assert [offer.repo for offer in shared.offers(trusted=False)] == [REPO]
