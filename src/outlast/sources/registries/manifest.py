"""The documents of a registry, read as hostile bytes: manifests, and indexes of manifests.

Source: OCI image specification 1.1 (manifest, image index, descriptor), whose fields Docker's
schema 2 shares.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.core.manifest import check_size, load_json

INDEX_TYPES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
ACCEPT: Final = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        *INDEX_TYPES,
    )
)
PREFIX: Final = "sha256:"
_OTHER_ALGORITHM: Final = re.compile(r"[a-z0-9]+([+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+\Z")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Content that a document names: its type, digest, and size in bytes. `name` is the one that
    Ollama gives to a layer.
    """

    media_type: str
    digest: Digest
    size: int
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one image consists of: an artifact, in the words of OCI."""

    layers: tuple[Descriptor, ...]
    config: Descriptor | None = None
    artifact_type: str = ""


@dataclass(frozen=True, slots=True)
class ManifestIndex:
    """Several images under one name: usually one for each platform."""

    manifests: tuple[Descriptor, ...]


def parse(data: bytes, limit: int) -> Manifest | ManifestIndex:
    """Reads a document of at most `limit` bytes. Its own fields decide what it is: Ollama's
    registry calls its manifests plain text.
    """
    document = load_json(data, limit)
    if not isinstance(document, dict):
        raise MalformedError("a registry's manifest is no JSON object")
    if document.get("schemaVersion") != 2:
        raise MalformedError(
            f"a manifest of schema {str(document.get('schemaVersion'))[:20]!r}: only 2 is read"
        )
    if isinstance(manifests := document.get("manifests"), list):
        return ManifestIndex(tuple(map(_descriptor, manifests)))
    if not isinstance(layers := document.get("layers"), list):
        raise MalformedError("a registry's manifest lists no layers")
    config = document.get("config")
    return Manifest(
        tuple(map(_descriptor, layers)),
        None if config is None else _descriptor(config),
        _text(document.get("artifactType")),
    )


def read_digest(text: object) -> Digest:
    """``sha256:…``, the only kind of digest that files can be checked by here."""
    if isinstance(text, str) and text.startswith(PREFIX):
        return Digest(text.removeprefix(PREFIX))
    if isinstance(text, str) and _OTHER_ALGORITHM.match(text):
        raise MalformedError(
            f"a registry names content by {text.partition(':')[0][:20]!r}: only sha256 is read",
            hint="push the model with sha256 digests, as all tools do by default",
        )
    raise MalformedError(f"a registry names content by {str(text)[:40]!r}, which is no digest")


def _descriptor(value: object) -> Descriptor:
    if not isinstance(value, dict):
        raise MalformedError("a registry's manifest lists something else than content")
    digest = read_digest(value.get("digest"))
    return Descriptor(
        media_type=_text(value.get("mediaType")),
        digest=digest,
        size=check_size(value.get("size"), str(digest)),
        artifact_type=_text(value.get("artifactType")),
        annotations=_texts(value.get("annotations")),
        name=_text(value.get("name")),
    )


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: text for key, text in value.items() if isinstance(text, str)}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
