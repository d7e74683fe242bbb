"""What `run` asks for where no rules weigh claims: a claim, or the operator's word."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from outlast.core.claims import Claim, Claims, ClaimState, Standing
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import RefusedByRulesError, RevokedError, UnvouchedError, UsageError
from outlast.core.manifest import Revision
from outlast.core.names import Target
from outlast.core.policy import Action, ArchiveRules, Subject, Verdict
from outlast.fetch.file_filter import Selection
from outlast.intake.vouched import vouched
from outlast.ops.add import add
from outlast.ops.claims import accept_manifest, accept_target, accepted, take_back
from outlast.ops.run import prepare
from outlast.store.archive import Archive
from outlast.store.records.file_list import entries_of, listing_digest
from outlast.store.records.seen import SeenRevision, SeenRevisions
from outlast.store.words.accepted import WordKind
from outlast.store.words.revocations import Revoked

TARGET = Target.parse("org/theirs")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "w.gguf").write_bytes(b"GGUF" + bytes(5000))
    with Archive(tmp_path / "archive", create=True) as found:
        add(found, folder, TARGET, selection=Selection(), follow_links=False, control=Control())
        yield found


@pytest.fixture
def theirs(archive: Archive) -> Revision:
    """A revision that came from elsewhere: no record of this archive speaks for it."""
    shutil.rmtree(archive.layout.accepted)
    shutil.rmtree(archive.layout.second_of(archive.layout.accepted))
    return archive.revision(TARGET.repo, None)


class Assessor:
    """Says that these claims hold."""

    def __init__(self, *claims: Claim, standing: Standing = Standing.HOLDS) -> None:
        self.found = Claims.of(ClaimState(claim, standing) for claim in claims)

    def claims(self, manifest: Digest, revision: Revision) -> Claims:
        assert manifest == revision.digest
        return self.found

    def claims_of_all(self, revisions: Sequence[tuple[Digest, Revision]]) -> list[Claims]:
        return [self.claims(manifest, revision) for manifest, revision in revisions]


def runs(archive: Archive, *claims: Claim, standing: Standing = Standing.HOLDS) -> bool:
    try:
        with prepare(
            archive,
            TARGET,
            wanted=None,
            engine=None,
            recheck=False,
            assessor=lambda: Assessor(*claims, standing=standing),
            control=Control(),
        ):
            return True
    except UnvouchedError:
        return False


def test_what_was_added_by_hand_runs(archive: Archive) -> None:
    assert runs(archive)
    (word,) = accepted(archive)
    assert (word.how, word.repo, word.manifest) == (
        WordKind.ADDED,
        TARGET.repo,
        archive.revision(TARGET.repo, None).digest,
    )


def test_what_nothing_speaks_for_names_the_command_that_helps(
    archive: Archive, theirs: Revision
) -> None:
    with pytest.raises(UnvouchedError) as caught:
        prepare(archive, TARGET, wanted=None, engine=None, recheck=False, control=Control())
    start = theirs.digest.hex[:16]
    assert caught.value.hint == f"outlast run org/theirs --accept {start}"
    assert "not published, observed or listed" in str(caught.value)
    accept_target(archive, TARGET, start)
    assert runs(archive)
    with Archive(archive.layout.home) as again:  # durably
        assert runs(again)
    assert take_back(archive, start).how is WordKind.ACCEPTED
    assert not runs(archive)


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize("claim", [Claim.PUBLISHED, Claim.OBSERVED, Claim.LISTED])
def test_one_claim_is_enough(archive: Archive, claim: Claim) -> None:
    assert runs(archive, claim)
    assert runs(archive, claim, standing=Standing.STALE)
    for standing in (Standing.ABSENT, Standing.REFUSED, Standing.SUPERSEDED):
        assert not runs(archive, claim, standing=standing)


@pytest.mark.usefixtures("theirs")
def test_intact_alone_is_not(archive: Archive) -> None:
    assert not runs(archive, Claim.INTACT)


def _seen(archive: Archive, revision: Revision, listing: Digest) -> None:
    row = SeenRevision(revision.id, "https://hub.example", "2026-11-30T12:00:00+00:00", listing)
    with archive.writer() as writer:
        archive.seen.put(writer, revision.repo, SeenRevisions((row,)))


def test_a_pull_from_a_hub_counts_without_what_checks_signatures(
    archive: Archive, theirs: Revision
) -> None:
    _seen(archive, theirs, Digest.of(b"other files"))
    assert not vouched(archive, theirs, lambda: None).holds
    _seen(archive, theirs, listing_digest(entries_of(theirs)))
    found = vouched(archive, theirs, lambda: None)
    assert (found.holds, found.describe()) == (True, "observed")


@pytest.mark.usefixtures("theirs")
def test_a_word_is_for_one_manifest_alone(archive: Archive) -> None:
    with pytest.raises(UsageError):
        accept_target(archive, TARGET, "0" * 64)
    with pytest.raises(UsageError):
        accept_target(archive, TARGET, Digest.of(b"").hex[:12])
    assert not accepted(archive)


def test_what_is_revoked_is_not_accepted(archive: Archive, theirs: Revision) -> None:
    start = theirs.digest.hex[:12]
    accept_manifest(archive, start)
    take_back(archive, start)
    with archive.writer() as writer:
        archive.revocations.note(
            writer, Revoked(theirs.digest, theirs.repo, theirs.id, "bad", "work", "")
        )
    with pytest.raises(RevokedError):
        accept_target(archive, TARGET, start)
    with pytest.raises(RevokedError):
        accept_manifest(archive, start)
    assert not accepted(archive)


def test_what_was_added_and_is_revoked_does_not_run(archive: Archive) -> None:
    mine = archive.revision(TARGET.repo, None)
    with archive.writer() as writer:
        archive.revocations.note(writer, Revoked(mine.digest, mine.repo, mine.id, "bad", "me", ""))
    with pytest.raises(RevokedError):
        runs(archive)


def test_a_damaged_word_counts_by_its_second_copy_or_not_at_all(archive: Archive) -> None:
    (word,) = accepted(archive)
    path = archive.layout.accepted / word.manifest.hex
    path.write_bytes(path.read_bytes().replace(b"org/theirs", b"org/others"))
    assert runs(archive)
    second = archive.layout.second_of(path)
    second.write_bytes(b"{}")
    assert not runs(archive)


class Rules:
    """A gate of an operator."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def judge(self, action: Action, subject: Subject) -> Verdict:
        assert (action, subject.repo) == (Action.RUN, TARGET.repo)
        return self.verdict


def test_rules_that_weigh_claims_take_the_place_of_the_default(
    archive: Archive, theirs: Revision
) -> None:
    archive.rules = ArchiveRules(Rules(Verdict(allowed=True, weighs_claims=True)))
    assert runs(archive)
    archive.rules = ArchiveRules(Rules(Verdict(allowed=True)))
    assert not runs(archive)
    archive.rules = ArchiveRules(Rules(Verdict(allowed=False, weighs_claims=True)))
    accept_manifest(archive, theirs.digest.hex)
    with pytest.raises(RefusedByRulesError):
        runs(archive)
