"""Statements go along with a model: between nodes, and to a second home and back. They count by
their signatures alone, and their senders are hostile.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from outlast.bucket.home import SecondHome
from outlast.bucket.objects import open_objects
from outlast.core.claims import Claim, Standing, Weight
from outlast.core.control import Control
from outlast.core.digest import Digest
from outlast.core.errors import EntryNotFoundError, MalformedError, UnreachableError
from outlast.core.manifest import Revision
from outlast.features.trust.records.statement import Predicate
from outlast.features.trust.records.weighing import StatementWeigher
from outlast.fetch.beside.statements import take_statements
from outlast.fetch.tuning import TUNING
from outlast.node.policy import SharePolicy, Sharing
from outlast.node.statements import MOST_BYTES, StatementsGiven
from outlast.ops.second_home.check import check
from outlast.ops.second_home.copy import copy
from outlast.sources.peer_documents import MOST_STATEMENTS
from outlast.store.archive import Archive
from outlast.store.records.attestations import MAX_ATTESTATION
from outlast.store.records.facts import About
from outlast.store.records.refs import Ref
from outlast.store.words.revocations import Revoked
from tests.features.trust.world import (
    OBSERVER,
    PUBLISHER,
    STRANGER,
    MemoryKey,
    World,
    observation,
    publication,
    revocation,
    statement,
)
from tests.serve.peers import Peer


class Sender:
    """Sends these statements to each that asks."""

    def __init__(self, *data: bytes, fails: Exception | None = None) -> None:
        self.data = data
        self.fails = fails
        self.asked: list[Digest] = []

    @property
    def name(self) -> str:
        return "a stranger"

    def statements(self, manifest: Digest, timeout: float | None = None) -> Iterable[bytes]:
        assert timeout is not None
        self.asked.append(manifest)
        if self.fails is not None:
            raise self.fails
        return self.data


@pytest.fixture
def user(pinned: World) -> World:
    """An archive with pins and no statement, that takes what others send."""
    pinned.archive.weigher = StatementWeigher(pinned.archive)
    return pinned


@pytest.fixture
def giver(homes: Path, tmp_path: Path) -> Iterator[World]:
    """Another archive, without pins."""
    shutil.copytree(homes / "bare", tmp_path / "giver")
    with Archive(tmp_path / "giver") as archive:
        archive.weigher = StatementWeigher(archive)
        with archive.writer() as writer:
            for revision in (World.of(archive).old, World.of(archive).new):
                archive.refs.put(writer, revision.repo, Ref(revision.id.hex[:6], revision.id))
        yield World.of(archive)


def take(world: World, *data: bytes) -> int:
    return take_statements(world.archive, world.new, [Sender(*data)], Control())


def kept(world: World, revision: Revision) -> set[bytes]:
    return {one.data for one in world.archive.attestations.of(revision.digest)}


def many(
    revision: Revision, count: int, *keys: MemoryKey, said: Predicate | None = None
) -> list[bytes]:
    """Different statements by the same keys."""
    return [
        statement(revision, said or publication(number), *keys) for number in range(1, count + 1)
    ]


def test_what_counts_is_taken_and_proves_what_it_says(user: World) -> None:
    said = (
        statement(user.new, publication(), PUBLISHER),
        statement(user.new, observation(user.new), OBSERVER),
    )
    assert take(user, *said) == 2
    assert kept(user, user.new) == set(said)
    assert user.published(user.new).standing is Standing.HOLDS
    assert user.observed(user.new).standing is Standing.HOLDS
    assert take(user, *said) == 0


def test_a_revocation_travels(user: World) -> None:
    assert take(user, statement(user.new, revocation(), PUBLISHER)) == 1
    assert user.claims(user.new).revoked
    assert not user.claims(user.old).revoked


@pytest.mark.parametrize(
    "what",
    ["noise", "other manifest", "other name", "unsigned", "too large", "changed", "not JSON"],
)
def test_what_is_none_is_not_kept(user: World, what: str) -> None:
    good = statement(user.new, publication(), PUBLISHER)
    data = {
        "noise": bytes(range(256)) * 10,
        "other manifest": statement(user.old, publication(), PUBLISHER),
        "other name": statement(user.copy, publication(), PUBLISHER),
        "unsigned": statement(user.new, publication()),
        "too large": good + b" " * MAX_ATTESTATION,
        "changed": good.replace(b'"payload"', b'"payl0ad"'),
        "not JSON": b"[" * 100_000,
    }[what]
    assert take(user, data) == 0
    assert kept(user, user.new) == set()


def test_a_forged_signature_proves_nothing(user: World) -> None:
    """It names the publisher's key, and a stranger made it."""
    poser = MemoryKey(PUBLISHER.name, STRANGER.secret)
    body = statement(user.new, publication(), poser).replace(
        STRANGER.id.encode(), PUBLISHER.id.encode()
    )
    assert (
        StatementWeigher(user.archive).weigh(user.new.repo, user.new.digest, body).weight
        is Weight.UNKNOWN
    )
    take(user, body)
    assert user.published(user.new).standing is not Standing.HOLDS


def test_strangers_fill_their_own_room_alone(user: World) -> None:
    assert (
        take(user, *many(user.new, TUNING.unknown_statements + 5, STRANGER))
        == TUNING.unknown_statements
    )
    assert take(user, statement(user.new, publication(), PUBLISHER)) == 1
    assert take(user, statement(user.new, revocation(), PUBLISHER)) == 1
    assert user.claims(user.new).revoked


def test_ten_thousand_statements_of_a_mebibyte_cost_little(user: World) -> None:
    """No more than 16 MiB of one source are looked at, and none is kept."""
    large = statement(user.new, publication(), PUBLISHER)
    large += b" " * (MAX_ATTESTATION - len(large))
    looked_at = 0

    def endless() -> Iterator[bytes]:
        nonlocal looked_at
        for _ in range(10_000):
            looked_at += 1
            yield large

    sender = Sender()
    sender.data = endless()  # type: ignore[assignment]
    assert take_statements(user.archive, user.new, [sender], Control()) == 0
    assert kept(user, user.new) == set()
    assert looked_at == TUNING.statement_bytes // MAX_ATTESTATION + 1


def test_one_statement_that_is_spelled_in_many_ways_is_kept_once(
    user: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As signatures by ECDSA can be: here every signature is taken for right."""
    monkeypatch.setattr("outlast.features.trust.records.signers.verify", lambda *_: True)
    good = statement(user.new, publication(), PUBLISHER)
    other = statement(user.new, publication(), MemoryKey(PUBLISHER.name, STRANGER.secret))
    other = other.replace(STRANGER.id.encode(), PUBLISHER.id.encode())
    assert good != other
    assert take(user, good, other) == 1


@pytest.mark.parametrize(
    "error", [MalformedError("x"), UnreachableError("x"), EntryNotFoundError("x")]
)
def test_a_source_that_fails_takes_nothing_from_others(user: World, error: Exception) -> None:
    good = statement(user.new, publication(), PUBLISHER)
    sources = [Sender(fails=error), Sender(good)]
    assert take_statements(user.archive, user.new, sources, Control()) == 1


def test_few_are_asked_and_none_without_what_weighs(user: World) -> None:
    senders = [Sender() for _ in range(20)]
    take_statements(user.archive, user.new, senders, Control())
    assert [len(one.asked) for one in senders] == [1] * 8 + [0] * 12
    user.archive.weigher = None
    good = Sender(statement(user.new, publication(), PUBLISHER))
    assert take_statements(user.archive, user.new, [good], Control()) == 0
    assert not good.asked


# What a node gives


def given(world: World, revision: Revision) -> Sequence[bytes]:
    return StatementsGiven(world.archive).about(revision.digest)


def test_a_node_gives_what_it_has_revocations_first(giver: World) -> None:
    for data in many(giver.new, MOST_STATEMENTS + 1, STRANGER):
        giver.keep(giver.new, data)
    giver.keep(giver.new, statement(giver.new, revocation(), STRANGER))
    found = given(giver, giver.new)
    assert len(found) == MOST_STATEMENTS
    assert found[0] == statement(giver.new, revocation(), STRANGER)
    assert sum(map(len, found)) <= MOST_BYTES
    assert given(giver, giver.old) == ()


def test_a_node_gives_no_evidence_and_no_noise(giver: World) -> None:
    giver.keep(giver.new, b"noise")
    giver.keep(giver.new, statement(giver.new, publication()))  # unsigned, as evidence may be
    giver.keep(giver.new, statement(giver.old, publication(), PUBLISHER))
    assert given(giver, giver.new) == ()
    giver.say(giver.new, publication(), PUBLISHER)
    assert len(given(giver, giver.new)) == 1


def asked(peer: Peer, revision: Revision) -> Sequence[bytes]:
    return peer.source().statements(revision.digest, 5)


def test_from_node_to_node(giver: World, user: World) -> None:
    good = statement(giver.new, publication(), PUBLISHER)
    giver.keep(giver.new, good)
    sharing = Sharing(giver.archive, SharePolicy())
    with Peer(giver.archive, sharing).serving() as peer:  # type: ignore[arg-type]
        assert asked(peer, giver.new) == (good,)
        assert asked(peer, giver.old) == ()
        assert take_statements(user.archive, user.new, [peer.source()], Control()) == 1
        with pytest.raises(EntryNotFoundError):
            peer.source().statements(Digest.of(b"another manifest"), 5)
    assert user.published(user.new).standing is Standing.HOLDS


def test_a_revoked_model_is_told_of_and_not_given(giver: World) -> None:
    new = giver.new
    giver.keep(new, statement(new, revocation(), PUBLISHER))
    with giver.archive.writer() as writer:
        giver.archive.revocations.note(writer, Revoked(new.digest, new.repo, new.id, "bad", "", ""))
    sharing = Sharing(giver.archive, SharePolicy())
    assert sharing.manifest(new.digest, trusted=True) is None
    assert sharing.tells_of(new.digest, trusted=False)
    with Peer(giver.archive, sharing).serving() as peer:  # type: ignore[arg-type]
        assert len(asked(peer, new)) == 1


@pytest.mark.parametrize("revoked", [False, True])
def test_what_is_private_is_told_to_static_peers_alone(giver: World, revoked: bool) -> None:
    new = giver.new
    giver.keep(new, statement(new, publication(), PUBLISHER))
    with giver.archive.writer() as writer:
        giver.archive.refs.put_about(writer, new.repo, About(private=True))
        if revoked:
            said = Revoked(new.digest, new.repo, new.id, "bad", "", "")
            giver.archive.revocations.note(writer, said)
    sharing = Sharing(giver.archive, SharePolicy())
    peer = Peer(giver.archive, sharing)  # type: ignore[arg-type]
    with peer.serving():
        with pytest.raises(EntryNotFoundError):
            asked(peer, new)
        peer.trusts = True
        assert len(asked(peer, new)) == 1


# A second home


def test_there_and_back(giver: World, user: World, tmp_path: Path) -> None:
    from outlast.bucket.source import BucketSource  # noqa: PLC0415 - of the extra [s3]
    from outlast.sources.settings import S3Place  # noqa: PLC0415 - likewise

    good = statement(giver.new, publication(), PUBLISHER)
    giver.keep(giver.new, good)
    home = SecondHome(open_objects(f"file://{tmp_path}/there", S3Place(), create=True))
    assert copy(giver.archive, [], home, Control()).statements == 1
    assert copy(giver.archive, [], home, Control()).statements == 0
    assert check(home, [], Control()).problems == ()
    with Archive(tmp_path / "there") as archive:  # it is an archive
        assert [one.data for one in archive.attestations.of(giver.new.digest)] == [good]
    assert take_statements(user.archive, user.new, [BucketSource(home)], Control()) == 1
    assert user.published(user.new).standing is Standing.HOLDS
    (path,) = (tmp_path / "there" / "attestations" / giver.new.digest.hex).iterdir()
    path.write_bytes(good.replace(b"a", b"b", 1))
    (problem,) = check(home, [], Control()).problems
    assert problem.path.endswith(path.name)
    assert list(home.statements(giver.new.digest)) == []


def test_what_the_operator_knows_goes_nowhere(giver: World, tmp_path: Path) -> None:
    """Neither that a model was pulled from a hub, nor that it was accepted."""
    from outlast.ops.claims import accept_manifest  # noqa: PLC0415 - of this test alone
    from outlast.sources.settings import S3Place  # noqa: PLC0415 - of the extra [s3]

    accept_manifest(giver.archive, giver.new.digest.hex)
    home = SecondHome(open_objects(f"file://{tmp_path}/there", S3Place(), create=True))
    copy(giver.archive, [], home, Control())
    there = {
        path.relative_to(tmp_path / "there").parts[0] for path in (tmp_path / "there").iterdir()
    }
    assert not there & {"trust", "seen"}
    claims = giver.claims(giver.new)
    assert claims[Claim.OBSERVED].standing is Standing.ABSENT
