"""The signature of a dossier: an envelope (DSSE) in a file beside it, over an in-toto statement
that names the page by its sha256, and the manifest that it is about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import rfc8785

from outlast.core.digest import Digest
from outlast.core.errors import BadSignatureError, MalformedError
from outlast.features.trust.keys.public import PublicKey, parse_line
from outlast.features.trust.keys.signing import Signer
from outlast.features.trust.keys.verifying import verify
from outlast.features.trust.records.dsse import (
    MOST_SIGNATURES,
    DsseEnvelope,
    Signature,
    strict_json,
)
from outlast.features.trust.records.statement import STATEMENT_TYPE

PREDICATE: Final = "urn:outlast:dossier:v1"
SUFFIX: Final = ".dsse.json"
"""What the name of the file of the signature has behind that of the page."""
_MOST: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class SignedDossier:
    """Who signed a page, and what about. Whether these keys count is for the reader to say."""

    keys: tuple[PublicKey, ...]
    repo: str
    revision: str
    manifest: str
    made: str


def sign(page: bytes, about: SignedDossier, signers: Sequence[Signer], name: str) -> bytes:
    """The envelope for `page`, whose file is called `name`; the keys of `about` are those of
    `signers`.
    """
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": Digest.of(page).hex}}],
        "predicateType": PREDICATE,
        "predicate": {
            "keys": sorted(one.key.line for one in signers),
            "made": about.made,
            "manifest": about.manifest,
            "repo": about.repo,
            "revision": about.revision,
        },
    }
    payload = rfc8785.dumps(statement)
    message = DsseEnvelope(payload, ()).message
    made = [Signature(one.key.fingerprint, one.sign(message)) for one in signers]
    return DsseEnvelope.of(payload, made).to_bytes()


def check(page: bytes, envelope: bytes) -> SignedDossier:
    """Who signed a page: all keys that the statement names have to be right. Raises
    :class:`BadSignatureError` and :class:`MalformedError`.
    """
    found = DsseEnvelope.read(envelope)
    said = strict_json(found.payload, _MOST, "the statement")
    subject, predicate = said.get("subject"), said.get("predicate")
    if said.get("predicateType") != PREDICATE or not isinstance(predicate, dict):
        raise MalformedError("the signature is not of a dossier")
    digests = [one.get("digest") for one in subject] if isinstance(subject, list) else []
    if digests != [{"sha256": Digest.of(page).hex}]:
        raise BadSignatureError("the page is not the one that was signed")
    lines = predicate.get("keys")
    if not isinstance(lines, list) or not 1 <= len(lines) <= MOST_SIGNATURES:
        raise MalformedError(f"a dossier is signed by 1 to {MOST_SIGNATURES} keys")
    keys = tuple(parse_line(str(line)) for line in lines)
    by_id = {one.key_id: one.data for one in found.signatures}
    if {key.fingerprint for key in keys} != set(by_id):
        raise BadSignatureError("the signatures are not by the keys that are named")
    for key in keys:
        if not verify(key, found.message, by_id[key.fingerprint]):
            raise BadSignatureError(f"the signature by {key.short} is not right")
    texts = (str(predicate.get(name, "")) for name in ("repo", "revision", "manifest", "made"))
    return SignedDossier(keys, *texts)
