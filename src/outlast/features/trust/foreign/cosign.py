"""Signatures of cosign ("simple signing"), which registries have beside images of models: kept with
the manifest that has the image's own as a file, and checked against the digest of that.

What is signed has a name of the registry in it (``docker-reference``). It is shown and binds
nothing: a signature survives mirroring.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import rfc8785

from outlast.core.claims import ForeignSignature, ForeignStanding
from outlast.core.digest import Digest
from outlast.core.errors import BadKeyError, IntegrityError, MalformedError, one_line
from outlast.core.manifest import Revision, load_json
from outlast.core.names import RepoId
from outlast.features.trust.keys.pins import Pin, PinRole, PinState
from outlast.features.trust.keys.public import KeyKind, PublicKey, decode_base64
from outlast.features.trust.keys.raw import is_ed25519
from outlast.features.trust.records.dsse import DsseEnvelope
from outlast.features.trust.records.statement import (
    COSIGN,
    STATEMENT_TYPE,
    only,
    read_model,
    subject,
)
from outlast.sources.registries.layers import MANIFEST_NAME
from outlast.sources.registries.signatures import (
    MAX_PAYLOAD,
    MAX_SIGNATURE_TEXT,
    MOST_SIGNATURES,
    RegistrySignature,
)
from outlast.store.archive import Archive
from outlast.store.evidence.acquisition import SignedPayload

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

FORMAT: Final = "cosign signature"
_TYPE: Final = "cosign container image signature"
_SHA256: Final = "sha256:"
_CONTAINERS: Final = 64
_MOST_NAME: Final = 300
_ORDER: Final = (PinState.ACTIVE, PinState.RETIRED, PinState.REVOKED)


@dataclass(frozen=True, slots=True)
class CosignPayload:
    """What is signed: the digest of an image's manifest; `reference`: what the signer called it."""

    reference: str
    digest: Digest

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Raises :class:`MalformedError`. Keys that are not known are passed over, as cosign does:
        signers add their own below ``optional``.
        """
        document = load_json(data, MAX_PAYLOAD, containers=_CONTAINERS)
        critical = _part(document, "critical")
        if critical.get("type") != _TYPE:
            raise MalformedError("what is signed is not an image of a registry")
        reference = _part(critical, "identity").get("docker-reference")
        digest = _part(critical, "image").get("docker-manifest-digest")
        if not isinstance(reference, str) or not isinstance(digest, str):
            raise MalformedError("what is signed lacks a name or a digest")
        if not digest.startswith(_SHA256):
            raise MalformedError("what is signed has a digest of another kind")
        return cls(one_line(reference, _MOST_NAME), Digest(digest.removeprefix(_SHA256)))

    def to_bytes(self) -> bytes:
        """As cosign writes it: JSON without spaces, the keys in this order."""
        document = {
            "critical": {
                "identity": {"docker-reference": self.reference},
                "image": {"docker-manifest-digest": f"{_SHA256}{self.digest}"},
                "type": _TYPE,
            },
            "optional": None,
        }
        return json.dumps(document, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class CosignRecord:
    """A signature of a registry, with the name and the manifest of the revision that it is kept
    with.
    """

    repo: RepoId
    manifest: Digest
    found: RegistrySignature

    def to_bytes(self) -> bytes:
        """Its file: a statement without a signature of outlast."""
        payload = rfc8785.dumps(
            {
                "_type": STATEMENT_TYPE,
                "subject": [subject(self.repo.api_path, self.manifest)],
                "predicateType": COSIGN,
                "predicate": {
                    "payload": base64.b64encode(self.found.payload).decode(),
                    "signature": self.found.signature,
                },
            }
        )
        return DsseEnvelope.of(payload, []).to_bytes()

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The record of a statement that was read. Raises :class:`MalformedError`."""
        repo, manifest = read_model(document)
        said = document["predicate"]
        only(said, {"payload", "signature"})
        payload, signature = said["payload"], said["signature"]
        if not isinstance(payload, str) or len(payload) > 2 * MAX_PAYLOAD:
            raise MalformedError("what cosign signed is no text")
        if not isinstance(signature, str) or len(signature) > MAX_SIGNATURE_TEXT:
            raise MalformedError("a signature of cosign that is no text")
        return cls(repo, manifest, RegistrySignature(decode_base64(payload), signature))


def image_of(revision: Revision) -> Digest | None:
    """The digest of the image's manifest in a registry; None where the model is of no registry."""
    entry = revision.find(MANIFEST_NAME)
    return None if entry is None else entry.sha256


def keep_signatures(
    archive: Archive, manifest: Digest, revision: Revision, found: Iterable[SignedPayload]
) -> int:
    """Keeps the signatures of a registry with a revision that is here, but for those that are of
    another image; how many are new. Raises errors of the store.
    """
    image, count = image_of(revision), 0
    with archive.writer() as writer:
        for one in list(found)[:MOST_SIGNATURES]:
            if CosignPayload.read(one.payload).digest != image:
                raise IntegrityError("a signature that a registry gives is of another image")
            kept = RegistrySignature(one.payload, one.signature)
            data = CosignRecord(revision.repo, manifest, kept).to_bytes()
            count += archive.attestations.add(writer, manifest, data) is not None
    return count


def judge(
    revision: Revision, manifest: Digest, records: Sequence[CosignRecord], pins: Sequence[Pin]
) -> Iterator[ForeignSignature]:
    """What each signature comes to, by the pinned keys of the publisher."""
    keys = [pin for pin in pins if pin.covers(revision.repo) and pin.role is PinRole.PUBLISHER]
    keys.sort(key=lambda pin: _ORDER.index(pin.state))
    for record in records[:MOST_SIGNATURES]:
        try:
            said = CosignPayload.read(record.found.payload)
            if record.manifest != manifest or said.digest != image_of(revision):
                raise IntegrityError("it signs another image")  # noqa: TRY301 - said as the others
            signature = _decoded(record.found.signature)
        except IntegrityError as error:
            yield _found(ForeignStanding.REFUSED, str(error))
            continue
        yield _by(keys, record.found.payload, signature, said)


def _by(
    keys: Sequence[Pin], payload: bytes, signature: bytes, said: CosignPayload
) -> ForeignSignature:
    name = one_line(said.reference, 100)
    for pin in keys:
        if not verifies(pin.key, payload, signature):
            continue
        if pin.state is PinState.REVOKED:
            why = f"the key {pin.label} was revoked at {pin.ended}"
            return _found(ForeignStanding.REFUSED, why)
        retired = ", which is retired" if pin.state is PinState.RETIRED else ""
        who = f"{pin.label}, a key pinned for {pin.namespace}{retired}"
        why = f"the image {said.digest.short}…, which its signer calls {name}; it binds no name"
        return _found(ForeignStanding.SIGNED, why, who)
    return _found(ForeignStanding.UNCHECKED, "it is by a key that is not pinned here")


def verifies(public: PublicKey, payload: bytes, signature: bytes) -> bool:
    """Whether a key signed these bytes as cosign does: Ed25519, ECDSA in DER on any curve, or RSA
    (PKCS #1 v1.5), the last two over SHA-256.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    if public.kind is KeyKind.ED25519:
        return is_ed25519(public.raw, payload, signature)
    try:
        key = public.loaded()
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, payload, ec.ECDSA(SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, payload, padding.PKCS1v15(), SHA256())
        else:
            return False
    except (InvalidSignature, MalformedError):
        return False
    return True


def cosign_sign(
    revision: Revision, reference: str, key: "EllipticCurvePrivateKey"
) -> tuple[bytes, bytes]:
    """The payload that names the image of a revision, and the signature over it in base64. Raises
    :class:`BadKeyError` where the model is of no registry.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    image = image_of(revision)
    if image is None:
        raise BadKeyError(
            f"{revision.repo} did not come from a registry: it has no {MANIFEST_NAME}",
            hint="cosign signs images of registries; 'outlast sign' signs any model",
        )
    payload = CosignPayload(reference, image).to_bytes()
    return payload, base64.b64encode(key.sign(payload, ECDSA(SHA256())))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("its signature is not base64") from None


def _part(value: object, key: str) -> dict[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise MalformedError(f"what is signed lacks {key!r}")
    return found


def _found(standing: ForeignStanding, why: str, who: str = "") -> ForeignSignature:
    return ForeignSignature(MANIFEST_NAME, FORMAT, standing, who, one_line(why, 600))
