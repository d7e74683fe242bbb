"""A manifest by its digest, and payload links, from a neighbour that no setting names."""

from collections.abc import Iterator

import pytest

from outlast.core.names import RepoId
from outlast.store.archive import Archive
from outlast.store.records.facts import About
from tests.net import Net, needs_lab
from tests.net.node import Model, Node, make_model, of_type

pytestmark = [pytest.mark.net, needs_lab()]


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@pytest.fixture
def model(net: Net) -> Model:
    return make_model(net.folder / "model", 6, 2)


def manifest_of(node: Node, name: str) -> str:
    [shown] = node.run("show", name)
    return str(shown["manifest"])


def test_a_revision_by_its_manifest(net: Net, model: Model) -> None:
    lan = net.lan()
    seed, node = Node(lan.host("seed")), Node(lan.host("node"))
    seed.add(model)
    digest = manifest_of(seed, model.name)
    seed.serve()
    [pulled] = of_type(node.start("pull", digest).ok(), "pulled")
    node.check(model)
    assert (pulled["manifest"], pulled["partial"]) == (digest, False)
    [shown] = node.run("show", model.name)
    assert [ref["name"] for ref in shown["refs"]] == ["main"]
    # It is here: no node is asked any more.
    seed.stop()
    [again] = of_type(node.start("pull", digest).ok(), "pulled")
    assert (again["manifest"], again["fetched"]) == (digest, {})
    stranger = Node(lan.host("stranger")).start("pull", digest, "--from", "lan")
    assert stranger.wait() == 3, stranger.tail()


def test_a_name_that_is_taken_stays_as_it_was(net: Net, model: Model) -> None:
    lan = net.lan()
    seed, node = Node(lan.host("seed")), Node(lan.host("node"))
    seed.add(model)
    digest = manifest_of(seed, model.name)
    seed.serve()
    ours = make_model(net.folder / "ours", 1, name=model.name, seed=2)
    node.add(ours)
    [before] = node.run("show", model.name)
    [pulled] = of_type(node.start("pull", digest).ok(), "pulled")
    node.check(model)
    [after] = node.run("show", model.name)
    assert after["refs"] == before["refs"]
    [shown] = node.run("show", f"{model.name}@{pulled['commit']}")
    assert (shown["manifest"], shown["refs"]) == (digest, [])


def test_a_payload_by_its_link(net: Net) -> None:
    """Root and size are in the link: nothing else is asked for but the bytes."""
    lan = net.lan()
    seed, node = Node(lan.host("seed")), Node(lan.host("node"))
    model = make_model(net.folder / "model", 6)
    seed.add(model)
    out = net.folder / "torrents"
    [shared] = of_type(seed.start("share", model.name, "--blobs", "--out", out).ok(), "shared")
    file = next(f for f in shared["files"] if f["path"] == "model-00001.bin")
    link = (
        f"magnet:?xt=urn:btmh:1220{file['infohash']}&dn={file['root']}&xl={file['payload_bytes']}"
    )
    seed.serve()
    [pulled] = of_type(
        node.start("pull", link, "--as", "me/one", "--patience", "30").ok(), "pulled"
    )
    assert node.has(model, "model-00001.bin")
    [shown] = node.run("show", "me/one")
    assert file["infohash"] in shown["link"] == pulled["link"]


@pytest.mark.parametrize("gated", [False, True])
def test_what_only_static_peers_have_goes_no_further(net: Net, model: Model, gated: bool) -> None:
    lan, far = net.lan(), net.lan()
    net.wire(lan, far)
    seed, node = Node(lan.host("seed")), Node(far.host("node"))
    for one, other in ((seed, node), (node, seed)):
        one.configure(f'[swarm]\npeers = ["{other.host.address}:8091"]\n')
    seed.add(model)
    if gated:
        tell(seed, model.name, About(gated="manual"))
    options = ("--restricted",) if gated else ()
    out = net.folder / "torrents"
    [shared] = of_type(seed.start("share", model.name, "--out", out, *options).ok(), "shared")
    seed.serve()
    node.serve()  # its static peer knows it by its address
    program = node.start("pull", shared["magnet"], "--as", "me/linked", "--patience", "30")
    [pulled] = of_type(program.ok(), "pulled")
    assert node.has_all(model)
    assert pulled["restricted"] == gated
    stranger = Node(far.host("stranger")).start("pull", "me/linked", "--from", "lan")
    assert stranger.wait() == (3 if gated else 0), stranger.tail()


def tell(node: Node, name: str, about: About) -> None:
    """What a hub says of a model."""
    with Archive(node.home) as archive, archive.writer() as writer:
        archive.refs.put_about(writer, RepoId.parse(name), about)
