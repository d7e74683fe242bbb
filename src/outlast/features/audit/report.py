"""The report of an audit as a file: canonical JSON (RFC 8785)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import rfc8785

from outlast.core.errors import MalformedError, NotFoundError
from outlast.core.manifest import load_json
from outlast.features.audit.audit import REPORT_TYPE
from outlast.features.audit.evidence import AuditFinding, replay
from outlast.store import disk

MOST_REPORT: Final = 64 * 1024 * 1024
"""Bytes. Guess: 200 prompts of 512 tokens with 20 likeliest of each take 60 MB."""
_CONTAINERS: Final = 8_000_000


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Writes it durably. Raises :class:`~outlast.core.errors.StorageError`."""
    temp = path.with_name(f".{path.name}.tmp")
    with disk.reporting(path):
        disk.remove(temp)
        disk.write_temp(temp, rfc8785.dumps(dict(report)), 0o600)
        disk.publish(temp, path)


def read_report(path: Path) -> Mapping[str, Any]:
    """Raises :class:`NotFoundError`, and :class:`MalformedError` for what is no report, or one of
    another version.
    """
    with disk.reporting(path):
        data = disk.read_plain(path, MOST_REPORT + 1)
    if data is None:
        raise NotFoundError(f"there is no file {path}", hint="'outlast audit --report' writes one")
    found = load_json(data, MOST_REPORT, containers=_CONTAINERS)
    if not isinstance(found, dict) or found.get("type") != REPORT_TYPE:
        said = found.get("type") if isinstance(found, dict) else None
        raise MalformedError(f"not a report of an audit that this version reads: {said!r:.80}")
    return found


def replayed(report: Mapping[str, Any]) -> AuditFinding:
    """The verdict that follows from a report's evidence. Raises :class:`MalformedError`."""
    try:
        return replay(report)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
        raise MalformedError("the report lacks evidence, or has it in another form") from None
