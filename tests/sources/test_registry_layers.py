"""Which files an image of a model consists of, by the tool that made it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlast.core.digest import Digest
from outlast.core.errors import MalformedError
from outlast.sources.registries.layers import files_of, is_model
from outlast.sources.registries.manifest import Manifest, ManifestIndex, parse
from tests.registrysim.images import (
    FILE_PATH,
    INDEX,
    TITLE,
    Image,
    docker,
    image_of,
    kitops,
    modelpack,
    ollama,
    oras,
)

LIMIT = 100_000
OURS = ["oci-config.json", "oci-manifest.json"]
UNPACK = "io.deis.oras.content.unpack"


def read(made: Image) -> Manifest:
    found = parse(json.dumps(made.document).encode(), LIMIT)
    assert isinstance(found, Manifest)
    return found


def names(made: Image) -> list[str]:
    """The names of the files that an image becomes."""
    manifest = read(made)
    assert is_model(manifest)
    return [entry.path for entry in files_of(manifest, Digest.of(b"manifest"), 8)]


def layer(media_type: str, annotations: Mapping[str, str] | None = None, **more: Any) -> str:
    """What one layer beside a model's is called."""
    made = docker()
    made.add(b"x", media_type, annotations=dict(annotations or {}), **more)
    return names(made)[0]


def test_files_have_the_digests_of_their_layers() -> None:
    made = modelpack({"a/config.json": b"{}", "weights.bin": b"w"})
    files = {e.path: e for e in files_of(read(made), Digest.of(b"manifest"), 8)}
    assert (files["weights.bin"].sha256, files["weights.bin"].size) == (Digest.of(b"w"), 1)
    assert files["oci-manifest.json"].sha256 == Digest.of(b"manifest")
    assert files["oci-config.json"].sha256 is not None
    assert files.keys() == {"a/config.json", "weights.bin", *OURS}


def test_what_each_tool_writes() -> None:
    assert names(kitops({"model": b"1", "docs": b"2"})) == ["model.tar.gz", "docs.tar.gz", *OURS]
    assert names(oras({"a.gguf": b"1", "b/c.txt": b"2"})) == [
        "a.gguf",
        "b/c.txt",
        "oci-manifest.json",  # the config of ORAS is empty
    ]
    assert names(docker(("gguf.v3", b"1"), ("license", b"2"), ("mmproj", b"3"))) == [
        "model.gguf",
        "LICENSE",
        "mmproj.gguf",
        *OURS,
    ]
    layers = ("model", "template", "license", "params", "system", "adapter", "projector")
    assert names(ollama(*((what, what.encode()) for what in layers))) == [
        "model.gguf",
        "template.txt",
        "license.txt",
        "params.json",
        "system.txt",
        "adapter.gguf",
        "projector.gguf",
        *OURS,
    ]


@pytest.mark.parametrize(
    ("media_type", "annotations", "name"),
    [
        ("application/vnd.cncf.model.weight.v1.raw", {FILE_PATH: "a/b.bin"}, "a/b.bin"),
        ("application/vnd.cncf.model.weight.v1.raw", {FILE_PATH: "p", TITLE: "t"}, "p"),
        ("application/vnd.cncf.model.weight.v1.raw", {}, "weight"),
        ("application/vnd.cncf.model.weight.config.v1.raw", {}, "weight-config"),
        ("application/vnd.cncf.model.weight.v1.tar", {FILE_PATH: "b.bin"}, "b.bin.tar"),
        ("application/vnd.cncf.model.weight.v1.tar+zstd", {}, "weight.tar.zst"),
        ("application/vnd.cncf.model.doc.v1.tar+gzip", {FILE_PATH: "x.tar.gz"}, "x.tar.gz"),
        ("application/vnd.docker.ai.dir.tar", {FILE_PATH: "sub"}, "sub.tar"),
        ("application/vnd.docker.ai.vllm.config.tar", {}, "vllm-config.tar"),
        ("application/vnd.oci.image.layer.v1.tar", {TITLE: "a.bin"}, "a.bin"),
        ("application/vnd.oci.image.layer.v1.tar+gzip", {TITLE: "a", UNPACK: "true"}, "a.tar.gz"),
        ("application/octet-stream", {}, "layer-2d711642b726"),
        ("application/vnd.oci.image.layer.v1.tar+gzip", {}, "layer-2d711642b726.tar.gz"),
    ],
)
def test_the_name_of_a_layer(media_type: str, annotations: dict[str, str], name: str) -> None:
    assert layer(media_type, annotations) == name


def test_the_name_that_ollama_gives_a_tensor() -> None:
    named = layer("application/vnd.ollama.image.tensor", name="vae/conv.weight")
    assert named == "vae/conv.weight"


def test_layers_of_one_name_stay_apart() -> None:
    """By their order, which the manifest's digest fixes; weights as engines look for them."""
    texts = ollama(("license", b"1"), ("license", b"2"), ("license", b"3"), ("license", b"1"))
    assert names(texts) == ["license.txt", "license-2.txt", "license-3.txt", *OURS]
    weights = docker(("gguf.v3", b"1"), ("gguf.v3", b"2"))
    assert names(weights)[:2] == ["model-00001-of-00002.gguf", "model-00002-of-00002.gguf"]
    clash = modelpack({"a-2.txt": b"1"})
    for data in (b"2", b"3"):
        clash.add(data, "application/x", annotations={TITLE: "a.txt"})
    clash.add(b"4", "application/x", annotations={TITLE: "oci-manifest.json"})
    assert names(clash) == [
        "a-2.txt",
        "a.txt",
        "a-3.txt",
        "oci-manifest.json",
        "oci-config.json",
        "oci-manifest-2.json",
    ]


def test_many_layers_of_one_name_cost_little() -> None:
    made = ollama(*(("license", b"%d" % n) for n in range(5000)))
    found = parse(json.dumps(made.document).encode(), 1 << 22)
    assert isinstance(found, Manifest)
    paths = {entry.path for entry in files_of(found, Digest.of(b"m"), 1)}
    assert len(paths) == 5002


_NAMES = st.sampled_from(["", "a", "a.txt", "a-2.txt", "model.gguf", "model-00001-of-00002.gguf"])
_TYPES = st.sampled_from(["docker.ai.gguf.v3", "ollama.image.license", "oci.image.layer.v1.tar"])


@given(st.lists(st.tuples(_NAMES, _TYPES, st.integers(0, 5))))
def test_any_layers_have_names_of_their_own(layers: list[tuple[str, str, int]]) -> None:
    made = docker()
    for name, what, number in layers:
        noted = {TITLE: name} if name else {}
        made.add(b"%d" % number, f"application/vnd.{what}", annotations=noted)
    files = files_of(read(made), Digest.of(b"manifest"), 8)
    assert len({file.path for file in files}) == len(files)
    kept = {Digest.of(b"%d" % number) for _, _, number in layers}
    assert kept <= {file.sha256 for file in files}


def test_an_image_is_no_model() -> None:
    image = image_of(b"{}", "application/vnd.oci.image.config.v1+json")
    image.add(b"root", "application/vnd.oci.image.layer.v1.tar+gzip")
    assert not is_model(read(image))


def test_two_sizes_of_one_blob() -> None:
    made = modelpack({"a": b"1", "b": b"1"})
    made.document["layers"][1]["size"] = 2
    with pytest.raises(MalformedError, match="two sizes"):
        files_of(read(made), Digest.of(b"m"), 1)


def changed(**fields: Any) -> bytes:
    """A manifest whose first layer has other fields."""
    made = modelpack({"a": b"1"})
    made.document["layers"][0].update(fields)
    return json.dumps(made.document).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[]", "no JSON object"),
        (b"{", "not JSON"),
        (b'{"schemaVersion": 1, "fsLayers": []}', "schema '1'"),
        (b'{"schemaVersion": 2}', "lists no layers"),
        (b'{"schemaVersion": 2, "layers": {}}', "lists no layers"),
        (b'{"schemaVersion": 2, "layers": [7]}', "something else"),
        (b'{"schemaVersion": 2, "layers": [], "config": []}', "something else"),
        (b'{"schemaVersion": 2, "manifests": [{}]}', "no digest"),
        (changed(digest="sha512:" + "a" * 128), "'sha512': only sha256"),
        (changed(digest="sha256:" + "A" * 64), "not a sha256"),
        (changed(digest="../../etc/passwd"), "no digest"),
        (changed(digest=None), "no digest"),
        (changed(size=-1), "impossible size"),
        (changed(size=True), "impossible size"),
        (changed(size="9"), "impossible size"),
        (changed(size=1 << 60), "impossible size"),
        (b" " * (LIMIT + 1), "exceeds the bound"),
        (b'{"schemaVersion": 2, "schemaVersion": 2}', "twice"),
        (b"[" * 50_000, "nested too deeply|no JSON object|not JSON"),
    ],
)
def test_documents_that_are_none(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        parse(data, LIMIT)


def test_fields_of_other_types_are_as_good_as_missing() -> None:
    data = changed(mediaType=7, annotations={FILE_PATH: 3, "a": "b"}, name=[])
    found = parse(data, LIMIT)
    assert isinstance(found, Manifest)
    (only,) = found.layers
    assert (only.media_type, only.name, dict(only.annotations)) == ("", "", {"a": "b"})


def test_an_index() -> None:
    made = modelpack({"a": b"1"})
    one = made.hold(b"manifest", "application/vnd.oci.image.manifest.v1+json")
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [one]}
    found = parse(json.dumps(document).encode(), LIMIT)
    assert isinstance(found, ManifestIndex)
    assert [child.digest for child in found.manifests] == [Digest.of(b"manifest")]
