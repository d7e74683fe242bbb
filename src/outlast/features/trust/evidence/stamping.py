"""Keeps a timestamp with the record that it is of."""

from outlast.features.trust.evidence.reading import EvidenceFound
from outlast.features.trust.evidence.timestamp import TimestampRecord
from outlast.features.trust.records.dsse import DsseEnvelope
from outlast.features.trust.records.statement import read_statement
from outlast.store.archive import Archive


def add_timestamp(archive: Archive, one: EvidenceFound, response: bytes, server: str) -> None:
    """Adds the answer of an authority: the record stays as it is."""
    said = one.record
    payload = TimestampRecord(said.repo, said.manifest, one.digest, server, response).to_bytes()
    TimestampRecord.of(read_statement(payload))  # what cannot be read is not written
    with archive.writer() as writer:
        archive.attestations.add(writer, said.manifest, DsseEnvelope.of(payload, []).to_bytes())
