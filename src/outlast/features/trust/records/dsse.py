"""Envelopes: DSSE v1 (secure-systems-lab/dsse), as canonical JSON and nothing else.

A signature is over the payload's exact bytes and its type, never over JSON that was read and
written again. Bytes come from outside: bounds are checked before memory is taken, and of each
envelope there is one spelling, so that a statement cannot come back under other digests.
"""

import base64
from dataclasses import dataclass
from typing import Any, Final, Self

import rfc8785

from outlast.core.errors import MalformedError
from outlast.core.manifest import load_json
from outlast.features.trust.keys.public import decode_base64
from outlast.store.records.attestations import MAX_ATTESTATION

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MOST_SIGNATURES: Final = 16
"""Of one envelope. Guess: a publisher's team; each is checked."""
_MOST_KEY_ID: Final = 128
_CONTAINERS: Final = 64
"""Objects and arrays of one document: it cannot be nested deeper either."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, and the fingerprint of the key that is said to have made it."""

    key_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class DsseEnvelope:
    """A payload with signatures over it, by `key_id`; none is believed yet."""

    payload: bytes
    signatures: tuple[Signature, ...]

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Raises :class:`MalformedError`."""
        document = strict_json(data, MAX_ATTESTATION, "the envelope")
        if set(document) != {"payload", "payloadType", "signatures"}:
            raise MalformedError("not an envelope of DSSE: it has other keys")
        if document["payloadType"] != PAYLOAD_TYPE:
            raise MalformedError("an envelope with a payload of another type")
        rows = document["signatures"]
        if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_SIGNATURES:
            raise MalformedError(f"an envelope has 1 to {MOST_SIGNATURES} signatures")
        signatures = tuple(map(_signature, rows))
        ids = [one.key_id for one in signatures]
        if ids != sorted(set(ids)):
            raise MalformedError("the signatures are not in order, or one key signed twice")
        return cls(decode_base64(_text(document["payload"])), signatures)

    @classmethod
    def of(cls, payload: bytes, signatures: list[Signature]) -> Self:
        """The envelope of these, in canonical order."""
        return cls(payload, tuple(sorted(signatures, key=lambda one: one.key_id)))

    @property
    def message(self) -> bytes:
        """What is signed: the pre-authentication encoding."""
        return pae(PAYLOAD_TYPE, self.payload)

    def to_bytes(self) -> bytes:
        """The inverse of `read`."""
        rows = [
            {"keyid": one.key_id, "sig": base64.b64encode(one.data).decode()}
            for one in self.signatures
        ]
        payload = base64.b64encode(self.payload).decode()
        return rfc8785.dumps({"payload": payload, "payloadType": PAYLOAD_TYPE, "signatures": rows})


def pae(kind: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: type and payload, each behind its length."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def strict_json(data: bytes, limit: int, what: str) -> dict[str, Any]:
    """A JSON object from outside that is written in the one way (RFC 8785): so no key is there
    twice, no number is huge or NaN, and no two readers read two things. Raises
    :class:`MalformedError`.
    """
    document = load_json(data, limit, containers=_CONTAINERS)
    if not isinstance(document, dict):
        raise MalformedError(f"{what} is not a JSON object")
    try:
        canonical = rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, RecursionError, ValueError):
        canonical = b""
    if canonical != data:
        raise MalformedError(f"{what} is not canonical JSON")
    return document


def _signature(row: object) -> Signature:
    if not isinstance(row, dict) or set(row) != {"keyid", "sig"}:
        raise MalformedError("a signature with other keys")
    key_id = _text(row["keyid"])
    if len(key_id) > _MOST_KEY_ID:
        raise MalformedError("a signature with a key id that is too long")
    return Signature(key_id, decode_base64(_text(row["sig"])))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise MalformedError("a value of the envelope is no text")
    return value
