"""`outlast verify --who` of 1,000 revisions with two signed statements each.

``python -m bench.who`` prints revisions for each second of CPU time, of the whole command and of
the claims alone. It fails where a blob is opened.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.case_ls import build
from outlast.core.cancel import Cancel
from outlast.core.manifest import Revision
from outlast.features.trust.keys.pins import How, Pin, PinRole, Pins
from outlast.features.trust.keys.public import PublicKey
from outlast.features.trust.records.assessor import TrustAssessor
from outlast.features.trust.records.dsse import DsseEnvelope, Signature
from outlast.features.trust.records.needed import Needed
from outlast.features.trust.records.statement import (
    HubObservation,
    Predicate,
    Publication,
    Statement,
)
from outlast.ops.claims import assess
from outlast.store.archive import Archive
from outlast.store.records.file_list import entries_of, listing_digest

_WHEN = "2026-11-30T12:00:00Z"
_PAIRS = 3


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="outlast-who-") as folder:
        home = Path(folder, "archive")
        build(home)
        count = _sign(home)
        found = [_command(home) for _ in range(_PAIRS)]
        claims = [_claims(home) for _ in range(_PAIRS)]
    whole, alone = sorted(found)[_PAIRS // 2], sorted(claims)[_PAIRS // 2]
    print(f"{count} revisions, two statements each")
    print(f"the command: {whole:.2f} CPU-s, {count / whole:.0f} revisions a CPU-second")
    print(f"the claims alone: {alone:.2f} CPU-s, {count / alone:.0f} revisions a CPU-second")


def _sign(home: Path) -> int:
    """Writes a publication and an observation for each revision, and pins their keys."""
    keys = [Ed25519PrivateKey.generate() for _ in range(2)]
    public = [PublicKey.of_ed25519(key.public_key().public_bytes_raw()) for key in keys]
    count = 0
    with mock.patch("os.fsync"), Archive(home) as archive, archive.writer() as writer:
        for role, name in zip((PinRole.PUBLISHER, PinRole.OBSERVER), public, strict=True):
            Pins(archive).put(writer, Pin("bench", role, name, How.EXPLICIT, _WHEN))
        for summary in archive.summaries():
            revision = archive.load(summary.repo, summary.revision)
            assert revision is not None
            count += 1
            for said, key, name in zip(
                _said(revision, count, public[0]), keys, public, strict=True
            ):
                draft = DsseEnvelope(Statement(revision.repo, revision.digest, said).to_bytes(), ())
                signature = Signature(name.fingerprint, key.sign(draft.message))
                data = DsseEnvelope.of(draft.payload, [signature]).to_bytes()
                archive.attestations.add(writer, revision.digest, data)
    return count


def _said(revision: Revision, number: int, key: PublicKey) -> tuple[Predicate, Predicate]:
    assert revision.commit is not None
    listing, files = listing_digest(entries_of(revision)), len(revision.files)
    return (
        Publication(f"v{number}", number, _WHEN, (key,)),
        HubObservation(
            "https://hub.example", revision.commit, _WHEN, listing, files, revision.size
        ),
    )


def _command(home: Path) -> float:
    """CPU seconds of the command in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "outlast", "verify", "--who", "--json", "--home", str(home)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env={**os.environ})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    held = [
        row["standing"] for line in done.stdout.splitlines() for row in json.loads(line)["claims"]
    ]
    assert held.count("holds") == 3 * len(done.stdout.splitlines())
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _claims(home: Path) -> float:
    """CPU seconds of the claims in this process; no blob may be opened."""
    with Archive(home) as archive, mock.patch.object(archive, "open", side_effect=AssertionError):
        began = time.process_time()
        for found in assess(archive, TrustAssessor(archive, Needed()), (), Cancel()):
            assert found.claims is not None
        return time.process_time() - began


if __name__ == "__main__":
    main()
