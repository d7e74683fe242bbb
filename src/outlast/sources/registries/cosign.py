"""Signatures of cosign that a registry has beside an image: under the tag ``sha256-DIGEST.sig`` an
image whose layers are what was signed, each with the signature in an annotation (cosign's
SIGNATURE_SPEC.md).
"""

from collections.abc import Iterator

from outlast.core.digest import Digest
from outlast.core.errors import IntegrityError, MalformedError
from outlast.core.manifest import FileEntry
from outlast.sources.registries.api import Registry
from outlast.sources.registries.errors import RegistryQuestion
from outlast.sources.registries.manifest import Descriptor, Manifest, parse
from outlast.sources.registries.signatures import (
    ANNOTATION,
    MAX_PAYLOAD,
    MAX_SIGNATURE_TEXT,
    MEDIA_TYPE,
    MOST_SIGNATURES,
    RegistrySignature,
)
from outlast.sources.tuning import Tuning


def tag_of(manifest: Digest) -> str:
    """The tag under which the signatures of an image are kept."""
    return f"sha256-{manifest}.sig"


def read_signatures(
    registry: Registry, manifest: Digest, question: RegistryQuestion, tuning: Tuning
) -> Iterator[RegistrySignature]:
    """The signatures of an image, read and bounded. Raises errors of sources."""
    data, _ = registry.document(tag_of(manifest), question)
    document = parse(data, tuning.registry_manifest)
    if not isinstance(document, Manifest):
        raise MalformedError("the tag of signatures names an index")
    layers = [layer for layer in document.layers if layer.media_type == MEDIA_TYPE]
    for layer in layers[:MOST_SIGNATURES]:
        signature = layer.annotations.get(ANNOTATION, "")
        if signature and len(signature) <= MAX_SIGNATURE_TEXT and layer.size <= MAX_PAYLOAD:
            yield RegistrySignature(_payload(registry, layer, question), signature)


def _payload(registry: Registry, layer: Descriptor, question: RegistryQuestion) -> bytes:
    """The bytes of a layer."""
    entry = FileEntry("cosign.json", layer.size, sha256=layer.digest)
    reader = registry.blob(entry, layer.digest, 0, layer.size, question)
    data = bytearray(layer.size)
    filled = 0
    try:
        while filled < layer.size:
            count = reader.readinto(memoryview(data)[filled:])
            if not count:
                break
            filled += count
    finally:
        reader.close()
    if filled < layer.size or Digest.of(bytes(data)) != layer.digest:
        raise IntegrityError("the registry sent other bytes than its image of signatures lists")
    return bytes(data)
