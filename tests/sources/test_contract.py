"""What holds of every source, of whatever kind."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from outlast.core.digest import GitOid
from outlast.core.errors import (
    EntryNotFoundError,
    IntegrityError,
    NotFoundError,
    RevisionNotFoundError,
    UnreachableError,
)
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.sources.base import Listing, RangeReader, RemoteRef, Source
from outlast.sources.folder import FolderSource
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.kinds import open_source
from outlast.sources.modelscope import ModelScopeSource
from outlast.sources.registries.oci import OciSource
from outlast.sources.registries.ollama import OllamaSource
from outlast.sources.renamed import renamed
from outlast.sources.settings import HttpSettings, S3Place
from outlast.store.records.refs import Ref
from tests.features.bundle.world import export_to
from tests.hubsim import HubRepo, HubSim
from tests.registrysim import RegistrySim, modelpack, ollama
from tests.serve.peers import COMMIT, FILES, OPEN, SMALL, client, fill
from tests.sourcesim import FolderSim, Model, ModelScopeSim, S3Sim, sums
from tests.sourcesim.s3 import BUCKET, KEYS


@dataclass(frozen=True)
class Given:
    """A source of `FILES` as `commit` of org/open."""

    source: Source
    commit: GitOid
    refs: frozenset[str] = frozenset({"main", "v1.0"})
    by_git: bool = True
    """Whether it has files that go by their git blob id alone."""
    more: frozenset[str] = frozenset()
    """Files that it adds, which say how it holds the others."""
    private: bool = False

    def entry(self, path: str) -> FileEntry:
        listing = self.source.describe(OPEN, self.commit.hex)
        return next(entry for entry in listing.entries if entry.path == path)

    def read(self, entry: FileEntry, start: int, stop: int) -> bytes:
        reader = self.source.open(OPEN, self.commit, entry, start, stop)
        try:
            data = bytearray()
            buffer = memoryview(bytearray(100_000))
            while count := reader.readinto(buffer):
                data += buffer[:count]
            skip = start - reader.start
            return bytes(data[skip : skip + stop - start])
        finally:
            reader.close()


@contextmanager
def _hub(root: Path) -> Iterator[Given]:
    made = HubRepo(root, "org/open").commit(FILES, tags=["v1.0"])
    with HubSim(root, mode="thread") as hub:
        yield Given(HubSource(client(), hub.url), GitOid(made.sha))


@contextmanager
def _peer(root: Path) -> Iterator[Given]:
    peer = fill(root)
    with peer.archive, peer.serving():
        yield Given(peer.source(), COMMIT)


@contextmanager
def _modelscope(_root: Path) -> Iterator[Given]:
    commit = "1" * 40
    model = Model({commit: FILES}, {"master": commit}, {"v1.0": commit})
    with ModelScopeSim({"org/open": model}) as site:
        source = ModelScopeSource(client(), site.url)
        yield Given(source, GitOid(commit), frozenset({"master", "v1.0"}), by_git=False)


@contextmanager
def _sums(_root: Path) -> Iterator[Given]:
    held = {f"x/org/open/{path}": data for path, data in FILES.items()}
    with FolderSim({**held, "x/org/open/SHA256SUMS": sums(FILES)}) as site:
        source = FolderSource(client(), f"{site.url}/x")
        commit = source.describe(OPEN, "main").commit
        yield Given(source, commit, frozenset({"main"}), by_git=False)


@contextmanager
def _bucket(_root: Path) -> Iterator[Given]:
    held = {f"x/org/open/{path}": data for path, data in FILES.items()}
    with S3Sim({**held, "x/org/open/SHA256SUMS": sums(FILES)}, private=True) as site:
        http = HttpClient(HttpSettings(read_timeout=5, s3=S3Place(site.url)))
        source = open_source(http, f"s3://{BUCKET}/x", KEYS)
        commit = source.describe(OPEN, "main").commit
        yield Given(source, commit, frozenset({"main"}), by_git=False, private=True)


@contextmanager
def _manifest(root: Path) -> Iterator[Given]:
    peer = fill(root)
    with peer.archive as archive:
        revision = archive.load(OPEN, COMMIT)
        assert revision is not None
        with FolderSim({**FILES, "outlast-manifest.json": revision.to_bytes()}) as site:
            source = FolderSource(client(), site.url, model=".")
            yield Given(_Only(source), COMMIT, frozenset({"main"}), by_git=False)


@contextmanager
def _renamed(_root: Path) -> Iterator[Given]:
    commit = "2" * 40
    model = Model({commit: FILES}, {"master": commit}, {"v1.0": commit})
    with ModelScopeSim({"Other/name": model}) as site:
        source = renamed(ModelScopeSource(client(), site.url), "Other/name")
        yield Given(_Only(source), GitOid(commit), frozenset({"master", "v1.0"}), by_git=False)


@contextmanager
def _bundle(root: Path, *, web: bool = False) -> Iterator[Given]:
    with fill(root).archive as archive, archive.writer() as writer:
        for name in ("main", "v1.0"):
            archive.refs.put(writer, OPEN, Ref(name, COMMIT))
        export_to(archive, root / "usb", "org/open")
    refs = frozenset({"main", "v1.0"})
    if not web:
        yield Given(open_source(client(), f"bundle:{root / 'usb'}", None), COMMIT, refs)
        return
    files = {str(p.relative_to(root)): p.read_bytes() for p in (root / "usb").rglob("*.*")}
    with FolderSim(files) as site:
        yield Given(open_source(client(), f"bundle+{site.url}/usb", None), COMMIT, refs)


class _Only:
    """A source that has another name for the one model that it is asked for is asked for no other:
    the command line sees to that.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        if repo != OPEN:
            raise NotFoundError("not asked for")
        return self._source.describe(repo, ref, timeout)

    def refs(self, repo: RepoId, timeout: float | None = None) -> Sequence[RemoteRef]:
        if repo != OPEN:
            raise NotFoundError("not asked for")
        return self._source.refs(repo, timeout)

    def open(
        self, repo: RepoId, commit: GitOid, entry: FileEntry, start: int, stop: int
    ) -> RangeReader:
        return self._source.open(repo, commit, entry, start, stop)


_OF_REGISTRIES = frozenset({"oci-config.json", "oci-manifest.json"})


@contextmanager
def _oci(_root: Path) -> Iterator[Given]:
    with RegistrySim(login="own", page=1) as sim:
        digest = sim.push("org/open", modelpack(FILES), "main", "v1.0")
        source = OciSource(client(), sim.url)
        yield Given(source, _commit(digest), by_git=False, more=_OF_REGISTRIES)


@contextmanager
def _ollama(_root: Path) -> Iterator[Given]:
    layers = [("json", data) for data in FILES.values()]
    made = ollama(*layers, names=dict(enumerate(FILES)))
    with RegistrySim(plain=True, storage=True) as sim:
        digest = sim.push("org/open", made, "latest", "v1.0")
        source = OllamaSource(client(), sim.url)
        refs = frozenset({"main", "latest"})  # it lists none
        yield Given(source, _commit(digest), refs, by_git=False, more=_OF_REGISTRIES)


def _commit(digest: str) -> GitOid:
    return GitOid(digest.removeprefix("sha256:")[:40])


Make = Callable[[Path], AbstractContextManager[Given]]
SOURCES: dict[str, Make] = {
    "hub": _hub,
    "peer": _peer,
    "modelscope": _modelscope,
    "sums": _sums,
    "s3": _bucket,
    "manifest": _manifest,
    "renamed": _renamed,
    "oci": _oci,
    "ollama": _ollama,
    "bundle": _bundle,
    "bundle on the web": partial(_bundle, web=True),
}


@pytest.fixture(scope="module", params=list(SOURCES.values()), ids=list(SOURCES))
def given(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Given]:
    with request.param(tmp_path_factory.mktemp("source") / "root") as given:
        yield given


@pytest.mark.parametrize("ref", ["main", "v1.0", "COMMIT", "refs/heads/main"])
def test_a_listing(given: Given, ref: str) -> None:
    if ref == "v1.0" and ref not in given.refs:
        pytest.skip("it has one state alone")
    listing = given.source.describe(OPEN, given.commit.hex if ref == "COMMIT" else ref)
    assert (listing.repo, listing.commit) == (OPEN, given.commit)
    found = [entry for entry in listing.entries if entry.path not in given.more]
    assert {entry.path: entry.size for entry in found} == {
        path: len(data) for path, data in FILES.items()
    }
    assert {entry.path for entry in listing.entries} == FILES.keys() | given.more
    assert listing.facts.private is given.private
    for entry in found:
        assert given.read(entry, 0, entry.size) == FILES[entry.path]


@pytest.mark.parametrize("ref", ["none", "d" * 40, "v1.0.0"])
def test_no_such_revision(given: Given, ref: str) -> None:
    with pytest.raises(RevisionNotFoundError):
        given.source.describe(OPEN, ref)


def test_no_such_model(given: Given) -> None:
    for name in ("org/none", "org/ope", "org/open2", "datasets/org/open"):
        repo = RepoId.parse(name)
        with pytest.raises(NotFoundError):
            given.source.describe(repo, "main")
        with pytest.raises(NotFoundError):
            given.source.refs(repo)


def test_refs(given: Given) -> None:
    found = {ref.name: ref.commit for ref in given.source.refs(OPEN)}
    assert found == dict.fromkeys(given.refs, given.commit)


@pytest.mark.parametrize("path", FILES)
def test_ranges(given: Given, path: str) -> None:
    entry, data = given.entry(path), FILES[path]
    size = len(data)
    for start, stop in ((0, size), (0, size // 2), (size // 3, size), (size // 2, size // 2 + 1)):
        if start < stop <= size:
            assert given.read(entry, start, stop) == data[start:stop]


def test_a_file_that_goes_by_its_git_blob_id(given: Given) -> None:
    entry = FileEntry("config.json", len(SMALL), git_sha1=GitOid.of_blob(SMALL))
    if not given.by_git:
        with pytest.raises(EntryNotFoundError, match="sha256"):
            given.read(entry, 0, len(SMALL))
        return
    assert given.read(entry, 0, len(SMALL)) == SMALL


def test_another_file_under_its_name(given: Given) -> None:
    for other in (
        FileEntry("config.json", len(SMALL), git_sha1=GitOid.of_blob(b"other")),
        replace(given.entry("plain.bin"), size=5),
        FileEntry("nowhere.bin", 5, git_sha1=GitOid.of_blob(b"other")),
    ):
        with pytest.raises((IntegrityError, NotFoundError)):
            given.read(other, 0, other.size)


def test_threads_may_share_it(given: Given) -> None:
    entry = given.entry("model.safetensors")
    step = entry.size // 16
    with ThreadPoolExecutor(8) as pool:
        parts = pool.map(lambda n: given.read(entry, n * step, (n + 1) * step), range(16))
    assert b"".join(parts) == FILES["model.safetensors"][: 16 * step]


_DISTANT = {name: make for name, make in SOURCES.items() if name != "bundle"}


@pytest.mark.parametrize("make", list(_DISTANT.values()), ids=list(_DISTANT))
def test_one_that_is_gone(tmp_path: Path, make: Make) -> None:
    with make(tmp_path / "root") as given:
        entry = given.entry("plain.bin")
    asks: list[Callable[[], object]] = [
        lambda: given.source.describe(OPEN, "main"),
        lambda: given.source.refs(OPEN),
        lambda: given.read(entry, 0, 5),
    ]
    for ask in asks:
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1"):
            ask()
