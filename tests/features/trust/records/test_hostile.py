"""Statements and pins from a stranger or a broken disk: no claim that does not hold, no traceback,
and no more time or memory than their bytes are worth.
"""

import base64
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.claims import Claim, Standing
from outlast.core.digest import Digest
from outlast.core.errors import BadKeyError, MalformedError, PolicyError
from outlast.features.trust.checks import findings
from outlast.features.trust.keys.pins import Pins, PinState
from outlast.features.trust.keys.public import parse_public_key
from outlast.features.trust.keys.verifying import verify
from outlast.features.trust.records.dsse import DsseEnvelope
from outlast.features.trust.records.key_statements import Rotation, signed
from outlast.features.trust.records.making import take
from outlast.features.trust.records.statement import Predicate, Statement
from outlast.ops.doctor import Health
from outlast.store.archive import Archive
from outlast.store.records.attestations import MAX_ATTESTATION, MOST, SUFFIX
from tests.features.trust.world import (
    MADE,
    NEXT,
    OBSERVER,
    PUBLISHER,
    RECOVERY,
    World,
    envelope,
    observation,
    publication,
    revocation,
    statement,
)

SIGNATURE = b'{"keyid":"SHA256:x","sig":"AAAA"}'
SECONDS = 1.0
"""CPU time for one statement, generously: the bound is that it does not grow with what it says."""


SUBJECT = b'{"digest":{"sha256":"' + b"0" * 64 + b'"},"name":"models/org/name"}'
HEAD = b'{"_type":"https://in-toto.io/Statement/v1","predicate":{},"predicateType":"x","subject":['
HUGE: dict[str, Callable[[], bytes]] = {
    "a million subjects": lambda: HEAD + b",".join([SUBJECT] * 1_000_000) + b"]}",
    "7,000 subjects": lambda: HEAD + b",".join([SUBJECT] * 7_000) + b"]}",
    "nested": lambda: b"[" * 500_000 + b"]" * 500_000,
    "nested objects": lambda: b'{"a":' * 60 + b"1" + b"}" * 60,
    "a huge integer": lambda: b'{"a":' + b"9" * 1_000_000 + b"}",
    "4,000 digits": lambda: b'{"a":' + b"9" * 4_000 + b"}",
    "many values": lambda: b"[" + b"1," * 400_000 + b"1]",
    "one text": lambda: b'{"a":"' + b"a" * 1_000_000 + b'"}',
    "escapes": lambda: b'{"a":"' + b"\\u0041" * 150_000 + b'"}',
    "not UTF-8": lambda: b'{"a":"\xff\xfe"}',
    "a surrogate": lambda: b'{"a":"\\udc80"}',
    "UTF-16": lambda: '{"a":1}'.encode("utf-16"),
    "NaN": lambda: b'{"a":NaN}',
    "-0": lambda: b'{"a":-0.0}',
    "1e400": lambda: b'{"a":1e400}',
}
"""Envelopes and payloads that are more than any reader needs."""


@pytest.mark.parametrize("name", HUGE)
def test_what_is_too_much_is_refused_at_once(name: str) -> None:
    data = HUGE[name]()
    began = time.process_time()
    for read in (DsseEnvelope.read, Statement.read, Rotation.read):
        with pytest.raises(MalformedError):
            read(data)
    assert time.process_time() - began < SECONDS


def test_a_hundred_thousand_signatures() -> None:
    head = b'{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":['
    for count in (17, 63, 20_000, 100_000):
        with pytest.raises(MalformedError):
            DsseEnvelope.read(head + b",".join([SIGNATURE] * count) + b"]}")


def test_sixteen_long_signatures_cost_little(pinned: World) -> None:
    """Each claims to be of the pinned key, or of another one."""
    said = json.loads(statement(pinned.old, publication(), PUBLISHER))
    rows = [
        {"keyid": f"{PUBLISHER.id}{number:02}", "sig": base64.b64encode(b"s" * 30_000).decode()}
        for number in range(15)
    ]
    said["signatures"] = sorted([*said["signatures"], *rows], key=lambda row: row["keyid"])
    pinned.keep(pinned.old, rfc8785.dumps(said))
    began = time.process_time()
    assert pinned.published(pinned.old).holds
    assert time.process_time() - began < SECONDS


def test_as_many_statements_as_there_may_be(pinned: World) -> None:
    folder = pinned.archive.layout.attestations / pinned.old.digest.hex
    folder.mkdir(parents=True)
    for number in range(MOST + 10):  # more than `add` takes
        data = statement(pinned.old, publication(number + 1), RECOVERY)
        (folder / f"{Digest.of(data)}{SUFFIX}").write_bytes(data)
    began = time.process_time()
    assert pinned.published(pinned.old).standing is Standing.REFUSED
    assert time.process_time() - began < 5 * SECONDS
    with pytest.raises(PolicyError, match="statements about"):
        pinned.say(pinned.old, publication(), PUBLISHER)


def test_files_below_attestations_that_are_no_statements(pinned: World) -> None:
    pinned.say(pinned.old, publication(), PUBLISHER)
    folder = pinned.archive.layout.attestations / pinned.old.digest.hex
    (good,) = folder.iterdir()
    (folder / "note.txt").write_text("hello")
    (folder / f"{'1' * 64}{SUFFIX}").write_bytes(good.read_bytes())  # under another name
    os.mkfifo(folder / f"{'2' * 64}{SUFFIX}")
    (folder / f"{'3' * 64}{SUFFIX}").mkdir()
    (folder / f"{'4' * 64}{SUFFIX}").symlink_to(folder / "nowhere")
    (folder / f"{'5' * 64}{SUFFIX}").symlink_to(f"{'5' * 64}{SUFFIX}")
    (folder / f"{'6' * 64}{SUFFIX}").write_bytes(b"{}" * MAX_ATTESTATION)
    (pinned.archive.layout.attestations / "README").write_text("hello")
    os.mkfifo(pinned.archive.layout.attestations / pinned.new.digest.hex)
    assert pinned.published(pinned.old).holds
    assert pinned.published(pinned.new).standing is Standing.ABSENT
    faults = list(pinned.archive.attestations.faults())
    assert len(faults) == 9
    (finding, *_) = [f for f in findings(pinned.archive) if f.check == "attestations"]
    assert finding.health is Health.WRONG
    assert "9 signed statements are damaged" in finding.text


def test_a_statement_under_another_name_does_not_count(pinned: World) -> None:
    pinned.say(pinned.old, publication(), PUBLISHER)
    (path,) = (pinned.archive.layout.attestations / pinned.old.digest.hex).iterdir()
    path.rename(path.with_name(f"{'1' * 64}{SUFFIX}"))
    assert pinned.published(pinned.old).standing is Standing.ABSENT


def test_a_flipped_bit_of_a_statement_is_damage_and_no_claim(pinned: World) -> None:
    pinned.say(pinned.old, publication(), PUBLISHER)
    (path,) = (pinned.archive.layout.attestations / pinned.old.digest.hex).iterdir()
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    assert pinned.published(pinned.old).standing is Standing.ABSENT
    assert len(list(pinned.archive.attestations.faults())) == 1


@pytest.mark.parametrize("what", ["flipped", "empty", "long", "missing", "folder", "pipe", "link"])
@pytest.mark.parametrize("both", [False, True])
def test_a_damaged_pin(pinned: World, what: str, *, both: bool) -> None:
    pinned.say(pinned.old, publication(), PUBLISHER)
    layout = pinned.archive.layout
    (path,) = (layout.trust / "pins" / "org").iterdir()
    second = layout.second_of(path)
    for file in (path, second) if both else (path,):
        data = bytearray(file.read_bytes())
        file.unlink()
        if what == "flipped":
            data[30] ^= 4
            file.write_bytes(data)
        elif what in {"empty", "long"}:
            file.write_bytes(b"" if what == "empty" else b"{}" * (1 << 20))
        elif what == "folder":
            file.mkdir()
        elif what == "pipe":
            os.mkfifo(file)
        elif what == "link":
            file.symlink_to("/nowhere")
    assert pinned.published(pinned.old).holds is not both
    gone = what == "missing"
    (finding, *_) = [f for f in findings(pinned.archive) if f.check == "pins"]
    assert (finding.health is Health.WRONG) is (both and not gone)


def test_a_pin_under_another_name_does_not_count(pinned: World) -> None:
    pinned.say(pinned.copy, publication(), RECOVERY)
    pinned.pin(RECOVERY, namespace="else")
    root = pinned.archive.layout.trust / "pins"
    for folder in (root, pinned.archive.layout.second_of(root)):
        (path,) = (folder / "else").iterdir()
        (folder / "org" / path.name).write_bytes(path.read_bytes())
    assert not pinned.published(pinned.copy).holds
    assert len(Pins(pinned.archive).damaged()) == 1


def test_a_pin_that_was_revoked_is_not_revived_by_its_own_older_copy(pinned: World) -> None:
    pinned.say(pinned.old, publication(), PUBLISHER)
    layout = pinned.archive.layout
    (path,) = (layout.trust / "pins" / "org").iterdir()
    pinned.pin(PUBLISHER, state=PinState.REVOKED)
    path.write_bytes(path.read_bytes()[:-3])
    assert not pinned.published(pinned.old).holds


def test_statements_of_others_leave_room_for_the_operators(pinned: World) -> None:
    folder = pinned.archive.layout.attestations / pinned.old.digest.hex
    folder.mkdir(parents=True)
    for number in range(192):
        (folder / f"{number:064x}{SUFFIX}").write_bytes(b"")
    data = statement(pinned.old, publication(), PUBLISHER)
    with pytest.raises(PolicyError, match="192 statements"):
        take(pinned.archive, data)
    assert take(pinned.archive, data, most=MOST).is_new
    assert not take(pinned.archive, data, most=MOST).is_new
    assert pinned.published(pinned.old).holds


# At random


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all examples, which clear away what they wrote."""
    with Archive(tmp_path_factory.mktemp("shared") / "home", create=True) as archive:
        world = World.fill(archive)
        world.pin(PUBLISHER)
        yield world


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with a few bytes that are changed, left out, added or moved."""
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(found) - 1)))
        size = draw(st.sampled_from([1, 1, 2, 8, 64]))
        how = draw(st.sampled_from(["flip", "cut", "add", "copy", "end"]))
        if how == "flip" and found:
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del found[at : at + size]
        elif how == "add":
            found[at:at] = draw(st.binary(min_size=1, max_size=size))
        elif how == "copy":
            found[at:at] = found[:size]
        else:
            del found[at:]
    return bytes(found)


@given(st.data())
def test_no_mutation_of_a_good_envelope_holds(shared: World, data: st.DataObject) -> None:
    kinds: list[Predicate] = [publication(), observation(shared.old), revocation()]
    said = data.draw(st.sampled_from(kinds))
    good = statement(shared.old, said, PUBLISHER)
    bad = data.draw(mutated(good))
    if bad == good:
        return
    check(shared, bad)


@given(st.data())
def test_no_mutation_of_a_payload_keeps_its_signature(shared: World, data: st.DataObject) -> None:
    payload = Statement(shared.old.repo, shared.old.digest, publication()).to_bytes()
    bad = data.draw(mutated(payload))
    if bad == payload:
        return
    signature = DsseEnvelope.read(envelope(payload, PUBLISHER)).signatures
    check(shared, DsseEnvelope(bad, signature).to_bytes())


def check(world: World, bad: bytes) -> None:
    """It makes no claim, is no revocation, and every part says so in its own error."""
    folder = world.archive.layout.attestations / world.old.digest.hex
    try:
        world.keep(world.old, bad)
        found = world.claims(world.old)
        assert found.held == (Claim.INTACT,)
        assert found.revoked == ""
        for state in found.states:
            assert "\n" not in state.why
    finally:
        for path in folder.iterdir():
            path.unlink()


@given(st.binary(max_size=300))
def test_bytes_that_are_no_signature(data: bytes) -> None:
    for start in (b"", b"SSHSIG", b"SSHSIG\0\0\0\1", b"untrusted comment:"):
        assert not verify(PUBLISHER.key, b"message", start + data)


@given(st.text(max_size=200))
def test_text_that_is_no_key(text: str) -> None:
    for start in (
        "",
        "ssh-ed25519 ",
        "RW",
        "untrusted comment: x\n",
        "-----BEGIN PUBLIC KEY-----\n",
    ):
        with contextlib.suppress(BadKeyError):
            assert parse_public_key(start + text).fingerprint.startswith("SHA256:")


@given(st.data())
def test_no_mutation_of_a_rotation_is_one(data: st.DataObject) -> None:
    good = signed(Rotation("org", NEXT.key, OBSERVER.key, MADE).to_bytes(), OBSERVER)
    bad = data.draw(mutated(good))
    if bad != good:
        with pytest.raises(MalformedError):
            Rotation.read(bad)
