"""Lines of `key`, `sign`, `observe` and `revoke`."""

from collections.abc import Sequence
from typing import Annotated, Literal

from outlast.cli.documents.document import Document, document
from outlast.cli.documents.parts import ClaimPart
from outlast.core.digest import Digest, GitOid
from outlast.core.names import RepoId
from outlast.features.trust.keys.pins import How, PinRole, PinState
from outlast.features.trust.keys.public import KeyKind


@document("key")
class KeyDocument(Document):
    """A key of yours."""

    type: Literal["key"] = "key"
    name: Annotated[str, "its name"]
    kind: Annotated[KeyKind, "what it signs with"]
    fingerprint: Annotated[str, "names it; `ssh-keygen -l` prints the same"]
    public: Annotated[str, "the public key, as a line of SSH"]
    path: Annotated[str, "the file with the secret key"]


@document("key")
class PinDocument(Document):
    """A key that is pinned in the archive, or was."""

    type: Literal["pin"] = "pin"
    namespace: Annotated[str, "whose models it counts for: `org`, `org/name` or `*`"]
    role: Annotated[PinRole, "what it counts as"]
    name: Annotated[str, "what you call it; may be empty"]
    kind: Annotated[KeyKind, "what it signs with"]
    fingerprint: Annotated[str, "names it"]
    how: Annotated[How, "how it was pinned; that never changes"]
    since: Annotated[str, "when (ISO 8601, UTC)"]
    state: Annotated[PinState, "whether it counts"]
    ended: Annotated[str, "when it was retired or revoked; empty: it was not"]
    why: Annotated[str, "why it was; empty: it was not"]
    recovery: Annotated[Sequence[str], "fingerprints of keys that may put another in its place"]


@document("key")
class PinnedIdentityDocument(Document):
    """An identity of sigstore that is pinned in the archive, or was."""

    type: Literal["pinned_identity"] = "pinned_identity"
    namespace: Annotated[str, "whose models it counts for: `org` or `org/name`"]
    identity: Annotated[str, "the mail address or URI in its certificates"]
    issuer: Annotated[str, "the OpenID issuer that vouches for it"]
    name: Annotated[str, "what you call it; may be empty"]
    since: Annotated[str, "when (ISO 8601, UTC)"]
    state: Annotated[PinState, "whether it counts"]
    ended: Annotated[str, "when it was revoked; empty: it was not"]
    why: Annotated[str, "why it was; empty: it was not"]


@document("key")
class KeyStatementDocument(Document):
    """A statement about a key: a rotation, or the end of a key."""

    type: Literal["key_statement"] = "key_statement"
    namespace: Annotated[str, "whose key it is"]
    fingerprint: Annotated[str, "the key that it is about"]
    file: Annotated[str | None, "the file that it was written to"]
    statement: Annotated[str, "its bytes: a DSSE envelope"]


@document("sign", "observe", "revoke")
class AttestedDocument(Document):
    """A signed statement about a revision, which lies in the archive now."""

    type: Literal["published", "observed", "revoked", "taken"]
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    manifest: Annotated[Digest, "the manifest that it is about"]
    statement: Annotated[Digest, "the sha256 of its bytes, which names its file"]
    predicate: Annotated[str, "its type, as in-toto has it"]
    keys: Annotated[Sequence[str], "fingerprints of the keys that signed it"]
    ref: Annotated[str | None, "the ref that a publisher signs; null for other types"]
    sequence: Annotated[int | None, "its number under that ref; null for other types"]
    file: Annotated[str | None, "the file that it was written to as well"]
    claims: Annotated[Sequence[ClaimPart], "which claims hold now"]


@document("sign")
class CosignDocument(Document):
    """With --cosign: a signature of an image in a registry that was written."""

    type: Literal["cosign"] = "cosign"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    manifest: Annotated[Digest, "the manifest of the archive"]
    image: Annotated[Digest, "the image's manifest in the registry, which is signed"]
    reference: Annotated[str, "what the signed text calls the image"]
    payload: Annotated[str, "the file with what is signed"]
    signature: Annotated[str, "the file with the signature, in base64"]


@document("sign")
class OpenssfDocument(Document):
    """With --openssf: a model signature of OpenSSF that was written."""

    type: Literal["openssf"] = "openssf"
    repo: Annotated[RepoId, "the model"]
    revision: Annotated[GitOid, "the commit"]
    manifest: Annotated[Digest, "the manifest that has the digests"]
    file: Annotated[str, "the file that was written"]
    key: Annotated[str, "the SHA-256 of the public key in PEM, which names it in the file"]
    files: Annotated[int, "files that are signed"]
    left_out: Annotated[int, "files that are not: those of git, and an older model.sig"]
