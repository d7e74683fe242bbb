"""Audit records: written in one way, and read within bounds."""

import base64
import json
from dataclasses import replace
from typing import Any, Final

import pytest
import rfc8785

from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.core.records.audit import AuditRecord, AuditVerdict, divergence

RECORD: Final = AuditRecord(
    "https://api.example.com/v1",
    "gpt-big",
    Digest("ab" * 32),
    AuditVerdict.DIVERGENT,
    1_796_040_000,
    1_796_640_000,
    "its log probabilities are those of a smaller model",
)


def payload_of(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(json.loads(data)["payload"]))
    return found


def enveloped(payload: object) -> bytes:
    text = base64.b64encode(rfc8785.dumps(payload)).decode()  # type: ignore[arg-type]
    return rfc8785.dumps(
        {"payload": text, "payloadType": "application/vnd.in-toto+json", "signatures": []}
    )


def test_it_is_read_as_it_was_written() -> None:
    data = RECORD.to_bytes()
    assert AuditRecord.from_bytes(data) == RECORD
    said = payload_of(data)
    assert said["predicateType"] == "urn:outlast:audit:v1"
    assert said["subject"] == [{"digest": {"sha256": "ab" * 32}}]
    assert said["predicate"] == {
        "endpoint": "https://api.example.com/v1",
        "expires": "2026-12-07T10:40:00Z",
        "model": "gpt-big",
        "note": "its log probabilities are those of a smaller model",
        "time": "2026-11-30T12:00:00Z",
        "verdict": "divergent",
    }


def test_statements_of_other_types_are_none() -> None:
    said = payload_of(RECORD.to_bytes())
    assert AuditRecord.from_bytes(enveloped({**said, "predicateType": "urn:other"})) is None
    assert AuditRecord.from_bytes(b'{"payload": 5}') is None
    assert AuditRecord.from_bytes(b"[]") is None


BAD: Final[dict[str, dict[str, Any]]] = {
    "verdict": {"verdict": "guilty"},
    "no url": {"endpoint": "ftp://x/v1"},
    "slash": {"endpoint": "https://x/v1/"},
    "lines": {"note": "a\nb"},
    "long": {"model": "m" * 501},
    "no model": {"model": ""},
    "time": {"time": "yesterday"},
    "no such day": {"time": "2026-02-31T00:00:00Z"},
    "backwards": {"expires": "2020-01-01T00:00:00Z"},
    "more": {"more": 1},
    "number": {"model": 5},
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_record_is_refused(name: str) -> None:
    said = payload_of(RECORD.to_bytes())
    said["predicate"].update(BAD[name])
    with pytest.raises(MalformedError):
        AuditRecord.from_bytes(enveloped(said))


@pytest.mark.parametrize("subject", [None, [], [{}], [{"digest": {"sha256": "x"}}], [1], [{}, {}]])
def test_it_is_about_one_manifest(subject: object) -> None:
    said = {**payload_of(RECORD.to_bytes()), "subject": subject}
    with pytest.raises(MalformedError):
        AuditRecord.from_bytes(enveloped(said))


def test_bounds_and_garbage() -> None:
    for data in (b"", b"{", b'{"payload": "*"}', b" " * 70_000, b'{"payload": "' + b"A" * 70_000):
        with pytest.raises(MalformedError):
            AuditRecord.from_bytes(data)


def test_only_a_divergent_record_that_holds_turns_away() -> None:
    now = RECORD.time + 10.0
    assert "2026-11-30" in divergence(RECORD, now)
    assert RECORD.note in divergence(RECORD, now)
    assert not divergence(RECORD, RECORD.expires)
    assert not divergence(None, now)
    for verdict in (AuditVerdict.CONSISTENT, AuditVerdict.INCONCLUSIVE):
        assert not divergence(replace(RECORD, verdict=verdict), now)
