"""Signatures that a registry has beside an image, and the protocol of a source that gives them."""

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from outlast.core.digest import Digest
from outlast.core.names import RepoId
from outlast.sources.base import Source

ANNOTATION: Final = "dev.cosignproject.cosign/signature"
MEDIA_TYPE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
MAX_PAYLOAD: Final = 64 * 1024
"""Bytes of what is signed; honest ones have 250."""
MAX_SIGNATURE_TEXT: Final = 4096
"""Characters of a signature in base64: RSA of 8,192 bits has 1,368."""
MOST_SIGNATURES: Final = 16
"""Of one image. Guess: its publisher's, and those who signed it again."""


@dataclass(frozen=True, slots=True)
class RegistrySignature:
    """What was signed, byte for byte, and the `signature` as the registry has it, in base64. None
    of it is believed yet.
    """

    payload: bytes
    signature: str


@runtime_checkable
class CosignSource(Source, Protocol):
    """A source that may have signatures of cosign: a registry."""

    def cosign_signatures(self, repo: RepoId, manifest: Digest) -> tuple[RegistrySignature, ...]:
        """Those of the image with this manifest; none where it has none. Raises errors of
        sources.
        """
