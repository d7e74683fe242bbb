"""Records and timestamps from outside: read in one way, or refused."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.digest import Digest, GitOid
from outlast.core.errors import MalformedError
from outlast.core.names import RepoId
from outlast.features.trust.evidence.acquired import (
    AcquisitionRecord,
    NamedDigest,
    RulesInForce,
)
from outlast.features.trust.evidence.timestamp import MAX_RESPONSE, TimestampRecord, check
from outlast.features.trust.records.statement import read_statement

SHA = Digest.of(b"a")
RECORD = AcquisitionRecord(
    repo=RepoId.parse("org/m"),
    manifest=SHA,
    commit=GitOid("1" * 40),
    acquired="2026-11-30T12:00:00Z",
    source="https://hub.example",
    listing=SHA,
    fetched=(("https://hub.example", 7),),
    texts=(NamedDigest("LICENSE", SHA),),
    rules=RulesInForce("enforce", (NamedDigest("r.cedar", SHA, "rules"),)),
)
STAMP = TimestampRecord(RECORD.repo, SHA, SHA, "https://tsa.example", b"\x30\x00")
shown = st.text(st.characters(categories=("L", "N", "P")), max_size=40)
rows = st.lists(st.tuples(shown, st.integers(0, 2**53 - 1)), max_size=4)


def parsed(said: Any) -> AcquisitionRecord:
    return AcquisitionRecord.of(read_statement(rfc8785.dumps(said)))


@given(shown, shown, rows, st.booleans(), st.integers(0, 2**53 - 1))
def test_what_is_written_is_read(
    source: str, licence: str, fetched: list[tuple[str, int]], committed: bool, size: int
) -> None:
    record = replace(
        RECORD,
        source=source,
        licence=licence,
        fetched=tuple(fetched),
        commit=RECORD.commit if committed else None,
        size=size,
    )
    assert AcquisitionRecord.of(read_statement(record.to_bytes())) == record


@pytest.mark.parametrize(
    "change",
    [
        {"acquired": "yesterday"},
        {"acquired": "2026-13-30T12:00:00Z"},
        {"bytes": -1},
        {"bytes": True},
        {"commit": "zz"},
        {"fetched": {}},
        {"fetched": [{"from": "a"}]},
        {"fetched": [{"from": "a", "bytes": 1}] * 257},
        {"files": 1.5},
        {"key": "ssh-ed25519 AAAA"},
        {"licence": {"written": "mit"}},
        {"licence": {"written": "mit", "texts": [{"path": 7, "sha256": "0" * 64}]}},
        {"licence": {"written": "a\nb", "texts": []}},
        {"listing": {"sha256": "0"}},
        {"rules": []},
        {"rules": {"mode": "none", "files": [], "more": 1}},
        {"source": "s" * 301},
        {"verdict": "legal"},
    ],
    ids=str,
)
def test_what_is_no_record_is_refused(change: dict[str, Any]) -> None:
    said = json.loads(RECORD.to_bytes())
    parsed(said)
    said["predicate"].update(change)
    with pytest.raises(MalformedError):
        parsed(said)


@pytest.mark.parametrize("key", sorted(json.loads(RECORD.to_bytes())["predicate"]))
def test_each_key_is_needed(key: str) -> None:
    said = json.loads(RECORD.to_bytes())
    del said["predicate"][key]
    with pytest.raises(MalformedError):
        parsed(said)


def test_another_spelling_is_refused() -> None:
    with pytest.raises(MalformedError, match="canonical"):
        read_statement(json.dumps(json.loads(RECORD.to_bytes())).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"record": "0" * 64},
        {"response": "*"},
        {"response": 7},
        {"response": base64.b64encode(b"a" * (MAX_RESPONSE + 9)).decode()},
        {"server": "a\nb"},
        {"more": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_no_timestamp_is_refused(change: dict[str, Any]) -> None:
    said = json.loads(STAMP.to_bytes())
    assert TimestampRecord.of(said) == STAMP
    said["predicate"].update(change)
    with pytest.raises(MalformedError):
        TimestampRecord.of(said)


@given(st.binary(max_size=200))
def test_noise_is_no_answer(data: bytes) -> None:
    found = check(data, b"record", [])
    assert (found.is_checked, found.is_wrong) == (False, True)


def test_only_what_is_new_is_said_again() -> None:
    later = replace(RECORD, acquired="2027-01-01T00:00:00Z", fetched=(), outlast="9")
    assert later.says_no_more_than(RECORD)
    assert not replace(later, fetched=(("a", 1),)).says_no_more_than(RECORD)
    assert not replace(later, source="https://other.example").says_no_more_than(RECORD)
    assert not replace(later, listing=Digest.of(b"b")).says_no_more_than(RECORD)
    assert not replace(later, rules=RulesInForce()).says_no_more_than(RECORD)
