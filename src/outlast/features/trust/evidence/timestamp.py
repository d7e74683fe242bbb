"""Trusted timestamps (RFC 3161) of records: asked for over HTTP, checked offline against root
certificates that the operator gives, also after the certificates of the authority have expired.
"""

import base64
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import rfc8785

from outlast.core.digest import Digest
from outlast.core.errors import BadKeyError, MalformedError, PolicyError, UsageError, one_line
from outlast.core.names import RepoId
from outlast.features.trust.keys.extra import INSTALL
from outlast.features.trust.keys.public import decode_base64
from outlast.features.trust.records.statement import (
    STATEMENT_TYPE,
    now_text,
    only,
    read_model,
    subject,
    text,
)
from outlast.sources.http import HttpClient
from outlast.store.evidence.statements import TIMESTAMP

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from rfc3161_client import TimeStampResponse

MAX_RESPONSE: Final = 64 * 1024
"""Bytes of an answer: those with three certificates have 6 KB."""
MAX_ROOTS: Final = 4 * 1024 * 1024
"""Bytes of a file of root certificates: a whole system's has 220 KB."""
_QUERY: Final = "application/timestamp-query"
_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_GRANTED: Final = 0
_WITHIN: Final = 30.0


def has_timestamps() -> bool:
    """Whether timestamps can be asked for and checked here."""
    return importlib.util.find_spec("rfc3161_client") is not None


def require_timestamps() -> None:
    """Raises :class:`UsageError` where `rfc3161-client` is not installed."""
    if not has_timestamps():
        raise UsageError("timestamps need the Python package rfc3161-client", hint=INSTALL)


@dataclass(frozen=True, slots=True)
class TimestampRecord:
    """The answer of an authority (`response`, DER) about the file of a record, whose sha256 is
    `record`. `server`: where it was asked for.
    """

    repo: RepoId
    manifest: Digest
    record: Digest
    server: str
    response: bytes

    def to_bytes(self) -> bytes:
        """The payload of an envelope."""
        return rfc8785.dumps(
            {
                "_type": STATEMENT_TYPE,
                "subject": [subject(self.repo.api_path, self.manifest)],
                "predicateType": TIMESTAMP,
                "predicate": {
                    "record": {"sha256": self.record.hex},
                    "response": base64.b64encode(self.response).decode(),
                    "server": self.server,
                },
            }
        )

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The timestamp of a statement that was read. Raises :class:`MalformedError`."""
        repo, manifest = read_model(document)
        said = document["predicate"]
        only(said, {"record", "response", "server"})
        record, response = said["record"], said["response"]
        if not isinstance(record, dict) or set(record) != {"sha256"}:
            raise MalformedError("a timestamp of no record")
        if not isinstance(response, str) or len(response) > MAX_RESPONSE * 4 // 3 + 4:
            raise MalformedError("a timestamp without an answer of an authority")
        digest = Digest(text(record["sha256"]))
        return cls(repo, manifest, digest, text(said["server"]), decode_base64(response))


@dataclass(frozen=True, slots=True)
class Stamped:
    """What a timestamp comes to. `time` (ISO 8601, UTC): what the answer says. `is_checked`: it is
    by an authority below a root that was given; else `why` says what is wrong, or missing.
    """

    time: str
    is_checked: bool
    why: str = ""
    is_wrong: bool = False


def read_roots(data: bytes) -> "list[Certificate]":
    """The certificates in a PEM file. Raises :class:`BadKeyError`."""
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415 - an extra

    try:
        return load_pem_x509_certificates(data)
    except ValueError as error:
        raise BadKeyError(
            f"not root certificates in PEM: {one_line(str(error), 200)}",
            hint="get them from the authority",
        ) from None


def ask(http: HttpClient, server: str, data: bytes) -> bytes:
    """The answer of the authority at `server` about these bytes: it learns their sha256 alone.
    Raises :class:`PolicyError` where it grants none.
    """
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder  # noqa: PLC0415 - an extra

    builder = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256)
    request = builder.cert_request(cert_request=True).nonce(nonce=True).build()
    headers = {"Content-Type": _QUERY, "Accept": "application/timestamp-reply"}
    with http.ask(server, headers=headers, body=request.as_bytes(), timeout=_WITHIN) as answer:
        if answer.status != 200:
            raise PolicyError(f"the timestamp authority answers with HTTP {answer.status}")
        response = answer.read_all(MAX_RESPONSE, within=_WITHIN)
    decoded = _decode(response)
    if decoded.tst_info.nonce != request.nonce:
        raise MalformedError("the timestamp authority answers another question")
    _require_about(decoded, data)
    return response


def check(response: bytes, data: bytes, roots: "Sequence[Certificate]") -> Stamped:
    """What an answer says of when `data` was there, and whether it is by an authority below one of
    `roots`.
    """
    if not has_timestamps():
        return Stamped("", is_checked=False, why=f"not checked: {INSTALL}")
    from rfc3161_client import VerificationError, VerifierBuilder  # noqa: PLC0415 - an extra

    try:
        decoded = _decode(response)
        _require_about(decoded, data)
    except (MalformedError, PolicyError) as error:
        return Stamped("", is_checked=False, why=str(error), is_wrong=True)
    when = now_text(decoded.tst_info.gen_time)
    if not roots:
        return Stamped(when, is_checked=False, why="not checked: no root certificate was given")
    try:
        # Certificates have to be valid at the time that is said, not today.
        VerifierBuilder(roots=list(roots)).build().verify_message(decoded, data)
    except (VerificationError, ValueError) as error:
        why = f"no authority below the given roots: {one_line(str(error), 200)}"
        return Stamped(when, is_checked=False, why=why, is_wrong=True)
    return Stamped(when, is_checked=True)


def _decode(response: bytes) -> "TimeStampResponse":
    """Raises :class:`MalformedError`, and :class:`PolicyError` for a refusal."""
    from rfc3161_client import decode_timestamp_response  # noqa: PLC0415 - an extra

    try:
        decoded = decode_timestamp_response(response)
        status = decoded.status
    except ValueError as error:
        raise MalformedError(f"not an answer of RFC 3161: {one_line(str(error), 200)}") from None
    if status != _GRANTED:
        said = one_line("; ".join(decoded.status_string), 200)
        raise PolicyError(f"the timestamp authority refuses (status {status}): {said}")
    try:
        decoded.tst_info.gen_time  # noqa: B018 - raises where the token cannot be read
    except ValueError as error:
        raise MalformedError(f"not a timestamp: {one_line(str(error), 200)}") from None
    return decoded


def _require_about(decoded: "TimeStampResponse", data: bytes) -> None:
    """Raises :class:`MalformedError` where an answer is about other bytes."""
    imprint = decoded.tst_info.message_imprint
    if imprint.hash_algorithm.dotted_string != _SHA256:
        raise MalformedError("a timestamp of another digest than sha256")
    if imprint.message != bytes.fromhex(Digest.of(data).hex):
        raise MalformedError("the timestamp is of other bytes")
