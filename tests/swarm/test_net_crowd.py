"""Many who want the same at once: from one seed, and from a hub."""

from collections.abc import Iterator

import pytest

from tests.hubsim import HubRepo, HubSim
from tests.net import Host, Net, needs_lab
from tests.net.node import MODEL, Model, Node, all_end_well, make_model
from tests.net.program import Program, until

pytestmark = [pytest.mark.net, needs_lab()]
MB = 1_000_000


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@pytest.fixture
def model(net: Net) -> Model:
    return make_model(net.folder / "model", 24)


def hub_on(host: Host, model: Model) -> HubSim:
    """A hub with the model, that others reach."""
    repo = HubRepo(host.folder / "hub", model.name)
    repo.commit({path: model.folder / path for path in model.files})
    with host.inside():
        hub = HubSim(host.folder / "hub", host=host.address)
        hub.start()
    return hub


def hold(host: Host, hub: HubSim) -> None:
    """From here on the hub keeps everybody waiting for the weights."""
    with host.inside():
        hub.set_faults([{"action": "hold", "file": "model-*"}])


def release(host: Host, hub: HubSim, pulls: dict[Node, Program]) -> None:
    """Has the hub answer once all of the pulls agree on who of them asks it."""

    def agreed() -> bool:
        found = [node.status(pull) for node, pull in pulls.items()]
        files = [one for status in found if status for one in status.transfers if one.size > MB]
        return len(files) == len(pulls) and sum(one.fetcher for one in files) == 1

    until(agreed, "one asks the hub, and the others know")
    with host.inside():
        hub.set_faults([])


def sent(host: Host, hub: HubSim) -> int:
    """Bytes of files that the hub sent, whole or cut."""
    with host.inside():
        return sum(entry.sent for entry in hub.requests() if entry.what in {"resolve", "cdn"})


def test_one_seed_and_eight_who_come_at_once(net: Net, model: Model) -> None:
    lan = net.lan()
    seed = Node(lan.host("seed", up=12 * MB))
    nodes = [Node(lan.host(f"node{number}")) for number in range(1, 9)]
    seed.add(model)
    seed.serve()
    before = seed.host.counters()
    all_end_well(*[node.pull() for node in nodes])
    for node in nodes:
        assert node.has_all(model)
    # Each of them on its own would have taken eight copies.
    assert (seed.host.counters() - before).sent < 2.5 * model.size
    given = [node.host.counters().sent for node in nodes]
    assert sum(count > model.size / 10 for count in given) >= 6


def test_a_crowd_takes_one_copy_from_the_hub(net: Net, model: Model) -> None:
    lan = net.lan()
    origin = lan.host("origin", up=4 * MB)
    nodes = [Node(lan.host(f"node{number}")) for number in range(1, 9)]
    hub = hub_on(origin, model)
    hold(origin, hub)
    try:
        for node in nodes:
            node.hub = hub.url
        pulls = {node: node.pull() for node in nodes}
        release(origin, hub, pulls)
        all_end_well(*pulls.values())
        for node in nodes:
            assert node.has_all(model)
        assert sent(origin, hub) <= 1.05 * model.size
    finally:
        hub.stop()


def test_the_holder_dies_and_another_takes_over(net: Net, model: Model) -> None:
    lan = net.lan()
    origin = lan.host("origin", up=4 * MB)
    nodes = [Node(lan.host(f"node{number}")) for number in range(1, 5)]
    hub = hub_on(origin, model)
    try:
        for node in nodes:
            node.hub = hub.url
        pulls = {node: node.pull() for node in nodes}
        holders: list[Node] = []

        def found() -> bool:
            for node, pull in pulls.items():
                status = node.status(pull)
                in_flight = status.transfers if status else ()
                if any(one.fetcher and one.have > model.size / 4 for one in in_flight):
                    holders.append(node)
            return bool(holders)

        until(found, "a holder has fetched a quarter")
        holder = holders[0]
        pulls.pop(holder).kill()
        had = sent(origin, hub)
        all_end_well(*pulls.values())
        for node in pulls:
            assert node.has_all(model)
        # What the dead one had not handed on yet is fetched again, and no more.
        assert sent(origin, hub) < model.size + 0.6 * had
        assert sent(origin, hub) <= 1.5 * model.size
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
