"""The signature of a report: an envelope (DSSE) in a file beside it, over an in-toto statement that
names the report by its sha256, and the manifest that it is about.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from outlast.cli.feature import StatementSigner
from outlast.core.digest import Digest
from outlast.core.errors import BadSignatureError, MalformedError
from outlast.features.audit.reports.document import AuditReport

PREDICATE: Final = "urn:outlast:audit-report-signature:v1"
MOST_SIGNATURE: Final = 64 * 1024
"""Bytes of the envelope."""
_STATEMENT: Final = "https://in-toto.io/Statement/v1"


def beside(path: Path) -> Path:
    """The file of the signature of the report at `path`."""
    return path.with_name(path.name + ".dsse.json")


def sign_report(
    signer: StatementSigner,
    keys: Sequence[str],
    passphrase_file: Path | None,
    about: tuple[AuditReport, bytes],
) -> bytes:
    """The envelope for a report with these bytes. Raises what
    :meth:`~outlast.cli.feature.StatementSigner.sign` does.
    """
    report, data = about
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": "report", "digest": {"sha256": Digest.of(data).hex}}],
        "predicateType": PREDICATE,
        "predicate": {
            "commitment": report.commitment,
            "manifest": report.manifest,
            "verdict": report.finding.verdict,
        },
    }
    return signer.sign(statement, keys, passphrase_file)


def check_signature(signer: StatementSigner, envelope: bytes, data: bytes) -> tuple[str, ...]:
    """The fingerprints of the keys that signed a report with these bytes. Raises
    :class:`BadSignatureError` and :class:`MalformedError`.
    """
    said, keys = signer.check(envelope)
    subject = said.get("subject")
    digests = [one.get("digest") for one in subject] if isinstance(subject, list) else []
    if said.get("predicateType") != PREDICATE:
        raise MalformedError("the signature is not of a report of an audit")
    if digests != [{"sha256": Digest.of(data).hex}]:
        raise BadSignatureError("the report is not the one that was signed")
    return keys
