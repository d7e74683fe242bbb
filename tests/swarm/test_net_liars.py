"""Peers that lie: by HTTP, by BitTorrent, about hashes, manifests and roots."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.campaign import crossed
from tests.net import Host, Net, needs_lab
from tests.net.node import MODEL, Model, Node, all_end_well, documents, make_model, of_type
from tests.net.program import Program, environment, until

pytestmark = [pytest.mark.net, needs_lab()]
MB = 1_000_000
_TOP = Path(__file__).resolve().parents[2]
_LARGE = "model-00001.bin"


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


def lie(host: Host, seed: Node, model: Model, *lies: str) -> Program:
    """A liar on a machine, which pretends to be as `seed`."""
    about = {
        "of": f"http://{seed.host.address}:8091",
        "lies": lies,
        "file": str(model.folder / _LARGE),
        "blob": model.digests[_LARGE],
        "folder": str(host.folder),
    }
    command = ["env", "-C", str(_TOP), sys.executable, "-m", "tests.net.liar", json.dumps(about)]
    liar = host.start("liar", command, environment(host.folder))
    until(lambda: liar.ended or b"lying" in liar.out.read_bytes(), "it lies")
    liar.check()
    return liar


def accused(pull: Program) -> str:
    """All that a pull said of others."""
    kinds = {"source-banned", "note", "source-waiting"}
    return json.dumps([one for one in documents(pull) if one["type"] in kinds])


def named(pull: Program, liars: Sequence[Host]) -> list[Host]:
    """Which of them a pull named as having sent wrong bytes."""
    banned = json.dumps(
        [one for one in documents(pull) if one["type"] == "source-banned"]
        + [one for one in of_type(pull, "note") if "banned" in one["text"]]
    )
    return [host for host in liars if host.address in banned or host.address6 in banned]


def test_two_of_five_lie(net: Net) -> None:
    """40 % of those who have it lie in every way there is; four fetch at once. That a
    liar who was banned does not come back is tested where it can be seen (`test_session_peers`).
    """
    lan = net.lan()
    model = make_model(net.folder / "model", 24)
    honest = [Node(lan.host(f"honest{n}", up=5 * MB)) for n in range(1, 4)]
    for node in honest:
        node.add(model)
        node.serve()
    liars = [lan.host(f"liar{n}") for n in (1, 2)]
    for host in liars:
        lie(host, honest[0], model, "ranges", "pieces")
    nodes = [Node(lan.host(f"node{n}")) for n in range(1, 5)]
    pulls = [node.pull() for node in nodes]
    all_end_well(*pulls, seconds=120)
    for node in nodes:
        assert node.has_all(model)
    assert any(named(pull, liars) for pull in pulls), accused(pulls[0])


@pytest.mark.parametrize(
    ("what", "source"),
    crossed(["ranges", "pieces", "layers", "manifests", "roots"], [], ["lan", "swarm"]),
)
def test_one_lie(net: Net, what: str, source: str) -> None:
    """One liar, one honest seed that is slower, and one who fetches."""
    lan = net.lan()
    model = make_model(net.folder / "model", 12)
    seed = Node(lan.host("seed", up=6 * MB))
    seed.add(model)
    seed.serve()
    liar = lan.host("liar")
    lie(liar, seed, model, what)
    node = Node(lan.host("node"))
    node.pull("--from", source).ok(90)
    node.check(model)


def test_no_source_but_a_liar(net: Net) -> None:
    """What only a liar has is not taken; it comes when an honest node does."""
    lan = net.lan()
    model = make_model(net.folder / "model", 12)
    seed = Node(lan.host("seed"))
    seed.add(model)
    seed.serve()
    liar = lan.host("liar")
    lie(liar, seed, model, "ranges", "pieces")
    # Only the liar reaches the honest node, as its mouth.
    node = Node(lan.host("node"))
    settings = f'[swarm]\npeers = ["{liar.address}:8091"]\n'
    node.configure(settings)
    node.host.namespace.ip(f"route add blackhole {seed.host.address}/32")
    node.host.namespace.ip(f"route add blackhole {seed.host.address6}/128")
    pull = node.pull("--from", f"peer:{liar.address}:8091")
    until(lambda: pull.ended or named(pull, [liar]), "the liar is named")
    assert not node.has(model, _LARGE)
    if not pull.ended:
        pull.stop()
    assert not of_type(pull, "pulled")
    assert not node.has(model, _LARGE)
    node.host.namespace.ip(f"route delete blackhole {seed.host.address}/32")
    node.host.namespace.ip(f"route delete blackhole {seed.host.address6}/128")
    again = Node(node.host)
    again.pull(name=MODEL).ok(90)
    again.check(model)
