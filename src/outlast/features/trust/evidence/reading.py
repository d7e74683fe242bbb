"""The records of acquisition of one manifest, and what speaks for each of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.core.manifest import Revision
from outlast.features.trust.evidence.acquired import AcquisitionRecord
from outlast.features.trust.evidence.own import OwnRecords, own_records
from outlast.features.trust.evidence.timestamp import Stamped, TimestampRecord, check
from outlast.features.trust.keys.extra import INSTALL, has_cryptography
from outlast.features.trust.keys.verifying import verify
from outlast.features.trust.records.dsse import DsseEnvelope
from outlast.features.trust.records.statement import read_statement
from outlast.store.archive import Archive
from outlast.store.evidence.statements import ACQUISITION, EVIDENCE
from outlast.store.records.file_list import entries_of, listing_digest

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


@dataclass(frozen=True, slots=True)
class StampFound:
    """A timestamp of a record: the bytes of the answer, and what it comes to."""

    record: TimestampRecord
    stamped: Stamped


@dataclass(frozen=True, slots=True)
class EvidenceFound:
    """A record with its file (`data`, of the sha256 `digest`). `is_own`: this archive made it.
    `signed`: the fingerprint of the key that did ("": none, or not checked: `unchecked` says why).
    `wrong`: what does not fit.
    """

    record: AcquisitionRecord
    digest: Digest
    data: bytes
    is_own: bool
    signed: str = ""
    unchecked: str = ""
    stamps: tuple[StampFound, ...] = ()
    wrong: tuple[str, ...] = ()


@dataclass(slots=True)
class _Read:
    records: dict[Digest, tuple[AcquisitionRecord, DsseEnvelope, bytes]] = field(
        default_factory=dict
    )
    stamps: list[TimestampRecord] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class AllEvidence:
    """`found`, the oldest record first; `unread`: what is wrong with files that are no evidence
    though they say to be, or with timestamps of records that are not here.
    """

    found: tuple[EvidenceFound, ...]
    unread: tuple[str, ...] = ()


def evidence_of(
    archive: Archive, revision: Revision, roots: "Sequence[Certificate]" = ()
) -> AllEvidence:
    """The records of a revision. No file of the model is read."""
    manifest = revision.digest
    read = _read(archive, manifest)
    own = own_records(archive).get(revision.repo) or OwnRecords()
    found = []
    for digest, (record, envelope, data) in read.records.items():
        stamps = tuple(
            StampFound(stamp, check(stamp.response, data, roots))
            for stamp in read.stamps
            if stamp.record == digest
        )
        signed, unchecked, wrong = _signed(record, envelope)
        wrong = [*wrong, *_misfits(record, revision)]
        wrong += [f"its timestamp: {s.stamped.why}" for s in stamps if s.stamped.is_wrong]
        is_own = digest in own.made
        one = EvidenceFound(record, digest, data, is_own, signed, unchecked, stamps, tuple(wrong))
        found.append(one)
    lost = [s.record for s in read.stamps if s.record not in read.records]
    unread = [
        *read.unread,
        *(f"a timestamp of a record that is not here: {d.short}…" for d in lost),
    ]
    found.sort(key=lambda one: (one.record.acquired, one.digest.hex))
    return AllEvidence(tuple(found), tuple(unread))


def changed_texts(
    record: AcquisitionRecord, read: Callable[[Digest], bytes | None]
) -> Iterator[str]:
    """What is wrong with the archived licence texts of a record; `read` gives their bytes."""
    for one in record.texts:
        data = read(one.sha256)
        if data is None:
            yield f"the licence text {one.name} is not here"
        elif Digest.of(data) != one.sha256:
            yield f"the licence text {one.name} has changed"


def _read(archive: Archive, manifest: Digest) -> _Read:
    read = _Read()
    for stored in archive.attestations.of(manifest):
        try:
            envelope = DsseEnvelope.read(stored.data, unsigned=True)
            document = read_statement(envelope.payload)
        except MalformedError:
            continue  # claims say so
        if document["predicateType"] not in EVIDENCE:
            continue
        try:
            if document["predicateType"] == ACQUISITION:
                record = AcquisitionRecord.of(document)
                _require_about(record.manifest, manifest)
                read.records[stored.digest] = record, envelope, stored.data
            else:
                stamp = TimestampRecord.of(document)
                _require_about(stamp.manifest, manifest)
                read.stamps.append(stamp)
        except MalformedError as error:
            read.unread.append(f"{stored.digest.short}… cannot be read: {error}")
    return read


def _require_about(said: Digest, manifest: Digest) -> None:
    if said != manifest:
        raise MalformedError(f"it is about another manifest: {said.short}…")


def _signed(record: AcquisitionRecord, envelope: DsseEnvelope) -> tuple[str, str, list[str]]:
    """The key that signed a record; why that was not checked; what is wrong."""
    if record.key is None and not envelope.signatures:
        return "", "", []
    if record.key is None or len(envelope.signatures) != 1:
        return "", "", ["it does not have the one signature of the key that it names"]
    if not has_cryptography():
        return "", f"its signature is not checked: {INSTALL}", []
    [signature] = envelope.signatures
    name = record.key.fingerprint
    if signature.key_id != name or not verify(record.key, envelope.message, signature.data):
        return "", "", [f"its signature is not by the key that it names, {record.key.short}"]
    return name, "", []


def _misfits(record: AcquisitionRecord, revision: Revision) -> Iterator[str]:
    """Where a record says something else than the manifest that it is about."""
    if record.repo.folded != revision.repo.folded:
        yield f"it is about {record.repo}"
    if (record.commit, record.files, record.size, record.missing) != (
        revision.commit,
        len(revision.files),
        revision.size,
        len(revision.missing),
    ) or record.listing != listing_digest(entries_of(revision)):
        yield "it says other files than the manifest"
