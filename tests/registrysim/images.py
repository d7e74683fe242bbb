"""Images of models, as the tools write them: a manifest, and the blobs that it names."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"
FILE_PATH = "org.cncf.model.filepath"
TITLE = "org.opencontainers.image.title"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Image:
    """A manifest, as it is before it is JSON, and its blobs by digest."""

    document: dict[str, Any]
    blobs: dict[str, bytes] = field(default_factory=dict)

    def add(self, data: bytes, media_type: str, **more: Any) -> None:
        """One more layer."""
        self.document["layers"].append(self.hold(data, media_type, **more))

    def hold(self, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        """A blob, and what names it."""
        self.blobs[digest_of(data)] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def image_of(
    config: bytes, config_type: str, *, manifest_type: str = OCI_MANIFEST, **more: Any
) -> Image:
    made = Image({"schemaVersion": 2, "mediaType": manifest_type, **more})
    made.document["config"] = made.hold(config, config_type)
    made.document["layers"] = []
    return made


def modelpack(files: Mapping[str, bytes]) -> Image:
    """As modctl packs a folder: each file a raw layer with its path."""
    made = image_of(
        json.dumps({"descriptor": {"name": "m"}}).encode(),
        "application/vnd.cncf.model.config.v1+json",
        artifactType="application/vnd.cncf.model.manifest.v1+json",
    )
    for path, data in files.items():
        what = "weight.config" if path.endswith(".json") else "weight"
        made.add(data, f"application/vnd.cncf.model.{what}.v1.raw", annotations={FILE_PATH: path})
    return made


def kitops(tars: Mapping[str, bytes]) -> Image:
    """As `kit pack` does: ``model``, ``code``, ``docs`` … each a tar, without a name."""
    config = b'{"manifestVersion": "1.0.0"}'
    made = image_of(config, "application/vnd.kitops.modelkit.config.v1+json")
    for what, data in tars.items():
        made.add(data, f"application/vnd.kitops.modelkit.{what}.v1.tar+gzip")
    return made


def docker(*layers: tuple[str, bytes]) -> Image:
    """As Docker's model runner packs: layers of a type, most of them without a name."""
    config = b'{"config": {"format": "gguf"}}'
    made = image_of(config, "application/vnd.docker.ai.model.config.v0.1+json")
    for what, data in layers:
        made.add(data, f"application/vnd.docker.ai.{what}")
    return made


def ollama(*layers: tuple[str, bytes], names: Mapping[int, str] | None = None) -> Image:
    """As `ollama create` writes; `names` of some of the layers by number."""
    made = image_of(
        b'{"model_format": "gguf"}',
        "application/vnd.docker.container.image.v1+json",
        manifest_type=DOCKER_MANIFEST,
    )
    for number, (what, data) in enumerate(layers):
        more = {"name": names[number]} if names and number in names else {}
        made.add(data, f"application/vnd.ollama.image.{what}", **more)
    return made


def oras(files: Mapping[str, bytes]) -> Image:
    """As `oras push` does with files: each is called a tar, and is none."""
    made = image_of(b"{}", "application/vnd.oci.empty.v1+json")
    for path, data in files.items():
        made.add(data, "application/vnd.oci.image.layer.v1.tar", annotations={TITLE: path})
    return made
