"""Ollama's registry: a part of the protocol of container registries, with names of its own.

Protocol: what Ollama's own client asks (`server/images.go`); docs/adr/0026-registries.md.
"""

from typing import ClassVar

from outlast.core.names import RepoId
from outlast.sources.registries.oci import OciSource


class OllamaSource(OciSource):
    """Ollama's registry, or what answers like it. ``qwen3`` is ``library/qwen3`` there. It lists no
    tags: of a model's refs only the default one is known.
    """

    kind: ClassVar[str] = "ollama"
    has_tags: ClassVar[bool] = False

    def path_of(self, repo: RepoId) -> str:
        path = repo.name if "/" in repo.name else f"library/{repo.name}"
        return f"{self._below}/{path}".strip("/")
