"""An archive with three revisions, and keys that sign statements about them."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from outlast.core.claims import Claim, Claims, ClaimState, Lister, Standing
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import MalformedError
from outlast.core.manifest import Revision
from outlast.core.names import RepoId
from outlast.features.trust.keys.pins import How, Pin, PinRole, Pins, PinState
from outlast.features.trust.keys.public import PublicKey
from outlast.features.trust.keys.verifying import verify
from outlast.features.trust.records.assessor import TrustAssessor
from outlast.features.trust.records.dsse import DsseEnvelope, Signature, strict_json
from outlast.features.trust.records.needed import Needed
from outlast.features.trust.records.statement import (
    HubObservation,
    Predicate,
    Publication,
    Revocation,
    Statement,
)
from outlast.store.archive import Archive
from outlast.store.records.file_list import entries_of, listing_digest
from tests.store.build import put, revision_of

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
MADE = "2026-11-01T00:00:00Z"
LATER = "2026-11-02T00:00:00Z"
PAST = "2026-11-29T00:00:00Z"
ORG = RepoId.parse("org/name")
OTHER = RepoId.parse("org/other")
HUB = "https://hub.example"


@dataclass(frozen=True)
class MemoryKey:
    """A key that lies in no file: a :class:`~outlast.features.trust.keys.signing.Signer`."""

    name: str
    secret: Ed25519PrivateKey

    @classmethod
    def named(cls, name: str) -> "MemoryKey":
        seed = Digest.of(name.encode()).hex
        return cls(name, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)))

    @property
    def key(self) -> PublicKey:
        return PublicKey.of_ed25519(self.secret.public_key().public_bytes_raw(), self.name)

    @property
    def id(self) -> str:
        return self.key.fingerprint

    @property
    def label(self) -> str:
        """What a pin of it is called."""
        return f"{self.name} ({self.key.short})"

    def sign(self, message: bytes) -> bytes:
        return self.secret.sign(message)


PUBLISHER = MemoryKey.named("publisher")
SECOND = MemoryKey.named("second")
NEXT = MemoryKey.named("next")
RECOVERY = MemoryKey.named("recovery")
OBSERVER = MemoryKey.named("observer")
WITNESS = MemoryKey.named("witness")
STRANGER = MemoryKey.named("stranger")


def envelope(payload: bytes, *keys: MemoryKey) -> bytes:
    """A payload that `keys` signed, whatever it says."""
    draft = DsseEnvelope(payload, ())
    return DsseEnvelope.of(
        payload, [Signature(key.id, key.sign(draft.message)) for key in keys]
    ).to_bytes()


def publication(
    sequence: int = 1, *, ref: str = "main", made: str = MADE, expires: str = ""
) -> Publication:
    return Publication(ref, sequence, made, (PUBLISHER.key,), expires)


def observation(revision: Revision, *, seen: str = MADE, expires: str = "") -> HubObservation:
    assert revision.commit is not None
    entries = entries_of(revision)
    size = sum(entry.size for entry in entries)
    listing = listing_digest(entries)
    return HubObservation(
        HUB, revision.commit, seen, listing, len(entries), size, "office", expires
    )


def revocation(reason: str = "it has a backdoor") -> Revocation:
    return Revocation(reason, LATER)


def statement(revision: Revision, said: Predicate, *keys: MemoryKey) -> bytes:
    """A statement about a revision that `keys` signed."""
    return envelope(Statement(revision.repo, revision.digest, said).to_bytes(), *keys)


@dataclass
class World:
    """`old` and `new` are two revisions of one model, `copy` is `old` under another name."""

    archive: Archive
    old: Revision
    new: Revision
    copy: Revision
    needed: Needed = field(default_factory=Needed)
    listers: Sequence[Lister] = ()

    @classmethod
    def of(cls, archive: Archive) -> "World":
        """That of an archive which was filled."""
        return cls(archive, *_revisions())

    @classmethod
    def fill(cls, archive: Archive) -> "World":
        """Writes the revisions."""
        found = cls.of(archive)
        with archive.writer() as writer:
            put(archive, writer, b"weights", b"{}", b"{ }")
            for revision in _revisions():
                archive.put_revision(writer, revision)
        return found

    def pin(
        self,
        key: MemoryKey,
        role: PinRole = PinRole.PUBLISHER,
        namespace: str = "org",
        *,
        state: PinState = PinState.ACTIVE,
        recovery: Sequence[MemoryKey] = (),
    ) -> None:
        ended = "" if state is PinState.ACTIVE else PAST
        pin = Pin(
            namespace, role, key.key, How.EXPLICIT, MADE, key.name, state, ended, "",
            tuple(sorted(one.id for one in recovery)),
        )  # fmt: skip
        with self.archive.writer() as writer:
            Pins(self.archive).put(writer, pin)

    def keep(self, revision: Revision, data: bytes) -> None:
        """The statement lies with a revision, whatever it is about."""
        with self.archive.writer() as writer:
            self.archive.attestations.add(writer, revision.digest, data)

    def forget(self, revision: Revision) -> None:
        """Nothing is said of a revision any more."""
        for path in (self.archive.layout.attestations / revision.digest.hex).iterdir():
            path.unlink()

    def say(self, revision: Revision, said: Predicate, *keys: MemoryKey) -> None:
        self.keep(revision, statement(revision, said, *keys))

    def assessor(self) -> TrustAssessor:
        return TrustAssessor(self.archive, self.needed, self.listers, lambda: NOW)

    def claims(self, revision: Revision) -> Claims:
        return self.assessor().claims(revision.digest, revision)

    def published(self, revision: Revision) -> ClaimState:
        return self.claims(revision)[Claim.PUBLISHED]

    def observed(self, revision: Revision) -> ClaimState:
        return self.claims(revision)[Claim.OBSERVED]


@dataclass(frozen=True)
class SmallCatalogue:
    """A :class:`~outlast.core.claims.Lister` over one signed list of the test's: name, sequence and
    manifest in rows, `needed` of `keys` sign it.
    """

    data: bytes
    keys: Sequence[MemoryKey]
    needed: int = 1

    @staticmethod
    def of(
        rows: Sequence[tuple[Revision, int]], *keys: MemoryKey, expires: str = "", version: int = 1
    ) -> bytes:
        document: dict[str, Any] = {
            "expires": expires,
            "rows": [[r.repo.api_path, number, r.digest.hex] for r, number in rows],
            "version": version,
        }
        return envelope(rfc8785.dumps(document), *keys)

    def listed(self, manifest: Digest, revision: Revision) -> ClaimState:
        try:
            found = DsseEnvelope.read(self.data)
            said = strict_json(found.payload, 1 << 20, "the catalogue")
        except MalformedError as error:
            return ClaimState(Claim.LISTED, Standing.ABSENT, why=str(error))
        ids = {one.key_id: one.data for one in found.signatures}
        good = [k.name for k in self.keys if verify(k.key, found.message, ids.get(k.id, b""))]
        if len(good) < self.needed:
            why = f"{len(good)} of the {self.needed} keys that are needed signed the catalogue"
            return ClaimState(Claim.LISTED, Standing.REFUSED, why=why)
        mine = {n: text for name, n, text in said["rows"] if name == revision.repo.api_path}
        number = next((n for n, text in mine.items() if text == manifest.hex), None)
        if number is None:
            return ClaimState(Claim.LISTED, Standing.ABSENT)
        if number < max(mine):
            return ClaimState(Claim.LISTED, Standing.SUPERSEDED, ("test",), why=f"{max(mine)}")
        stale = bool(said["expires"]) and said["expires"] <= "2026-11-30T12:00:00Z"
        standing = Standing.STALE if stale else Standing.HOLDS
        return ClaimState(Claim.LISTED, standing, ("test",), said["expires"])


def _revisions() -> tuple[Revision, Revision, Revision]:
    files = {"model.safetensors": b"weights", "config.json": b"{}"}
    first, second = GitOid("1" * 40), GitOid("2" * 40)
    return (
        revision_of(files, repo=ORG, commit=first),
        revision_of({**files, "config.json": b"{ }"}, repo=ORG, commit=second),
        revision_of(files, repo=OTHER, commit=first),
    )
