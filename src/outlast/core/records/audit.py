"""What an audit found of an endpoint: whether the model that answers there is the one that it
claims to be.

The record is a statement about the manifest of the weights that the endpoint was compared with, and
lies among the attestations of that manifest. Format: docs/format/audit-records.md.
"""

import base64
import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self
from urllib.parse import urlsplit

import rfc8785

from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.core.manifest import load_json

AUDIT_TYPE: Final = "urn:outlast:audit:v1"
MAX_AUDIT: Final = 64 * 1024
"""Bytes of one record with its envelope. Guess: one takes 1 KB."""
_PAYLOAD: Final = "application/vnd.in-toto+json"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_CONTAINERS: Final = 64
_MOST_TEXT: Final = 500
_MOST_URL: Final = 2048
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")


class AuditVerdict(StrEnum):
    """What an audit comes to."""

    CONSISTENT = "consistent"
    """Nothing shows that other weights answer."""
    DIVERGENT = "divergent"
    """Other weights answer, or these do so otherwise than they should."""
    INCONCLUSIVE = "inconclusive"
    """It cannot be told."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """`endpoint` is the URL up to ``/v1``, `model` the name that is asked for there, `manifest`
    that of the weights that it was compared with. `time` and `expires`: seconds since 1970, whole;
    once it has expired, it says nothing. `note`: one line for a person.
    """

    endpoint: str
    model: str
    manifest: Digest
    verdict: AuditVerdict
    time: int
    expires: int
    note: str = ""

    def to_bytes(self) -> bytes:
        """The statement in an envelope of DSSE without a signature, as canonical JSON."""
        payload = rfc8785.dumps(
            {
                "_type": _STATEMENT,
                "predicate": {
                    "endpoint": self.endpoint,
                    "expires": _written(self.expires),
                    "model": self.model,
                    "note": self.note,
                    "time": _written(self.time),
                    "verdict": self.verdict.value,
                },
                "predicateType": AUDIT_TYPE,
                "subject": [{"digest": {"sha256": self.manifest.hex}}],
            }
        )
        envelope = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD,
            "signatures": [],
        }
        return rfc8785.dumps(envelope)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """The inverse; None for a statement of another type. Signatures of the envelope are not
        looked at. Raises :class:`MalformedError`.
        """
        envelope = load_json(data, MAX_AUDIT, containers=_CONTAINERS)
        if not isinstance(envelope, dict) or not isinstance(envelope.get("payload"), str):
            return None
        try:
            payload = base64.b64decode(envelope["payload"], validate=True)
        except ValueError:
            raise MalformedError("the payload of an envelope is not base64") from None
        document = load_json(payload, MAX_AUDIT, containers=_CONTAINERS)
        if not isinstance(document, dict) or document.get("predicateType") != AUDIT_TYPE:
            return None
        said = _only(document.get("predicate"))
        record = cls(
            _url(said["endpoint"]),
            _line(said["model"], empty=False),
            _subject(document.get("subject")),
            _verdict(said["verdict"]),
            _read(said["time"]),
            _read(said["expires"]),
            _line(said["note"], empty=True),
        )
        if record.expires < record.time:
            raise MalformedError("an audit record expires before it was made")
        return record


def divergence(record: AuditRecord | None, now: float) -> str:
    """Why an endpoint should not be asked at `now` (seconds since 1970), by the newest record about
    it; "" where it may be.
    """
    if record is None or record.verdict is not AuditVerdict.DIVERGENT or now >= record.expires:
        return ""
    note = f": {record.note}" if record.note else ""
    return f"an audit of {_written(record.time)[:10]} found other weights there{note}"


def _only(said: object) -> dict[str, Any]:
    keys = {"endpoint", "expires", "model", "note", "time", "verdict"}
    if not isinstance(said, dict) or said.keys() != keys:
        raise MalformedError("an audit record has other keys")
    return said


def _subject(said: Any) -> Digest:
    try:
        (subject,) = said
        return Digest(subject["digest"]["sha256"])
    except (ValueError, TypeError, LookupError):
        raise MalformedError("an audit record is about one manifest") from None


def _line(value: object, *, empty: bool) -> str:
    if not isinstance(value, str) or len(value) > _MOST_TEXT or not (value or empty):
        raise MalformedError("a value of an audit record is no short text")
    if value and not value.isprintable():
        raise MalformedError("a value of an audit record is not of one line")
    return value


def _url(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MOST_URL or not value.isprintable():
        raise MalformedError("the endpoint of an audit record is no URL")
    try:
        parts = urlsplit(value)
    except ValueError:
        raise MalformedError("the endpoint of an audit record is no URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or value.endswith("/"):
        raise MalformedError("the endpoint of an audit record is no URL up to /v1")
    return value


def _verdict(value: object) -> AuditVerdict:
    try:
        return AuditVerdict(_line(value, empty=False))
    except ValueError:
        raise MalformedError("an unknown verdict in an audit record") from None


def _written(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(value: object) -> int:
    if not isinstance(value, str) or not _TIME.match(value):
        raise MalformedError("a time of an audit record is none in UTC")
    try:
        return int(dt.datetime.fromisoformat(value).timestamp())
    except (ValueError, OverflowError):
        raise MalformedError("a time of an audit record is none in UTC") from None
