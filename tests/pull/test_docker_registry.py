"""The real registry of Debian's package `docker-registry`: pushed to by plain requests."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from outlast.core.digest import GitOid
from outlast.core.errors import AccessDeniedError, EntryNotFoundError, NotFoundError
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.sources.registries.oci import OciSource
from tests.ports import free_port
from tests.pull.kit import FILES, Puller, check_pulled
from tests.registrysim import Image, modelpack, ollama
from tests.registrysim.images import INDEX, OCI_MANIFEST, image_of
from tests.serve.node import until
from tests.serve.peers import client, read, sha

pytestmark = pytest.mark.skipif(
    shutil.which("docker-registry") is None,
    reason="the Debian package docker-registry is not installed",
)
NAME = RepoId.parse("org/name")
LOGIN = "me:pass"
_PASSWORDS = "me:$2b$05$abcdefghijklmnopqrstuuZFBUbfXoM8LFiPx8LYlO/sXZB/Cwk3K\n"
"""What htpasswd makes of it."""


class Registry:
    """The registry, and what pushes to it."""

    def __init__(self, url: str, login: str = "") -> None:
        self.url = url
        headers = urllib3.make_headers(basic_auth=login) if login else {}
        self._http = urllib3.PoolManager(headers=headers, retries=False)

    def answers(self) -> bool:
        try:
            return self._http.request("GET", f"{self.url}/v2/").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def push(self, name: str, made: Image, *tags: str) -> str:
        """Pushes an image; its digest."""
        for digest, data in made.blobs.items():
            begun = self._http.request("POST", f"{self.url}/v2/{name}/blobs/uploads/")
            assert begun.status == 202
            place = begun.headers["Location"]
            fields = {"Content-Type": "application/octet-stream"}
            url = f"{place}{'&' if '?' in place else '?'}digest={digest}"
            stored = self._http.request("PUT", url, body=data, headers=self._with(fields))
            assert stored.status == 201, stored.data
        return [self.put(name, made.document, tag) for tag in tags][-1]

    def put(self, name: str, document: dict[str, object], tag: str) -> str:
        kind = str(document["mediaType"])
        url = f"{self.url}/v2/{name}/manifests/{tag}"
        stored = self._http.request(
            "PUT", url, json=document, headers=self._with({"Content-Type": kind})
        )
        assert stored.status == 201, stored.data
        return stored.headers["Docker-Content-Digest"]

    def _with(self, fields: dict[str, str]) -> dict[str, str]:
        return {**self._http.headers, **fields}


@contextmanager
def running(root: Path, login: str = "") -> Iterator[Registry]:
    port = free_port()
    settings = root / "registry.yml"
    settings.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {root / 'registry'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    if login:
        (root / "passwords").write_text(_PASSWORDS)
        with settings.open("a") as file:
            file.write(f"auth: {{htpasswd: {{realm: all, path: {root / 'passwords'}}}}}\n")
    with (root / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(settings)],
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], "HOME": str(root), "OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        registry = Registry(f"http://127.0.0.1:{port}", login)
        until(registry.answers, "the registry")
        yield registry
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running(tmp_path_factory.mktemp("real")) as registry:
        yield registry


def test_a_model(real: Registry, pull: Puller) -> None:
    made = modelpack(FILES)
    digest = real.push("org/name", made, "latest", "v1.0")
    source = OciSource(client(), real.url)
    pull("org/name", f"oci+{real.url}")
    listing = source.describe(NAME, "main")
    assert digest.startswith(f"sha256:{listing.commit}")
    (config, manifest) = (
        read(source.open(NAME, listing.commit, entry, 0, entry.size))
        for entry in listing.entries[-2:]
    )
    assert f"sha256:{sha(manifest)}" == digest
    files = {**FILES, "oci-config.json": config, "oci-manifest.json": manifest}
    check_pulled(pull.home, files)
    commit = GitOid(digest.removeprefix("sha256:")[:40])
    expected = dict.fromkeys(("main", "latest", "v1.0"), commit)
    assert {ref.name: ref.commit for ref in source.refs(NAME)} == expected
    assert OciSource(client(), real.url).describe(NAME, commit.hex) == listing
    source.check_access(NAME)


def test_ranges_and_what_is_not_there(real: Registry) -> None:
    real.push("org/name", modelpack(FILES), "latest")
    source = OciSource(client(), real.url)
    data = FILES["sub/tokenizer.json"]
    entry = FileEntry("any", len(data), sha256=sha(data))
    commit = GitOid("e" * 40)
    assert read(source.open(NAME, commit, entry, 7, 99)) == data[7:99]
    absent = FileEntry("any", 5, sha256=sha(b"absent"))
    with pytest.raises(EntryNotFoundError):
        source.open(NAME, commit, absent, 0, 5)
    for name, ref in (("org/name", "none"), ("org/none", "main"), ("org/name", "d" * 40)):
        with pytest.raises(NotFoundError):
            source.describe(RepoId.parse(name), ref)


def test_an_index(real: Registry) -> None:
    """A model beside an image, as for several platforms."""
    image = image_of(b"{}", "application/vnd.oci.image.config.v1+json")
    image.add(b"root", "application/vnd.oci.image.layer.v1.tar+gzip")
    pushed = {
        real.push("org/multi", made, tag): made
        for tag, made in (("image", image), ("model", ollama(("model", b"GGUF"))))
    }
    http = urllib3.PoolManager()
    listed = []
    for digest in pushed:
        url = f"{real.url}/v2/org/multi/manifests/{digest}"
        kind = str(pushed[digest].document["mediaType"])
        head = http.request("HEAD", url, headers={"Accept": f"{kind}, {OCI_MANIFEST}"})
        size = int(head.headers["Content-Length"])
        listed.append({"mediaType": kind, "digest": digest, "size": size})
    real.put("org/multi", {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}, "latest")
    source = OciSource(client(), real.url)
    repo = RepoId.parse("org/multi")
    assert source.describe(repo, "main") == source.describe(repo, "model")


def test_a_password(tmp_path: Path, pull: Puller) -> None:
    with running(tmp_path, LOGIN) as real:
        real.push("org/name", modelpack({"a.txt": b"1"}), "latest")
        source = OciSource(client(), real.url, LOGIN)
        assert source.describe(NAME, "main").facts.private
        pull.tokens = {f"oci+{real.url}": LOGIN}
        pull("org/name", f"oci+{real.url}")
        with pytest.raises(NotFoundError):
            OciSource(client(), real.url).describe(NAME, "main")
        with pytest.raises(AccessDeniedError):
            OciSource(client(), real.url, "me:wrong").describe(NAME, "main")
