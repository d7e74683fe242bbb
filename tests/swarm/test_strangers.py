"""Nodes that no operator named and that lie: what a model consists of is not theirs to say."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import OutlastError, UnreachableError
from outlast.core.manifest import FileEntry
from outlast.fetch.transfer import Wishes
from outlast.ops.pull_digest import pull_manifest
from outlast.ops.removal import collect_garbage
from outlast.sources.http import HttpClient
from outlast.sources.hub import HubSource
from outlast.sources.settings import HttpSettings
from outlast.store.records.unconfirmed import Told
from tests.hubsim import HubRepo, HubSim
from tests.noise import noise
from tests.swarm.sites import MODEL, Running, Site, site

NAME = "org/model"
LARGE = noise(1, (3 << 20) + 77)
FILES = {"config.json": b'{"a": 1}', "sub/notes.txt": b"right", "model.safetensors": LARGE}
WRONG = LARGE.translate(bytes(byte ^ 1 for byte in range(256)))
LIES = {
    "config.json": b'{"a": 2}',
    "sub/notes.txt": b"right",
    "model.safetensors": WRONG,
    "extra.py": b"import evil",
}
DARK = "http://127.0.0.1:9"


def hub_at(url: str) -> HubSource:
    return HubSource(HttpClient(HttpSettings(read_timeout=10.0)), url, None)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubSim]:
    HubRepo(tmp_path / "hub", NAME).commit(FILES)
    with HubSim(tmp_path / "hub", mode="thread") as hub:
        yield hub


@pytest.fixture
def commit(hub: HubSim) -> GitOid:
    return GitOid(HubRepo(hub.root, NAME).head.sha)


@pytest.fixture
def liar(tmp_path: Path, commit: GitOid) -> Iterator[Site]:
    with site(tmp_path / "liar") as liar:
        liar.hold(LIES, commit=commit)
        yield liar


@pytest.fixture
def node(tmp_path: Path, liar: Site) -> Iterator[Site]:
    """A node that has heard the liar."""
    with site(tmp_path / "node") as node:
        node.meet(liar)
        yield node


def pull(node: Site, url: str, target: str = NAME, *, named: bool = False) -> None:
    Running(lambda: node.pull(target, hub_at(url), named=named)).result()


def has(node: Site, data: bytes) -> bool:
    return node.archive.has(Digest.of(data), len(data))


def check_right(node: Site, commit: GitOid, files: Mapping[str, bytes] = FILES) -> None:
    """The hub's files and no others, with nothing that says otherwise."""
    assert node.files() == files
    assert node.archive.unconfirmed.get(MODEL, commit) is None
    assert node.archive.unconfirmed.all() == frozenset()
    ref = node.archive.refs.get(MODEL, "main")
    assert ref is not None
    assert (ref.commit, ref.unconfirmed) == (commit, False)
    assert len(node.archive.index.manifests_of(MODEL, commit)) == 1


@pytest.fixture
def honest(tmp_path: Path, hub: HubSim) -> Iterator[Site]:
    """A node that has the model from the hub, and that no other has heard of."""
    with site(tmp_path / "honest") as honest:
        pull(honest, hub.url)
        yield honest


@pytest.mark.parametrize("pinned", [False, True])
def test_a_plain_pull_takes_no_word_of_theirs(node: Site, commit: GitOid, *, pinned: bool) -> None:
    target = f"{NAME}@{commit}" if pinned else NAME
    with pytest.raises(UnreachableError) as error:
        pull(node, DARK, target)
    assert "--from lan" in error.value.hint
    assert node.archive.summaries() == []
    assert not node.archive.refs.list(MODEL)


def test_what_they_said_is_marked_and_goes_when_the_hub_answers(
    node: Site, hub: HubSim, liar: Site, commit: GitOid
) -> None:
    pull(node, DARK, named=True)
    assert node.files() == LIES
    told = node.archive.unconfirmed.get(MODEL, commit)
    assert told is not None
    assert told.by == f"peer 127.0.0.1:{liar.server.port}"
    assert told.since
    ref = node.archive.refs.get(MODEL, "main")
    assert ref is not None
    assert ref.unconfirmed
    pull(node, hub.url)
    check_right(node, commit)
    collect_garbage(node.archive, dry_run=False, control=Control(), grace=0)
    assert not has(node, WRONG)
    assert not has(node, LIES["extra.py"])
    assert node.files() == FILES


def test_an_honest_one_is_marked_until_the_hub_answers(
    honest: Site, hub: HubSim, tmp_path: Path, commit: GitOid
) -> None:
    """Then nothing has to be fetched again."""
    with site(tmp_path / "b") as node:
        node.meet(honest)
        pull(node, DARK, named=True)
        assert node.archive.unconfirmed.all() == {(MODEL, commit)}
        before = node.archive.index.manifests_of(MODEL, commit)
        pulled = Running(lambda: node.pull(NAME, hub_at(hub.url))).result()
        check_right(node, commit)
        assert pulled.plan.to_fetch == ()
        assert node.archive.index.manifests_of(MODEL, commit) == before


@pytest.mark.parametrize("pinned", [False, True])
def test_what_a_hub_listed_is_not_extended(
    node: Site, hub: HubSim, commit: GitOid, *, pinned: bool
) -> None:
    pull(node, hub.url)
    pull(node, DARK, f"{NAME}@{commit}" if pinned else NAME, named=True)
    assert node.files() == FILES
    assert node.archive.unconfirmed.all() == frozenset()
    assert any("lists other files" in note for note in node.notes)
    assert not has(node, WRONG)


def cut_short(node: Site, hub: HubSim) -> None:
    """The hub lists the model, and gives all but its large file."""
    hub.set_faults([{"action": "status", "status": 500, "file": "model.safetensors"}])
    with pytest.raises(OutlastError):
        pull(node, hub.url)
    assert [e.path for e in node.archive.revision(MODEL).missing] == ["model.safetensors"]


def test_a_draft_of_a_hub_is_not_extended(node: Site, hub: HubSim, commit: GitOid) -> None:
    """A liar has no bytes for it."""
    cut_short(node, hub)
    with pytest.raises(OutlastError):
        pull(node, DARK, named=True)
    revision = node.archive.revision(MODEL)
    assert {e.path for e in (*revision.files, *revision.missing)} == FILES.keys()
    assert not has(node, WRONG)
    assert node.archive.unconfirmed.get(MODEL, commit) is None


@pytest.mark.parametrize("pinned", [False, True])
def test_their_bytes_are_welcome_where_the_hub_is_dark(
    node: Site, hub: HubSim, tmp_path: Path, commit: GitOid, *, pinned: bool
) -> None:
    """An interrupted pull goes on by the hub's list, with files of those that have them."""
    cut_short(node, hub)
    with site(tmp_path / "honest") as honest:
        honest.hold({"weights.bin": LARGE}, commit=GitOid("d" * 40))
        node.meet(honest)
        pull(node, DARK, f"{NAME}@{commit}" if pinned else NAME)
    assert node.files() == FILES
    assert node.archive.unconfirmed.all() == frozenset()
    assert not node.archive.revision(MODEL).partial


def test_a_whole_revision_does_not_hide_that_the_hub_is_dark(node: Site, hub: HubSim) -> None:
    pull(node, hub.url)
    with pytest.raises(UnreachableError):
        pull(node, DARK)


def pull_by_digest(node: Site, digest: Digest) -> None:
    ask = partial(pull_manifest, node.archive, digest, [], node.around())
    Running(lambda: ask(wishes=Wishes(), control=node.control)).result()


def test_a_list_that_was_named_by_its_digest_replaces_theirs(
    node: Site, honest: Site, commit: GitOid
) -> None:
    pull(node, DARK, f"{NAME}@{commit}", named=True)
    assert node.files() == LIES
    node.meet(honest)
    pull_by_digest(node, honest.archive.revision(MODEL).digest)
    check_right(node, commit)


def test_a_list_that_was_named_by_its_digest_needs_no_hub(
    honest: Site, tmp_path: Path, commit: GitOid
) -> None:
    with site(tmp_path / "b") as node:
        node.meet(honest)
        pull(node, DARK, f"{NAME}@{commit}", named=True)
        assert node.archive.unconfirmed.get(MODEL, commit) is not None
        pull_by_digest(node, honest.archive.revision(MODEL).digest)
        assert node.files() == FILES
        assert node.archive.unconfirmed.get(MODEL, commit) is None


def test_a_static_peer_passes_it_on_as_what_it_is(
    node: Site, tmp_path: Path, commit: GitOid
) -> None:
    pull(node, DARK, named=True)
    with site(tmp_path / "third", node) as third:
        with pytest.raises(UnreachableError):
            pull(third, DARK)
        assert third.archive.summaries() == []
        pull(third, DARK, named=True)
        assert third.archive.unconfirmed.all() == {(MODEL, commit)}


def test_a_ref_is_no_word_of_theirs_for_others(
    node: Site, hub: HubSim, tmp_path: Path, commit: GitOid
) -> None:
    """A commit is the hub's; that `main` is that one, a node on the LAN said."""
    pull(node, hub.url)
    HubRepo(hub.root, NAME).commit({"config.json": b"newer"})
    pull(node, hub.url)
    pull(node, DARK, named=True)
    ref = node.archive.refs.get(MODEL, "main")
    assert ref is not None
    assert (ref.commit, ref.unconfirmed) == (commit, True)
    assert node.files() == FILES
    with site(tmp_path / "third", node) as third, pytest.raises(UnreachableError):
        pull(third, DARK)
    pull(node, hub.url)
    ref = node.archive.refs.get(MODEL, "main")
    assert ref is not None
    assert not ref.unconfirmed
    assert ref.commit != commit


def test_the_id_of_a_folder_that_was_added_proves_its_files(liar: Site, node: Site) -> None:
    """It is made from them; that it is `main`, only the node says."""
    liar.archive.refs.delete(MODEL, "main")
    added = liar.hold(LIES, commit=None)
    pull(node, DARK, f"{NAME}@{added.id}", named=True)
    assert node.archive.unconfirmed.all() == frozenset()
    pull(node, DARK, named=True)
    assert node.archive.unconfirmed.all() == frozenset()
    ref = node.archive.refs.get(MODEL, "main")
    assert ref is not None
    assert (ref.commit, ref.unconfirmed) == (added.id, True)
    assert node.files() == LIES


def test_two_digests_that_do_not_belong_together(node: Site, hub: HubSim, commit: GitOid) -> None:
    """A liar pairs the git id of the hub's file with the sha256 of another one that is here."""
    other = b'{"b": 1}'
    node.hold({"other.json": other}, commit=GitOid("d" * 40))
    false = FileEntry(
        "config.json", len(other), Digest.of(other), GitOid.of_blob(FILES["config.json"])
    )
    assert node.archive.known(false) is None
    # As an archive may have it from a version that believed this:
    node.hold({"config.json": other}, commit=commit, git=false.git_sha1)
    with node.archive.writer() as writer:
        node.archive.unconfirmed.put(writer, MODEL, commit, Told("a liar"))
    pull(node, hub.url)
    check_right(node, commit)
