"""A small sigstore of one's own: an authority that gives short-lived certificates (Fulcio), a log
of certificates, and a log of signatures (Rekor, version 1), all with keys made here.
`tests/clients/test_model_signing.py` drives OpenSSF's model-signing against it.
"""

import base64
import datetime as dt
import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

ISSUER: Final = "https://issuer.example"
SIGNER: Final = "release@acme.example"
NOW: Final = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
DAY: Final = dt.timedelta(days=1)
_SCT_LIST: Final = ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ISSUER: Final = ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_OLD_ISSUER: Final = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_PAYLOAD: Final = "application/vnd.in-toto+json"
_SHA256: Final = ec.ECDSA(hashes.SHA256())


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pae(payload: bytes) -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Log:
    """A log: its key, its entries, and the proofs of RFC 6962 that they are in it."""

    name: str = "log.example"
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    entries: list[bytes] = field(default_factory=lambda: [b"one", b"two", b"three"])

    @property
    def id(self) -> bytes:
        return hashlib.sha256(spki(self.key)).digest()

    def signed(self, data: bytes) -> bytes:
        return self.key.sign(data, _SHA256)

    def root(self, of: Sequence[bytes] | None = None) -> bytes:
        entries = self.entries if of is None else of
        if len(entries) == 1:
            return hashlib.sha256(b"\0" + entries[0]).digest()
        split = _split(len(entries))
        both = self.root(entries[:split]) + self.root(entries[split:])
        return hashlib.sha256(b"\1" + both).digest()

    def path(self, index: int, of: Sequence[bytes] | None = None) -> list[bytes]:
        entries = self.entries if of is None else of
        if len(entries) == 1:
            return []
        split = _split(len(entries))
        if index < split:
            return [*self.path(index, entries[:split]), self.root(entries[split:])]
        return [*self.path(index - split, entries[split:]), self.root(entries[:split])]

    def checkpoint(self) -> str:
        text = f"{self.name} - 1\n{len(self.entries)}\n{b64(self.root())}\n"
        signature = b64(self.id[:4] + self.signed(text.encode()))
        return f"{text}\n\u2014 {self.name} {signature}\n"

    def add(self, body: bytes, at: dt.datetime) -> dict[str, Any]:
        """Takes an entry in, and gives it as a bundle has it."""
        self.entries.append(body)
        index, seconds = len(self.entries) - 1, int(at.timestamp())
        promise: dict[str, str | int] = {
            "body": b64(body),
            "integratedTime": seconds,
            "logID": self.id.hex(),
            "logIndex": index,
        }
        self.entries += [b"four", b"five"]  # others sign, too
        return {
            "logIndex": str(index),
            "logId": {"keyId": b64(self.id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(seconds),
            "inclusionPromise": {"signedEntryTimestamp": b64(self.signed(rfc8785.dumps(promise)))},
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": b64(self.root()),
                "treeSize": str(len(self.entries)),
                "hashes": [b64(one) for one in self.path(index)],
                "checkpoint": {"envelope": self.checkpoint()},
            },
            "canonicalizedBody": b64(body),
        }


def _split(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def dsse_body(payload: bytes, signature: bytes, certificate: x509.Certificate) -> bytes:
    """What a log has of an envelope."""
    row = {"signature": b64(signature), "verifier": b64(certificate.public_bytes(Encoding.PEM))}
    digest = {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}
    spec: dict[str, Any] = {"envelopeHash": digest, "payloadHash": digest, "signatures": [row]}
    return rfc8785.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})


@dataclass
class PrivateSigstore:
    """All of it. `began` and `ended` are the dates of its trust root."""

    began: dt.datetime = NOW - 100 * DAY
    ended: dt.datetime | None = None
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    log: Log = field(default_factory=Log)
    certificates: Log = field(default_factory=lambda: Log("ct.example"))

    def __post_init__(self) -> None:
        self.authority = self._authority()

    def _authority(self) -> x509.Certificate:
        name = _name("Private sigstore")
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        public = self.key.public_key()
        builder = x509.CertificateBuilder(name, name, public, x509.random_serial_number())
        return (
            builder.not_valid_before(NOW - 1000 * DAY)
            .not_valid_after(NOW + 1000 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def certify(
        self,
        public: ec.EllipticCurvePublicKey,
        *,
        name: str | Sequence[x509.GeneralName] = SIGNER,
        issuer: str = ISSUER,
        old_issuer: str | None = None,
        at: dt.datetime = NOW,
        minutes: int = 10,
        logged: bool = True,
    ) -> x509.Certificate:
        """A certificate for ten minutes, with the promise of the log of certificates in it."""
        names = [x509.RFC822Name(name)] if isinstance(name, str) else name
        signs = x509.KeyUsage(
            *(True, False, False, False, False, False, False, False, False)  # a signature, alone
        )
        der = issuer.encode()
        builder = x509.CertificateBuilder(
            self.authority.subject, x509.Name([]), public, x509.random_serial_number()
        )
        builder = (
            builder.not_valid_before(at)
            .not_valid_after(at + dt.timedelta(minutes=minutes))
            .add_extension(signs, critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(
                x509.UnrecognizedExtension(_ISSUER, bytes((0x0C, len(der))) + der), critical=False
            )
        )
        if old_issuer is not None:
            bare = x509.UnrecognizedExtension(_OLD_ISSUER, old_issuer.encode())
            builder = builder.add_extension(bare, critical=False)
        before = builder.sign(self.key, hashes.SHA256())
        if not logged:
            return before
        promise = self._promise(before.tbs_certificate_bytes, at)
        row = x509.UnrecognizedExtension(_SCT_LIST, promise)
        return builder.add_extension(row, critical=False).sign(self.key, hashes.SHA256())

    def _promise(self, tbs: bytes, at: dt.datetime) -> bytes:
        """RFC 6962's list of signed certificate timestamps, in a DER string."""
        millis = int(at.timestamp() * 1000)
        issuer = hashlib.sha256(spki(self.key)).digest()
        entry = issuer + len(tbs).to_bytes(3, "big") + tbs
        signed = struct.pack("!BBQH", 0, 0, millis, 1) + entry + b"\0\0"
        signature = self.certificates.signed(signed)
        sct = struct.pack("!B32sQH", 0, self.certificates.id, millis, 0)
        sct += struct.pack("!BBH", 4, 3, len(signature)) + signature
        rows = struct.pack("!HH", len(sct) + 2, len(sct)) + sct
        return bytes((0x04, 0x81, len(rows)) if len(rows) > 127 else (0x04, len(rows))) + rows

    def trusted_root(self) -> dict[str, Any]:
        """What an operator gets as `trusted_root.json`."""
        span: dict[str, str] = {"start": self.began.isoformat().replace("+00:00", "Z")}
        if self.ended is not None:
            span["end"] = self.ended.isoformat().replace("+00:00", "Z")

        def of_log(log: Log) -> dict[str, Any]:
            return {
                "baseUrl": f"https://{log.name}",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": b64(spki(log.key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": span,
                },
                "logId": {"keyId": b64(log.id)},
            }

        chain = [{"rawBytes": b64(self.authority.public_bytes(Encoding.DER))}]
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [of_log(self.log)],
            "certificateAuthorities": [
                {
                    "subject": {"organization": "example", "commonName": "Private sigstore"},
                    "uri": "https://fulcio.example",
                    "certChain": {"certificates": chain},
                    "validFor": span,
                }
            ],
            "ctlogs": [of_log(self.certificates)],
            "timestampAuthorities": [],
        }

    def bundle(
        self, payload: bytes, *, at: dt.datetime | None = None, **certified: Any
    ) -> dict[str, Any]:
        """A signature over `payload` by a new key, logged a second after its certificate (`at`: at
        that time).
        """
        key = new_key()
        certificate = self.certify(key.public_key(), **certified)
        signature = key.sign(pae(payload), _SHA256)
        when = at or certificate.not_valid_before_utc + dt.timedelta(seconds=1)
        entry = self.log.add(dsse_body(payload, signature, certificate), when)
        return {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))},
                "tlogEntries": [entry],
            },
            "dsseEnvelope": {
                "payload": b64(payload),
                "payloadType": _PAYLOAD,
                "signatures": [{"sig": b64(signature)}],
            },
        }


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def encoded(bundle: dict[str, Any]) -> bytes:
    return json.dumps(bundle).encode()
