"""The report of an audit as a file: canonical JSON (RFC 8785)."""

from pathlib import Path
from typing import Final

import msgspec
import rfc8785

from outlast.core.errors import MalformedError, NotFoundError
from outlast.features.audit.reports.document import REPORT_TYPE, AuditReport
from outlast.store import disk

MOST_REPORT: Final = 256 * 1024 * 1024
"""Bytes. Guess: 200 questions of 512 tokens with 20 likeliest of each take 220 MB."""


class _Typed(msgspec.Struct):
    type: str


def report_bytes(report: AuditReport) -> bytes:
    """The report as its file has it."""
    return rfc8785.dumps(report.to_json())


def write_file(path: Path, data: bytes) -> None:
    """Writes it durably, for its owner alone. Raises
    :class:`~outlast.core.errors.StorageError`.
    """
    temp = path.with_name(f".{path.name}.tmp")
    with disk.reporting(path):
        disk.remove(temp)
        disk.write_temp(temp, data, 0o600)
        disk.publish(temp, path)


def read_report(data: bytes) -> AuditReport:
    """Raises :class:`MalformedError` for what is no report, or one of another version: canonical
    JSON has each key once, so no two readers read two things.
    """
    try:
        kind = msgspec.json.decode(data, type=_Typed).type
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise MalformedError("not a report of an audit") from None
    if kind != REPORT_TYPE:
        raise MalformedError(f"not a report of an audit that this version reads: {kind!r:.80}")
    try:
        report = msgspec.json.decode(data, type=AuditReport)
        written = report_bytes(report)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise MalformedError(f"not a report of an audit: {error}") from None
    if written != data:
        raise MalformedError("the report is not canonical JSON, or was not written by this version")
    return report


def read_file(path: Path, limit: int = MOST_REPORT) -> bytes:
    """The bytes of a file. Raises :class:`NotFoundError` and :class:`MalformedError`."""
    with disk.reporting(path):
        data = disk.read_plain(path, limit + 1)
    if data is None:
        raise NotFoundError(f"there is no file {path}", hint="'outlast audit --report' writes one")
    if len(data) > limit:
        raise MalformedError(f"{path} has more than {limit} bytes")
    return data
