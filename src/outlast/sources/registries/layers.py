"""Which files the layers of a manifest are, and how they are called.

Sources: the CNCF's model specification (ModelPack), KitOps' ModelKit specification, the media types
of Docker's model runner, ORAS' annotations, and the manifests that Ollama writes;
docs/adr/0026-registries.md says what was read where.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.core.manifest import FileEntry
from outlast.sources.registries.manifest import Descriptor, Manifest

CONFIG_NAME: Final = "oci-config.json"
MANIFEST_NAME: Final = "oci-manifest.json"
_FILE_PATH: Final = "org.cncf.model.filepath"
_TITLE: Final = "org.opencontainers.image.title"
_UNPACK: Final = "io.deis.oras.content.unpack"
_EMPTY: Final = "application/vnd.oci.empty.v1+json"
_OF_MODELS: Final = re.compile(
    r"application/vnd\.(?:cncf\.model|kitops\.modelkit|docker\.ai|ollama\.image)\."
)
_VERSIONED: Final = re.compile(r"application/vnd\.(?:cncf\.model|kitops\.modelkit)\.(.+)\.v\d+\.")
_TAR: Final = re.compile(r"[.+]tar(?:[.+](gzip|zstd))?\Z")
_TAR_SUFFIX: Final = {None: ".tar", "gzip": ".tar.gz", "zstd": ".tar.zst"}
_FIXED: Final = {
    "application/vnd.cncf.model.weight.v1.gguf": "model.gguf",
    "application/vnd.cncf.model.weight.v1.safetensors": "model.safetensors",
    "application/vnd.docker.ai.chat.template.jinja": "chat_template.jinja",
    "application/vnd.docker.ai.dduf": "model.dduf",
    "application/vnd.docker.ai.dir.tar": "files",
    "application/vnd.docker.ai.gguf.v3": "model.gguf",
    "application/vnd.docker.ai.license": "LICENSE",
    "application/vnd.docker.ai.mmproj": "mmproj.gguf",
    "application/vnd.docker.ai.safetensors": "model.safetensors",
    "application/vnd.docker.ai.vllm.config.tar": "vllm-config",
    "application/vnd.ollama.image.adapter": "adapter.gguf",
    "application/vnd.ollama.image.draft": "draft.gguf",
    "application/vnd.ollama.image.license": "license.txt",
    "application/vnd.ollama.image.messages": "messages.json",
    "application/vnd.ollama.image.model": "model.gguf",
    "application/vnd.ollama.image.params": "params.json",
    "application/vnd.ollama.image.projector": "projector.gguf",
    "application/vnd.ollama.image.prompt": "prompt.txt",
    "application/vnd.ollama.image.system": "system.txt",
    "application/vnd.ollama.image.template": "template.txt",
}
"""Names of layers that have none: by what the engines that read these types call such files."""
_SHARDED: Final = frozenset({"model.gguf", "model.safetensors"})
"""Engines look for the parts of these by ``model-00001-of-00002``."""


@dataclass(frozen=True, slots=True)
class _LayerFile:
    name: str
    digest: Digest
    size: int


def is_model(manifest: Manifest) -> bool:
    """Whether a manifest is that of a model, or of named files at least: not of a program."""
    types = [manifest.artifact_type, *(layer.media_type for layer in manifest.layers)]
    if manifest.config is not None:
        types.append(manifest.config.media_type)
    return any(map(_OF_MODELS.match, types)) or any(map(_own_name, manifest.layers))


def files_of(manifest: Manifest, digest: Digest, size: int) -> list[FileEntry]:
    """The files of a model whose manifest has this digest and size in bytes: its layers, its
    config, and the manifest itself, by which all of it can be put into a registry again. The names
    follow from the manifest alone, and are not checked yet.
    """
    named = [_LayerFile(_name(layer), layer.digest, layer.size) for layer in manifest.layers]
    config = manifest.config
    if config is not None and config.media_type != _EMPTY:
        named.append(_LayerFile(CONFIG_NAME, config.digest, config.size))
    named.append(_LayerFile(MANIFEST_NAME, digest, size))
    _check_sizes(named)
    apart = _apart(_shards(list(dict.fromkeys(named))))
    return [FileEntry(one.name, one.size, sha256=one.digest) for one in apart]


def _check_sizes(named: Iterable[_LayerFile]) -> None:
    sizes: dict[Digest, int] = {}
    for one in named:
        if sizes.setdefault(one.digest, one.size) != one.size:
            raise MalformedError(f"a registry's manifest gives two sizes of {one.digest.short}")


def _own_name(layer: Descriptor) -> str:
    """The name that the layer was given."""
    return layer.annotations.get(_FILE_PATH) or layer.annotations.get(_TITLE) or layer.name


def _name(layer: Descriptor) -> str:
    """The name of the file that a layer becomes. A tar stays one file: what it contains is not
    known before it is here.
    """
    own = _own_name(layer)
    suffix = _tar_suffix(layer)
    if own:
        return own if own.endswith(suffix) else own + suffix
    fixed = _FIXED.get(layer.media_type)
    if fixed is None:
        versioned = _VERSIONED.match(layer.media_type)
        fixed = versioned[1].replace(".", "-") if versioned else f"layer-{layer.digest.short}"
    return fixed + suffix


def _tar_suffix(layer: Descriptor) -> str:
    """How the name of a tar ends; empty where a layer is the file itself. ORAS calls every file
    that it pushes a tar, and marks those that are.
    """
    found = _TAR.search(layer.media_type)
    if found is None:
        return ""
    titled = _TITLE in layer.annotations and _FILE_PATH not in layer.annotations
    if titled and not _OF_MODELS.match(layer.media_type):
        return _TAR_SUFFIX[found[1]] if layer.annotations.get(_UNPACK) == "true" else ""
    return _TAR_SUFFIX[found[1]]


def _shards(named: list[_LayerFile]) -> Iterator[_LayerFile]:
    """Weights in several layers of one name become numbered parts."""
    total = Counter(one.name for one in named)
    number: Counter[str] = Counter()
    for one in named:
        if one.name in _SHARDED and total[one.name] > 1:
            number[one.name] += 1
            stem, dot, end = one.name.partition(".")
            part = f"{stem}-{number[one.name]:05d}-of-{total[one.name]:05d}{dot}{end}"
            yield _LayerFile(part, one.digest, one.size)
        else:
            yield one


def _apart(named: Iterable[_LayerFile]) -> Iterator[_LayerFile]:
    """Of several files with one name, the second is called ``NAME-2.END``, and so on."""
    ones = list(named)
    taken = {one.name for one in ones}
    given: set[str] = set()
    number: Counter[str] = Counter()
    for one in ones:
        name = one.name
        if name in given:
            folder, slash, last = name.rpartition("/")
            stem, dot, end = last.partition(".")
            while name in taken:
                number[one.name] += 1
                name = f"{folder}{slash}{stem}-{number[one.name] + 1}{dot}{end}"
            taken.add(name)
        given.add(name)
        yield _LayerFile(name, one.digest, one.size)
