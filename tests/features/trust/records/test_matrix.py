"""Each claim by what can be wrong with the statements that make it, with the exact verdict."""

import base64
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785

from outlast.codec.payload import Form
from outlast.core.claims import Claim, ClaimState, Standing
from outlast.core.digest import Digest, GitOid
from outlast.core.manifest import Revision
from outlast.features.trust.keys.pins import PinRole, PinState
from outlast.features.trust.records.heights import Heights, heights_of
from outlast.features.trust.records.needed import Needed
from outlast.features.trust.records.statement import Predicate, Statement
from outlast.store.records.file_list import entries_of, listing_digest
from outlast.store.records.seen import SeenRevision, SeenRevisions
from outlast.store.soundness.damage import Damage, Why
from outlast.store.writer import WriteSession
from tests.features.trust.world import (
    HUB,
    LATER,
    MADE,
    OBSERVER,
    PAST,
    PUBLISHER,
    SECOND,
    STRANGER,
    WITNESS,
    MemoryKey,
    SmallCatalogue,
    World,
    envelope,
    observation,
    publication,
    revocation,
    statement,
)

PUB, OBS, LIST = Claim.PUBLISHED, Claim.OBSERVED, Claim.LISTED
HOLDS, STALE, ABSENT = Standing.HOLDS, Standing.STALE, Standing.ABSENT
REFUSED, SUPERSEDED = Standing.REFUSED, Standing.SUPERSEDED
UNREAD = "a statement cannot be read: "


def signer(claim: Claim) -> MemoryKey:
    return PUBLISHER if claim is PUB else OBSERVER


def good(claim: Claim, revision: Revision, **said: Any) -> Predicate:
    return publication(**said) if claim is PUB else observation(revision, **said)


def unpinned(claim: Claim) -> str:
    whom = "the publisher of org/name" if claim is PUB else "an observer"
    return f"signed by {STRANGER.id}, which is not pinned for {whom}"


def state(world: World, claim: Claim, revision: Revision) -> ClaimState:
    """How one claim stands; no other claim changes by a statement that makes it."""
    found = world.claims(revision)
    assert found[Claim.INTACT] == ClaimState(Claim.INTACT, HOLDS)
    assert found[LIST] == ClaimState(LIST, ABSENT)
    other = found[OBS if claim is PUB else PUB]
    assert other.standing is ABSENT
    assert (other.who, other.since) == ((), "")
    return found[claim]


both = pytest.mark.parametrize("claim", [PUB, OBS])


def test_nothing_is_claimed_of_what_no_statement_is_about(pinned: World) -> None:
    found = pinned.claims(pinned.old)
    assert found.held == (Claim.INTACT,)
    assert found[PUB] == ClaimState(PUB, ABSENT)
    assert found[OBS] == ClaimState(OBS, ABSENT)
    assert found.revoked == ""


@both
def test_good(pinned: World, claim: Claim) -> None:
    pinned.say(pinned.old, good(claim, pinned.old), signer(claim))
    why = "number 1 of main" if claim is PUB else f"at {HUB}"
    wanted = ClaimState(claim, HOLDS, (signer(claim).label,), MADE, why)
    assert state(pinned, claim, pinned.old) == wanted
    assert pinned.claims(pinned.new).held == (Claim.INTACT,)
    assert pinned.claims(pinned.copy).held == (Claim.INTACT,)


@both
def test_wrong_key(pinned: World, claim: Claim) -> None:
    pinned.say(pinned.old, good(claim, pinned.old), STRANGER)
    assert state(pinned, claim, pinned.old) == ClaimState(claim, REFUSED, why=unpinned(claim))


@both
def test_wrong_key_that_says_to_be_the_right_one(pinned: World, claim: Claim) -> None:
    pinned.say(pinned.old, good(claim, pinned.old), STRANGER)
    (data,) = [one.data for one in pinned.archive.attestations.of(pinned.old.digest)]
    pinned.keep(pinned.old, data.replace(STRANGER.id.encode(), signer(claim).id.encode()))
    why = f"the signature of {signer(claim).label} does not match"
    found = {one.why for one in [state(pinned, claim, pinned.old)]}
    assert found <= {why, unpinned(claim)}
    assert state(pinned, claim, pinned.old).standing is REFUSED


@both
def test_a_key_that_is_pinned_for_something_else(pinned: World, claim: Claim) -> None:
    key = OBSERVER if claim is PUB else PUBLISHER
    pinned.say(pinned.old, good(claim, pinned.old), key)
    why = unpinned(claim).replace(STRANGER.id, key.id)
    assert state(pinned, claim, pinned.old) == ClaimState(claim, REFUSED, why=why)


@both
def test_a_key_that_is_pinned_for_another_publisher(world: World, claim: Claim) -> None:
    role = PinRole.PUBLISHER if claim is PUB else PinRole.OBSERVER
    world.pin(STRANGER, role, "else")
    world.pin(STRANGER, role, "org/nam")
    world.pin(STRANGER, role, "org/name2")
    world.say(world.old, good(claim, world.old), STRANGER)
    assert state(world, claim, world.old) == ClaimState(claim, REFUSED, why=unpinned(claim))


@both
def test_wrong_name(pinned: World, claim: Claim) -> None:
    said = Statement(pinned.copy.repo, pinned.old.digest, good(claim, pinned.old))
    pinned.keep(pinned.old, envelope(said.to_bytes(), signer(claim)))
    wanted = ClaimState(claim, REFUSED, why="it is about org/other")
    assert state(pinned, claim, pinned.old) == wanted


@both
def test_replayed_under_another_model(pinned: World, claim: Claim) -> None:
    pinned.keep(pinned.copy, statement(pinned.old, good(claim, pinned.old), signer(claim)))
    wanted = ClaimState(claim, REFUSED, why="it is about org/name")
    assert state(pinned, claim, pinned.copy) == wanted


@both
def test_replayed_under_another_revision(pinned: World, claim: Claim) -> None:
    pinned.keep(pinned.new, statement(pinned.old, good(claim, pinned.old), signer(claim)))
    why = f"it is about another manifest: {pinned.old.digest.short}…"
    assert state(pinned, claim, pinned.new) == ClaimState(claim, REFUSED, why=why)


def test_older_version(pinned: World) -> None:
    pinned.say(pinned.old, publication(1), PUBLISHER)
    assert pinned.published(pinned.old).standing is HOLDS
    pinned.say(pinned.new, publication(2, made=LATER), PUBLISHER)
    why = f"number 1 of main; number 2 is {pinned.new.digest.short}…"
    wanted = ClaimState(PUB, SUPERSEDED, (PUBLISHER.label,), LATER, why)
    assert state(pinned, PUB, pinned.old) == wanted
    wanted = ClaimState(PUB, HOLDS, (PUBLISHER.label,), LATER, "number 2 of main")
    assert state(pinned, PUB, pinned.new) == wanted


def test_an_observation_of_an_older_version_says_what_was_seen(pinned: World) -> None:
    pinned.say(pinned.old, observation(pinned.old), OBSERVER)
    pinned.say(pinned.new, observation(pinned.new, seen=LATER), OBSERVER)
    wanted = ClaimState(OBS, HOLDS, (OBSERVER.label,), MADE, f"at {HUB}")
    assert state(pinned, OBS, pinned.old) == wanted


def test_an_older_version_stays_so_when_the_newer_one_is_gone(pinned: World) -> None:
    pinned.say(pinned.old, publication(1), PUBLISHER)
    pinned.say(pinned.new, publication(2, made=LATER), PUBLISHER)
    assert pinned.published(pinned.old).standing is SUPERSEDED
    assert pinned.new.commit is not None
    pinned.archive.delete_revision(pinned.new.repo, pinned.new.commit)
    list(pinned.archive.attestations.garbage(dry_run=False))
    assert pinned.archive.attestations.manifests() == [pinned.old.digest]
    found = pinned.published(pinned.old)
    assert (found.standing, found.since) == (SUPERSEDED, LATER)


def test_what_two_processes_saw_of_sequences_is_kept(
    pinned: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has read the record before the other one writes a higher sequence."""
    pinned.say(pinned.old, publication(1), PUBLISHER)
    late = pinned.assessor()
    pinned.say(pinned.new, publication(7, ref="v7", made=LATER), PUBLISHER)
    assert pinned.published(pinned.new).standing is HOLDS
    real, calls = late._heights.get, iter([Heights()])
    monkeypatch.setattr(late._heights, "get", lambda repo: next(calls, None) or real(repo))
    assert pinned.new.commit is not None
    pinned.archive.delete_revision(pinned.new.repo, pinned.new.commit)
    late.claims(pinned.old.digest, pinned.old)
    monkeypatch.undo()
    found = pinned.assessor().height(pinned.old.repo, "v7")
    assert found is not None
    assert found.sequence == 7


def test_what_was_seen_of_several_revisions_is_written_once(
    pinned: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And they say the same as each alone."""
    pinned.say(pinned.old, publication(1), PUBLISHER)
    pinned.say(pinned.new, publication(2, made=LATER), PUBLISHER)
    both = [(revision.digest, revision) for revision in (pinned.old, pinned.new)]
    alone = [pinned.assessor().claims(*one) for one in both]
    heights = heights_of(pinned.archive)
    heights.delete(pinned.old.repo)
    writers, real = list[WriteSession](), pinned.archive.writer

    def writer() -> WriteSession:
        writers.append(real())
        return writers[-1]

    monkeypatch.setattr(pinned.archive, "writer", writer)
    assert pinned.assessor().claims_of_all(both) == alone
    assert len(writers) == 1
    found = heights.get(pinned.old.repo)
    assert found is not None
    assert [height.sequence for _, height in found.by_ref] == [2]


def test_a_sequence_survives_the_loss_of_one_copy_of_its_record(pinned: World) -> None:
    test_an_older_version_stays_so_when_the_newer_one_is_gone(pinned)
    (record,) = [p for p in (pinned.archive.layout.trust / "sequences").rglob("*") if p.is_file()]
    record.write_bytes(b"?")
    assert pinned.published(pinned.old).standing is SUPERSEDED


def test_an_older_version_of_a_retired_key_does_not_come_back(pinned: World) -> None:
    pinned.say(pinned.old, publication(1), PUBLISHER)
    pinned.say(pinned.new, publication(2, made=LATER), PUBLISHER)
    pinned.pin(PUBLISHER, state=PinState.RETIRED)  # before any was looked at: nothing is recorded
    why = f"number 1 of main; number 2 is {pinned.new.digest.short}…"
    wanted = ClaimState(PUB, SUPERSEDED, (PUBLISHER.label,), LATER, why)
    assert state(pinned, PUB, pinned.old) == wanted
    why = "its publisher has another key since"
    assert state(pinned, PUB, pinned.new) == ClaimState(PUB, STALE, (PUBLISHER.label,), PAST, why)


def test_a_retired_key_holds_nothing_back_that_its_successor_signs(pinned: World) -> None:
    pinned.pin(PUBLISHER, state=PinState.RETIRED)
    pinned.pin(SECOND)
    pinned.say(pinned.old, publication(1 << 40), PUBLISHER)
    pinned.say(pinned.new, publication(2), SECOND)
    assert pinned.published(pinned.new).standing is HOLDS
    assert pinned.published(pinned.old).standing is STALE


def test_a_revoked_key_holds_nothing_back(pinned: World) -> None:
    pinned.say(pinned.old, publication(1 << 40), PUBLISHER)
    assert pinned.published(pinned.old).standing is HOLDS  # and it is recorded
    pinned.pin(PUBLISHER, state=PinState.REVOKED)
    pinned.pin(SECOND)
    pinned.say(pinned.new, publication(2), SECOND)
    assert pinned.published(pinned.new).standing is HOLDS
    assert pinned.published(pinned.old).standing is REFUSED


def test_each_ref_has_numbers_of_its_own(pinned: World) -> None:
    pinned.say(pinned.old, publication(1, ref="v1"), PUBLISHER)
    pinned.say(pinned.new, publication(7, ref="main"), PUBLISHER)
    assert pinned.published(pinned.old).why == "number 1 of v1"
    assert pinned.published(pinned.old).standing is HOLDS


def test_one_number_for_two_revisions(pinned: World) -> None:
    for revision in (pinned.old, pinned.new):
        pinned.say(revision, publication(3), PUBLISHER)
    why = "its keys signed two revisions as number 3 of main"
    for revision in (pinned.old, pinned.new):
        wanted = ClaimState(PUB, REFUSED, (PUBLISHER.label,), why=why)
        assert state(pinned, PUB, revision) == wanted


@both
def test_expired(pinned: World, claim: Claim) -> None:
    pinned.say(pinned.old, good(claim, pinned.old, expires=PAST), signer(claim))
    why = f"it expired at {PAST}"
    wanted = ClaimState(claim, STALE, (signer(claim).label,), PAST, why)
    assert state(pinned, claim, pinned.old) == wanted


@both
def test_it_expires_at_that_second(pinned: World, claim: Claim) -> None:
    pinned.say(pinned.old, good(claim, pinned.old, expires="2026-11-30T12:00:01Z"), signer(claim))
    assert state(pinned, claim, pinned.old).standing is HOLDS
    said = good(claim, pinned.copy, expires="2026-11-30T12:00:00Z")
    pinned.say(pinned.copy, said, signer(claim))
    assert state(pinned, claim, pinned.copy).standing is STALE


@both
def test_a_key_that_is_revoked(pinned: World, claim: Claim) -> None:
    role, name = (PinRole.PUBLISHER, "org") if claim is PUB else (PinRole.OBSERVER, "*")
    pinned.say(pinned.old, good(claim, pinned.old), signer(claim))
    pinned.pin(signer(claim), role, name, state=PinState.REVOKED)
    why = f"the key {signer(claim).label} was revoked at {PAST}"
    who = (signer(claim).label,) if claim is PUB else ()
    assert state(pinned, claim, pinned.old) == ClaimState(claim, REFUSED, who, why=why)


@both
def test_a_key_that_is_retired(pinned: World, claim: Claim) -> None:
    role, name = (PinRole.PUBLISHER, "org") if claim is PUB else (PinRole.OBSERVER, "*")
    pinned.say(pinned.old, good(claim, pinned.old), signer(claim))
    pinned.pin(signer(claim), role, name, state=PinState.RETIRED)
    found = state(pinned, claim, pinned.old)
    if claim is PUB:
        why = "its publisher has another key since"
        assert found == ClaimState(PUB, STALE, (PUBLISHER.label,), PAST, why)
    else:
        assert found.standing is REFUSED


@pytest.mark.parametrize("claim", [PUB, OBS])
@pytest.mark.parametrize("key", [PUBLISHER, SECOND])
def test_a_manifest_that_is_revoked(pinned: World, claim: Claim, key: MemoryKey) -> None:
    pinned.pin(SECOND, PinRole.REVOKER, "*")
    pinned.say(pinned.old, good(claim, pinned.old), signer(claim))
    pinned.say(pinned.old, revocation(), key)
    found = pinned.claims(pinned.old)
    assert found.revoked == f"it has a backdoor (by {key.label}, {LATER})"
    assert found[claim].standing is HOLDS  # what was said stays said
    assert pinned.claims(pinned.new).revoked == pinned.claims(pinned.copy).revoked == ""


@pytest.mark.parametrize("wrong", ["key", "role", "name", "revision", "revoked key"])
def test_a_revocation_that_does_not_count(pinned: World, wrong: str) -> None:
    data = {
        "key": statement(pinned.old, revocation(), STRANGER),
        "role": statement(pinned.old, revocation(), OBSERVER),
        "name": statement(pinned.copy, revocation(), PUBLISHER),
        "revision": statement(pinned.new, revocation(), PUBLISHER),
        "revoked key": statement(pinned.old, revocation(), PUBLISHER),
    }[wrong]
    if wrong == "revoked key":
        pinned.pin(PUBLISHER, state=PinState.REVOKED)
    pinned.keep(pinned.old, data)
    assert pinned.claims(pinned.old).revoked == ""
    assert not pinned.archive.revocations.all()


@both
def test_one_of_two_signatures(pinned: World, claim: Claim) -> None:
    pinned.needed = Needed(2, 2)
    second = SECOND if claim is PUB else WITNESS
    pinned.say(pinned.old, good(claim, pinned.old), signer(claim), STRANGER)
    keys = "keys that are needed signed it" if claim is PUB else "observers that are needed saw it"
    wanted = ClaimState(claim, REFUSED, (signer(claim).label,), why=f"1 of the 2 {keys}")
    assert state(pinned, claim, pinned.old) == wanted
    if claim is PUB:
        pinned.pin(SECOND)
    pinned.say(pinned.old, good(claim, pinned.old), second)  # in an envelope of its own
    found = state(pinned, claim, pinned.old)
    assert found.standing is HOLDS
    assert set(found.who) == {signer(claim).label, second.label}


@both
def test_one_key_that_signs_twice_is_one_key(pinned: World, claim: Claim) -> None:
    pinned.needed = Needed(2, 2)
    pinned.say(pinned.old, good(claim, pinned.old), signer(claim))
    pinned.say(pinned.old, good(claim, pinned.old), signer(claim), STRANGER)
    pinned.pin(signer(claim), PinRole.PUBLISHER if claim is PUB else PinRole.OBSERVER, "org/name")
    assert state(pinned, claim, pinned.old).standing is REFUSED


def test_two_keys_that_sign_two_numbers_do_not_agree(pinned: World) -> None:
    pinned.needed = Needed(2, 1)
    pinned.pin(SECOND)
    pinned.say(pinned.old, publication(1), PUBLISHER)
    pinned.say(pinned.old, publication(2), SECOND)
    assert pinned.published(pinned.old).standing is REFUSED


@both
def test_a_bad_statement_takes_nothing_from_a_good_one(pinned: World, claim: Claim) -> None:
    pinned.say(pinned.old, good(claim, pinned.old), signer(claim))
    wanted = state(pinned, claim, pinned.old)
    pinned.say(pinned.old, good(claim, pinned.old), STRANGER)
    pinned.keep(pinned.old, statement(pinned.copy, good(claim, pinned.old), signer(claim)))
    pinned.keep(pinned.old, b"{")
    assert state(pinned, claim, pinned.old) == wanted


def test_an_observation_of_another_commit(pinned: World) -> None:
    assert pinned.new.commit is not None
    pinned.say(pinned.old, observation(pinned.new), OBSERVER)
    wanted = ClaimState(OBS, REFUSED, why=f"it is about commit {pinned.new.commit.hex[:12]}")
    assert state(pinned, OBS, pinned.old) == wanted


def test_an_observation_of_other_files(pinned: World) -> None:
    said = observation(pinned.new)
    pinned.say(pinned.old, dataclasses.replace(said, commit=pinned.old.id), OBSERVER)
    wanted = ClaimState(OBS, REFUSED, why="the hub listed other files than the manifest")
    assert state(pinned, OBS, pinned.old) == wanted


# How a statement is written


def reordered(data: bytes) -> bytes:
    said = json.loads(data)
    return json.dumps(dict(reversed(said.items())), separators=(",", ":")).encode()


def doubled(data: bytes) -> bytes:
    return data[:1] + data[1:].partition(b",")[0] + b"," + data[1:]


def spaced(data: bytes) -> bytes:
    return data.replace(b'","', b'", "', 1) if b'","' in data else data + b" "


WRITTEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda data: data[:-1], "not JSON: "),
    "longer": (lambda data: data + b"\n", " is not canonical JSON"),
    "reordered": (reordered, " is not canonical JSON"),
    "duplicate keys": (doubled, "JSON with a key given twice"),
    "not canonical": (spaced, " is not canonical JSON"),
    "empty": (lambda _: b"", "not JSON: "),
    "not UTF-8": (lambda data: data[:-1] + b"\xff}", "not JSON: "),
    "another": (lambda _: b"{}", ""),
    "a list": (lambda _: b"[]", " is not a JSON object"),
    "NaN": (lambda data: b'{"a":NaN,' + data[1:], "JSON with NaN"),
    "a huge number": (lambda data: b'{"a":1' + b"0" * 5000 + b"," + data[1:], ""),
    "a fraction that is none": (lambda data: b'{"a":1e999,' + data[1:], ""),
    "deep": (lambda _: b'{"a":' + b"[" * 100_000, "JSON of more than 64"),
    "half of a pair": (lambda data: b'{"a":"\\ud800",' + data[1:], " is not canonical JSON"),
}


@both
def test_an_envelope_that_is_written_otherwise(pinned: World, claim: Claim) -> None:
    data = statement(pinned.old, good(claim, pinned.old), signer(claim))
    for name, (change, why) in WRITTEN.items():
        pinned.keep(pinned.old, change(data))
        assert is_unread(state(pinned, claim, pinned.old), why), name
        pinned.forget(pinned.old)


@both
def test_a_statement_that_is_written_otherwise_and_signed(pinned: World, claim: Claim) -> None:
    payload = Statement(pinned.old.repo, pinned.old.digest, good(claim, pinned.old)).to_bytes()
    for name, (change, why) in WRITTEN.items():
        pinned.keep(pinned.old, envelope(change(payload), signer(claim)))
        assert is_unread(state(pinned, claim, pinned.old), why), name
        pinned.forget(pinned.old)


def is_unread(found: ClaimState, why: str = "") -> bool:
    """Whether a statement makes no claim because it cannot be read, for that reason."""
    nothing = (found.standing, found.who, found.since) == (ABSENT, (), "")
    return nothing and found.why.startswith(UNREAD) and why in found.why


PARTS: list[tuple[tuple[Any, ...], Any]] = [
    (("_type",), "https://in-toto.io/Statement/v0.1"),
    (("predicateType",), "urn:outlast:publication:v2"),
    (("predicateType",), 7),
    (("predicate",), []),
    (("predicate", "more"), 1),
    (("subject",), []),
    (("subject", 0, "name"), "org/name"),
    (("subject", 0, "name"), "models/org/name/"),
    (("subject", 0, "digest"), {"sha512": "0" * 128}),
    (("subject", 0, "digest", "sha256"), "0" * 63),
    (("subject", 0, "digest", "sha1"), "0" * 40),
    (("more",), 1),
]
VALUES: list[tuple[str, Any]] = [
    ("sequence", 0),
    ("sequence", -1),
    ("sequence", 1.5),
    ("sequence", True),
    ("sequence", "1"),
    ("ref", "../main"),
    ("ref", ""),
    ("made", "2026-02-30T00:00:00Z"),
    ("made", "2026-11-01T00:00:00+00:00"),
    ("made", "9999-99-99T99:99:99Z"),
    ("keys", []),
    ("keys", ["ssh-ed25519 AAAA"]),
    ("keys", [PUBLISHER.key.line] * 2),
    ("expires", ""),
    ("expires", None),
]


@both
def test_a_statement_with_other_parts_that_is_signed(pinned: World, claim: Claim) -> None:
    payload = Statement(pinned.old.repo, pinned.old.digest, good(claim, pinned.old)).to_bytes()
    for where, value in PARTS:
        document = at = json.loads(payload)
        for step in where[:-1]:
            at = at[step]
        at[where[-1]] = value
        pinned.keep(pinned.old, envelope(rfc8785.dumps(document), signer(claim)))
        assert is_unread(state(pinned, claim, pinned.old)), (where, value)
        pinned.forget(pinned.old)


def test_a_publication_with_values_that_it_may_not_have(pinned: World) -> None:
    payload = Statement(pinned.old.repo, pinned.old.digest, publication()).to_bytes()
    for key, value in VALUES:
        document = json.loads(payload)
        document["predicate"][key] = value
        pinned.keep(pinned.old, envelope(rfc8785.dumps(document), PUBLISHER))
        assert is_unread(pinned.published(pinned.old)), (key, value)
        pinned.forget(pinned.old)


@pytest.mark.parametrize("value", ["", " ", "two\nlines", "a\u202eb", "x" * 301, "\x1b[2J"])
def test_a_revocation_whose_reason_is_no_line(pinned: World, value: str) -> None:
    document = json.loads(Statement(pinned.old.repo, pinned.old.digest, revocation()).to_bytes())
    document["predicate"]["reason"] = value
    pinned.keep(pinned.old, envelope(rfc8785.dumps(document), PUBLISHER))
    assert pinned.claims(pinned.old).revoked == ""


def test_an_envelope_of_another_payload_type(pinned: World) -> None:
    said = json.loads(statement(pinned.old, publication(), PUBLISHER))
    said["payloadType"] = "application/json"
    pinned.keep(pinned.old, rfc8785.dumps(said))
    assert pinned.published(pinned.old).standing is ABSENT


def test_a_signature_without_the_preauthentication_encoding_does_not_count(pinned: World) -> None:
    said = json.loads(statement(pinned.old, publication(), PUBLISHER))
    bare = PUBLISHER.sign(base64.b64decode(said["payload"]))
    said["signatures"][0]["sig"] = base64.b64encode(bare).decode()
    pinned.keep(pinned.old, rfc8785.dumps(said))
    why = f"the signature of {PUBLISHER.label} does not match"
    assert pinned.published(pinned.old) == ClaimState(PUB, REFUSED, why=why)


# What this archive itself saw


def seen(world: World, revision: Revision, *, listing: Digest | None = None) -> None:
    found = listing or listing_digest(entries_of(revision))
    row = SeenRevision(revision.id, HUB, "2026-11-03T00:00:00+00:00", found)
    with world.archive.writer() as writer:
        rows = (world.archive.seen.get(revision.repo) or SeenRevisions()).with_one(row)
        world.archive.seen.put(writer, revision.repo, rows)


def test_what_was_pulled_from_a_hub_is_observed_by_you(pinned: World) -> None:
    seen(pinned, pinned.old)
    wanted = ClaimState(OBS, HOLDS, ("you",), "2026-11-03T00:00:00+00:00", f"at {HUB}")
    assert state(pinned, OBS, pinned.old) == wanted
    assert pinned.observed(pinned.new).standing is ABSENT


def test_other_files_of_a_commit_that_was_pulled_are_not_observed(pinned: World) -> None:
    seen(pinned, pinned.old, listing=Digest("0" * 64))
    why = "a hub listed other files of this commit to this archive"
    assert state(pinned, OBS, pinned.old) == ClaimState(OBS, REFUSED, why=why)


def test_you_are_one_of_two_observers(pinned: World) -> None:
    pinned.needed = Needed(1, 2)
    seen(pinned, pinned.old)
    found = state(pinned, OBS, pinned.old)
    assert (found.standing, found.who) == (REFUSED, ("you",))
    pinned.say(pinned.old, observation(pinned.old), OBSERVER)
    found = state(pinned, OBS, pinned.old)
    assert (found.standing, found.who) == (HOLDS, (OBSERVER.label, "you"))


# Intact


def test_a_damaged_file_is_not_intact_whatever_was_signed(pinned: World) -> None:
    pinned.say(pinned.old, publication(), PUBLISHER)
    entry = pinned.old.files[0]
    assert entry.sha256 is not None
    pinned.archive.damage.note(Damage(entry.sha256, Form.PLAIN, Why.ROT, "a test"))
    found = pinned.claims(pinned.old)
    wanted = ClaimState(Claim.INTACT, REFUSED, why="1 of 2 files are damaged here")
    assert found[Claim.INTACT] == wanted
    assert found[PUB].standing is HOLDS


def test_a_file_that_is_gone_is_not_intact(pinned: World) -> None:
    entry = pinned.old.files[0]
    assert entry.sha256 is not None
    pinned.archive.layout.blob(entry.sha256).unlink()
    found = pinned.claims(pinned.old)[Claim.INTACT]
    assert found == ClaimState(Claim.INTACT, ABSENT, why="1 files are not here")


# Listed

SIGNED = (PUBLISHER, SECOND)


def catalogue(world: World, data: bytes, *, needed: int = 1) -> ClaimState:
    world.listers = [SmallCatalogue(data, SIGNED, needed)]
    found = world.claims(world.old)
    assert found[PUB].standing is found[OBS].standing is ABSENT
    return found[LIST]


def test_listed(world: World) -> None:
    rows = [(world.old, 1)]
    assert catalogue(world, SmallCatalogue.of(rows, PUBLISHER)) == ClaimState(
        LIST, HOLDS, ("test",)
    )
    assert world.claims(world.copy)[LIST].standing is ABSENT  # replayed under another model
    assert world.claims(world.new)[LIST].standing is ABSENT


@pytest.mark.parametrize("name", ["truncated", "reordered", "duplicate keys", "not canonical"])
def test_a_catalogue_that_is_written_otherwise_lists_nothing(world: World, name: str) -> None:
    change, _ = WRITTEN[name]
    found = catalogue(world, change(SmallCatalogue.of([(world.old, 1)], PUBLISHER)))
    assert found.standing is ABSENT


def test_a_catalogue_with_something_wrong(world: World) -> None:
    rows = [(world.old, 1)]
    of = SmallCatalogue.of
    assert catalogue(world, of(rows, STRANGER)).standing is REFUSED  # wrong key
    assert catalogue(world, of(rows, PUBLISHER), needed=2).standing is REFUSED  # one of two
    assert catalogue(world, of(rows, *SIGNED), needed=2).standing is HOLDS
    assert catalogue(world, of([(world.copy, 1)], PUBLISHER)).standing is ABSENT  # wrong name
    newer = of([*rows, (world.new, 2)], PUBLISHER)
    assert catalogue(world, newer) == ClaimState(LIST, SUPERSEDED, ("test",), why="2")
    expired = catalogue(world, of(rows, PUBLISHER, expires=PAST))
    assert expired == ClaimState(LIST, STALE, ("test",), PAST)


def test_the_best_of_several_catalogues_counts(world: World) -> None:
    bad = SmallCatalogue(b"", SIGNED)
    stale = SmallCatalogue(SmallCatalogue.of([(world.old, 1)], PUBLISHER, expires=PAST), SIGNED)
    fine = SmallCatalogue(SmallCatalogue.of([(world.old, 1)], PUBLISHER), SIGNED)
    world.listers = [bad, stale]
    assert world.claims(world.old)[LIST].standing is STALE
    world.listers = [bad, stale, fine]
    assert world.claims(world.old)[LIST].standing is HOLDS


def test_a_revocation_stops_what_a_catalogue_lists(world: World) -> None:
    world.pin(SECOND, PinRole.REVOKER, "*")
    world.say(world.old, revocation(), SECOND)
    assert catalogue(world, SmallCatalogue.of([(world.old, 1)], PUBLISHER)).standing is HOLDS
    assert world.claims(world.old).revoked
    assert world.archive.revocations.stops(world.old.repo, world.old.id) is not None


def test_a_revoked_commit_is_no_way_around(world: World) -> None:
    """A manifest with fewer files of it is another manifest."""
    world.pin(PUBLISHER)
    world.say(world.old, revocation(), PUBLISHER)
    world.claims(world.old)
    assert GitOid("1" * 40) == world.old.commit
    fewer = Revision.of(world.old.repo, world.old.commit, world.old.files[:1])
    assert world.assessor().claims(fewer.digest, fewer).revoked
