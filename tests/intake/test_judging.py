"""Asking the rules: what they are told of a model, and how long an answer counts."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlast.core.claims import Claim
from outlast.core.digest import GitOid
from outlast.core.errors import RefusedByRulesError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.core.policy import Action, Subject, Verdict
from outlast.features.trust.rules.licences import read_licence
from outlast.intake.judging import (
    FRESH,
    Judgements,
    read_licences,
    require_files,
    require_listing,
    subject_of,
)
from outlast.sources.base import Listing, RepoClaims
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from tests.store.build import COMMIT, REPO, archive_revision, entry_of, put, revision_of

UNREAD = "card-that-cannot-be-read"
CARD = b"---\nlicense: gpl-3.0\nbase_model: Other/Base\n---\n# It\n"


class Asked:
    """A gate that remembers what it was asked, and answers what it is told to."""

    def __init__(self) -> None:
        self.subjects: list[Subject] = []
        self.allows = True

    def judge(self, action: Action, subject: Subject) -> Verdict:
        assert action in Action
        self.subjects.append(subject)
        return Verdict(self.allows, "because")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def gate() -> Asked:
    return Asked()


@pytest.fixture
def archive(tmp_path: Path, gate: Asked) -> Iterator[Archive]:
    with Archive(tmp_path / "home", create=True, gate=gate) as archive:
        yield archive


def test_what_an_archived_model_is(archive: Archive) -> None:
    revision = archive_revision(archive, {"README.md": CARD, "m.safetensors": b"m"})
    about = About(gated="auto", tags=("license:mit",), facts={"createdAt": "2026-01-01"})
    with archive.writer() as writer:
        archive.refs.put_about(writer, REPO, about.with_link(COMMIT, "magnet:?"))
        archive.refs.put(writer, REPO, Ref("main", COMMIT, "https://hub.example"))
    found = subject_of(archive, revision)
    assert found.manifest == revision.digest
    assert found.licence == "gpl-3.0 AND mit"
    assert found.base_models == ("Other/Base",)
    assert found.gated is True
    assert found.source == "https://hub.example"
    assert found.facts == {"createdAt": "2026-01-01"}
    assert found.claims is not None
    assert found.claims.held == (Claim.INTACT,)
    assert found.size == len(CARD) + 1


def test_what_is_not_complete_is_not_intact(archive: Archive) -> None:
    revision = archive_revision(archive, {"config.json": b"{}", "m.bin": b"m"})
    gone = next(entry for entry in revision.files if entry.path == "m.bin")
    assert gone.sha256 is not None
    archive.layout.blob(gone.sha256).unlink()
    found = subject_of(archive, revision)
    assert found.claims is not None
    assert found.claims.held == ()


def test_what_is_arriving_has_no_manifest(archive: Archive) -> None:
    with archive.writer() as writer:
        put(archive, writer, b"{}")
        draft = revision_of({"config.json": b"{}"}, {"m.bin": b"m" * 9})
        archive.drafts.start(writer, draft)
        found = subject_of(archive, draft, source="somewhere")
    assert found.manifest is None
    assert found.source == "somewhere"
    assert found.size == 11
    assert found.claims is not None
    assert not found.claims.held


def test_two_sources_of_one_commit_are_no_source(archive: Archive) -> None:
    revision = archive_revision(archive, {"config.json": b"{}"})
    with archive.writer() as writer:
        archive.refs.put(writer, REPO, Ref("main", COMMIT, "https://one.example"))
        archive.refs.put(writer, REPO, Ref("other", COMMIT, "https://two.example"))
    assert subject_of(archive, revision).source == ""


def test_what_a_source_lists(archive: Archive, gate: Asked) -> None:
    claims = RepoClaims(True, False, ("license:mit", "base_model:adapter:a/b", "x"), {"k": "v"})
    listing = Listing(REPO, COMMIT, [entry_of("a.gguf", b"12")], claims)
    require_listing(archive, Action.PULL, listing, "https://hub.example")
    (found,) = gate.subjects
    assert (found.licence, found.base_models, found.gated) == ("mit", ("a/b",), True)
    assert (found.size, found.source, found.facts) == (2, "https://hub.example", {"k": "v"})
    gate.allows = False
    with pytest.raises(RefusedByRulesError, match="pull of org/name: because"):
        require_listing(archive, Action.PULL, listing, "https://hub.example")
    with pytest.raises(RefusedByRulesError):
        require_files(archive, Action.PULL, REPO, [], source="folder")


def test_without_rules_nothing_is_asked(tmp_path: Path) -> None:
    with Archive(tmp_path / "open", create=True) as archive:
        assert archive.rules.is_open
        require_files(archive, Action.PULL, REPO, [], source="folder")
        assert not archive.rules.status().asked


@pytest.mark.parametrize(
    ("card", "licences"),
    [
        (b"---\nlicense: mit\n---\n", ["mit"]),
        (b"---\nlicense: 'mit' # ours\n---\n", ["mit"]),
        (b"---\nlicense:\n- mit\n- apache-2.0\ntags:\n- x\n---\n", ["mit", "apache-2.0"]),
        (b"---\nlicense: [mit, gpl]\n---\n", ["mit", "gpl"]),
        (b"---\nlicense: other\nlicense_name: llama3\nlicense_link: x\n---\n", ["llama3"]),
        (b"---\nlicense: mit\nlicense_name: other-name\n---\n", ["mit"]),
        (b"---\nlicense: other\n---\n", []),
        (b"---\nlicense:\n---\nlicense: mit\n", []),
        (b"license: mit\n", []),
        (b"", []),
        (b"---\n" + b"license: x\n" * 100_000, ["x", UNREAD]),
        (b"---\nlicense: " + b"\xff" * 100_000, [UNREAD]),
        (b"---\nlicense: MIT" + b" " * 300 + b"AND GPL-3.0\n---\n", ["MIT AND GPL-3.0"]),
        (b"---\nlicense: MIT AND " + b"(" * 300 + b"GPL-3.0\n---\n", [UNREAD]),
        (b'---\n"license": gpl-3.0\n---\n', ["gpl-3.0"]),
        (b"\xef\xbb\xbf---\nlicense: gpl-3.0\n---\n", ["gpl-3.0"]),
        (b"\n \n---\nlicense: gpl-3.0\n---\n", ["gpl-3.0"]),
        (b"---\n  language: en\n  license: gpl-3.0\n---\n", ["gpl-3.0"]),
        (b"---\nlicense: [mit,\n  gpl-3.0]\n---\n", ["mit", "gpl-3.0"]),
        (b"---\nlicense: mit\n  AND gpl-3.0\ntags: x\n---\n", ["mit AND gpl-3.0"]),
        (b'---\nlicense: "mit\n  AND gpl-3.0"\n---\n', ["mit AND gpl-3.0"]),
        (b"---\nlicense:\n  gpl-3.0\n---\n", ["gpl-3.0"]),
        (b"---\nlicense:\n- mit\n  AND gpl-3.0\n- x\n---\n", ["mit AND gpl-3.0", "x"]),
        (b"---\n{license: gpl-3.0}\n---\n", [UNREAD]),
        (b'---\n"licen\\x73e": gpl-3.0\n---\n', [UNREAD]),
        (b"---\nlicense: mit\n# or\n\ntags:\n- gpl\n---\n", ["mit"]),
        (b"---\nother:\n  license: gpl-3.0\nlicense: mit\n---\n", ["mit"]),
        (
            b"---\nlicense:\n" + b"".join(b"- l%d\n" % n for n in range(99)),
            [*(f"l{n}" for n in range(8)), UNREAD],
        ),
    ],
)
def test_licences_of_a_card(card: bytes, licences: list[str]) -> None:
    assert read_licences(card) == licences


def test_a_long_card_is_read(archive: Archive) -> None:
    revision = archive_revision(archive, {"README.md": CARD + b"x" * 3_000_000})
    assert subject_of(archive, revision).licence == "gpl-3.0"


def test_a_card_that_cannot_be_read_may_say_more(archive: Archive) -> None:
    """The hub calls it MIT, and the card is not what it was."""
    revision = archive_revision(archive, {"README.md": CARD})
    with archive.writer() as writer:
        archive.refs.put_about(writer, REPO, About(tags=("license:mit",)))
    assert revision.files[0].sha256 is not None
    archive.layout.blob(revision.files[0].sha256).unlink()
    found = subject_of(archive, revision)
    assert found.licence == f"{UNREAD} AND mit"
    conditions = read_licence(found.licence)
    assert (conditions.spdx, conditions.conditions.copyleft) == ("unknown", "unknown")


# How long an answer counts


def test_an_answer_counts_for_a_moment(archive: Archive, gate: Asked) -> None:
    revision, clock = archive_revision(archive, {"config.json": b"{}"}), Clock()
    judgements = Judgements(archive, Action.SERVE, clock=clock)
    judgements.require(revision)
    gate.allows = False
    clock.now = FRESH - 0.1
    judgements.require(revision)
    clock.now = FRESH
    for _ in range(2):
        with pytest.raises(RefusedByRulesError):
            judgements.require(revision)
    assert len(gate.subjects) == 2
    said = archive.rules.status()
    assert (said.allowed, said.refused) == (2, 2)


def test_an_answer_is_that_of_one_revision(archive: Archive, gate: Asked) -> None:
    revision = archive_revision(archive, {"config.json": b"{}"})
    judgements = Judgements(archive, Action.SERVE, clock=Clock())
    judgements.require(revision)
    grown = Revision.of(REPO, COMMIT, [*revision.files, entry_of("README.md", CARD)])
    gate.allows = False
    with pytest.raises(RefusedByRulesError):
        judgements.require(grown)


def test_no_more_answers_are_kept_than_needed(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.intake.judging._KEPT", 8)
    judgements = Judgements(archive, Action.SERVE, clock=Clock())
    for number in range(20):
        judgements.require(Revision.of(RepoId.parse(f"org/m{number}"), COMMIT, []))
    assert len(judgements._known) == 8


@pytest.mark.parametrize("commit", [COMMIT, None])
def test_a_known_answer_costs_little(archive: Archive, commit: GitOid | None) -> None:
    """At most 20 µs more for a request, of processor time: the fastest of several rounds. Also of
    a folder that was added, which its files name.
    """
    revision = Revision.of(REPO, commit, [entry_of(f"{n}.bin", b"x") for n in range(500)])
    judgements = Judgements(archive, Action.SERVE, clock=Clock())

    def round_of(count: int) -> float:
        began = time.thread_time()
        for _ in range(count):
            judgements.require(revision)
        return (time.thread_time() - began) / count

    assert min(round_of(1000) for _ in range(10)) < 20e-6
