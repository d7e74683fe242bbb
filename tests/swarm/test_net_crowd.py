"""Many who want the same at once: from one seed, and from a hub."""

import contextlib
from collections.abc import Iterator

import pytest

from outlast.core.digest import Digest
from outlast.core.status import TransferStatus
from outlast.swarm.lan.datagrams import Wish, want_key
from tests.campaign import LONG, rounds
from tests.hubsim import HubRepo, HubSim
from tests.net import Host, Net, needs_lab
from tests.net.node import MODEL, Model, Node, all_end_well, make_model
from tests.net.program import Program, until
from tests.swarm.claimant import Claimant, Does
from tests.swarm.ears import Ears

pytestmark = [pytest.mark.net, needs_lab()]
MB = 1_000_000
WEIGHTS = "model-00001.bin"
FETCHER = b"f" * 20


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@pytest.fixture
def model(net: Net) -> Model:
    return make_model(net.folder / "model", 12)


def hub_on(host: Host, model: Model) -> HubSim:
    """A hub with the model, that others reach."""
    repo = HubRepo(host.folder / "hub", model.name)
    repo.commit({path: model.folder / path for path in model.files})
    with host.inside():
        hub = HubSim(host.folder / "hub", host=host.address)
        hub.start()
    return hub


def weights(pulls: dict[Node, Program]) -> dict[Node, TransferStatus]:
    """How far each pull has come with the weights; nothing of those that do not say yet."""
    found = {}
    for node, pull in pulls.items():
        status = node.status(pull)
        for one in status.transfers if status else ():
            if one.path.startswith("model-"):
                found[node] = one
    return found


def sent(host: Host, hub: HubSim, to: str | None = None) -> list[int]:
    """Bytes of the weights that the hub sent (to one address), by request, whole or cut."""
    with host.inside():
        entries = [entry for entry in hub.requests() if entry.file == WEIGHTS]
    return [entry.sent for entry in entries if to in {None, entry.client}]


def pull_at_once(
    host: Host, nodes: list[Node], model: Model, *arguments: str, fetches: bool = False
) -> dict[Node, Program]:
    """Pulls whose nodes all know of each other before any of them gets a byte of the weights, so
    that it makes no difference how long each took to start.

    Until then one more node, on `host`, says that it wants the weights too, so that none gives up
    for being alone; or that it `fetches` them from the hub, and shows that it does, so that none
    begins.
    """
    ears = Ears(b"w" * 20)
    key = want_key(Digest(model.digests[WEIGHTS]))
    with contextlib.ExitStack() as stack:
        with host.inside():
            if fetches:
                does = Does(says="fetches", shows="right")
                data, address = model.files[WEIGHTS], host.address
                fetcher = Claimant(data, does, address, 8091, node=FETCHER)
                fetcher.broadcast()
                stack.enter_context(fetcher)
            ears.beacon.start()
        stack.enter_context(contextlib.closing(ears.beacon))
        ears.beacon.want([Wish(key)])
        pulls = {node: node.pull(*arguments) for node in nodes}
        until(lambda: len(weights(pulls)) == len(nodes), "all want the weights")
        ears.forget()
        until(
            lambda: len(ears.wanting(key) - {FETCHER}) == len(nodes),
            "all have said so, and all hear it",
        )
    return pulls


@pytest.mark.torture
def test_one_seed_and_many_who_come_at_once(net: Net) -> None:
    """The seed comes when all nodes wait for it; until then another one names the files. Its line
    is so slow that the processors of a busy machine are not what they wait for, and the file has
    enough pieces that the last ones, which more than one node asks for, do not count much.
    """
    lan = net.lan()
    model = make_model(net.folder / "model", rounds(32, 48))
    seed, index = Node(lan.host("seed", up=rounds(2, 1) * MB)), Node(lan.host("index"))
    nodes = [Node(lan.host(f"node{number}")) for number in range(1, rounds(4, 8) + 1)]
    for node in (seed, index):
        node.add(model)
    index.lose(model, WEIGHTS)
    index.serve()
    pulls = pull_at_once(lan.host("waits"), nodes, model, "--from", "lan")
    before = seed.host.counters()
    seed.serve()
    all_end_well(*pulls.values(), seconds=300)
    for node in nodes:
        assert node.has_all(model)
    # Headers of frames are a twentieth of it. Without stripes four nodes take 1.27, and eight 1.4.
    copies = (seed.host.counters() - before).sent / model.size
    assert copies < (1.25 if LONG else 1.2)
    given = [node.host.counters().sent for node in nodes]
    assert sum(count > model.size / 10 for count in given) >= len(nodes) - 2


@pytest.mark.torture
def test_a_crowd_takes_one_copy_from_the_hub(net: Net, model: Model) -> None:
    lan = net.lan()
    origin = lan.host("origin", up=2 * MB)
    nodes = [Node(lan.host(f"node{number}")) for number in range(1, rounds(5, 8) + 1)]
    hub = hub_on(origin, model)
    try:
        for node in nodes:
            node.hub = hub.url
        pulls = pull_at_once(lan.host("fetches"), nodes, model, fetches=True)
        all_end_well(*pulls.values())
        for node in nodes:
            assert node.has_all(model)
        assert sum(sent(origin, hub)) <= 1.05 * model.size
    finally:
        hub.stop()


def test_the_fetcher_dies_and_another_takes_over(net: Net, model: Model) -> None:
    """The hub names no tree that pieces could be checked with, so the others have nothing of the
    file until the fetcher has all of it: it is fetched once more, by one of them.
    """
    lan = net.lan()
    origin = lan.host("origin", up=2 * MB)
    nodes = [Node(lan.host(f"node{number}")) for number in range(1, 5)]
    hub = hub_on(origin, model)
    try:
        for node in nodes:
            node.hub = hub.url
        # What a fetcher asks for first is so slow that it cannot have all of it before it dies.
        with origin.inside():
            hub.set_faults([{"action": "slow", "rate": 200_000, "file": WEIGHTS}])
        pulls = pull_at_once(lan.host("fetches"), nodes, model, fetches=True)
        fetchers: list[Node] = []

        def found() -> bool:
            there = weights(pulls).items()
            fetchers[:] = [n for n, one in there if one.fetcher and one.have > model.size / 4]
            return bool(fetchers)

        until(found, "a fetcher has a quarter")
        (fetcher,) = fetchers
        with origin.inside():
            hub.set_faults([])
        pulls.pop(fetcher).kill()
        all_end_well(*pulls.values())
        for node in pulls:
            assert node.has_all(model)
        by_the_dead = sum(sent(origin, hub, fetcher.host.address))
        assert by_the_dead < model.size
        assert sum(sent(origin, hub)) - by_the_dead <= 1.05 * model.size
    finally:
        hub.stop()


def test_a_name_leads_to_the_neighbours(net: Net, model: Model) -> None:
    """One node alone, and a neighbour that just serves: over IPv4, and where there is only IPv6."""
    lan = net.lan()
    for number, only6 in enumerate((False, True)):
        seed, node = (Node(lan.host(f"{name}{number}")) for name in ("seed", "node"))
        if only6:
            for host in (seed.host, node.host):
                host.namespace.ip("-4 address flush dev eth0".removeprefix("-4 "))
                host.namespace.ip(f"address add {host.address6}/64 dev eth0 nodad")
        seed.add(model)
        seed.serve()
        node.pull(name=MODEL).ok()
        assert node.has_all(model)
        seed.stop()
