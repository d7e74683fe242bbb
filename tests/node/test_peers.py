"""The peers of a node: which are tried, and where they answer."""

from collections.abc import Iterator

import pytest

from outlast.node.peers import Contacts
from outlast.node.tuning import Tuning
from outlast.sources.peer import peer_client
from outlast.sources.settings import HttpSettings
from tests.swarm.claimant import Claimant, Does
from tests.swarm.sites import until

TUNING = Tuning(most_neighbours=6, most_ports=3)


@pytest.fixture
def contacts() -> Iterator[Contacts]:
    made = Contacts(
        b"o" * 20,
        peer_client(HttpSettings()),
        (),
        changed=lambda: None,
        static=lambda _: None,
        tuning=TUNING,
    )
    yield made
    made.close()


def tried(contacts: Contacts, host: str) -> bool:
    """Whether an address is among those that are asked."""
    return any(known == host for known, _ in contacts._contacts)


def test_where_a_node_answers(contacts: Contacts) -> None:
    with Claimant(b"x", Does()) as node:
        contacts.meet("127.0.0.1", node.port, static=False)
        until(contacts.answered, "it answers")
        assert contacts.answered() == {node.node: frozenset({"127.0.0.1"})}


def test_of_one_address_few_ports_are_tried(contacts: Contacts) -> None:
    """Ports at which nothing listens: one that does not answer makes room, since others may have
    spoken in the name of that address.
    """
    for port in range(1, 10):
        contacts.meet("127.0.0.1", port, static=False)
    assert len(contacts._contacts) == TUNING.most_ports
    until(lambda: not contacts.expects(), "all were asked")
    with Claimant(b"x", Does()) as node:
        contacts.meet("127.0.0.1", node.port, static=False)
        assert len(contacts._contacts) == TUNING.most_ports
        until(contacts.answered, "it answers")


def test_invented_addresses_leave_room_for_others(contacts: Contacts) -> None:
    """One that does not answer makes room, and one that answered stays."""
    for number in range(2, 12):
        contacts.meet(f"127.0.0.{number}", 1, static=False)
    assert len(contacts._contacts) == TUNING.most_neighbours
    until(lambda: not contacts.expects(), "all were asked")
    with Claimant(b"x", Does(), address="127.0.0.99") as node:
        contacts.meet("127.0.0.99", node.port, static=False)
        assert len(contacts._contacts) == TUNING.most_neighbours
        until(contacts.answered, "it answers")
        for number in range(12, 30):
            contacts.meet(f"127.0.0.{number}", 1, static=False)
            until(lambda: not contacts.expects(), "all were asked")
        assert tried(contacts, "127.0.0.99")
