"""The peers of a node: which are tried, and where they answer."""

import time
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


def test_invented_ones_leave_room_for_others(contacts: Contacts) -> None:
    """Ports of this machine at which nothing listens: of one address few are tried, and one that
    does not answer makes room.
    """
    for port in range(1, 10):
        contacts.meet("127.0.0.1", port, static=False)
    assert len(contacts._contacts) == TUNING.most_ports
    for number in range(2, 5):
        contacts.meet(f"127.0.0.{number}", 1, static=False)
    assert len(contacts._contacts) == TUNING.most_neighbours
    until(lambda: not contacts.expects(), "all were asked")
    with Claimant(b"x", Does(), address="127.0.0.9") as node:
        contacts.meet("127.0.0.9", node.port, static=False)
        assert tried(contacts, "127.0.0.9")
        assert len(contacts._contacts) == TUNING.most_neighbours
        until(contacts.answered, "it answers")
        for number in range(10, 30):  # one that answered stays
            contacts.meet(f"127.0.0.{number}", 1, static=False)
            contacts.tick(time.monotonic())
        assert tried(contacts, "127.0.0.9")
