"""What neighbours answer, and what is known from it."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from outlast.codec.format import BaseRef
from outlast.codec.merkle import Tree
from outlast.codec.payload import Form, Payload
from outlast.core.digest import Digest
from outlast.core.errors import UnreachableError
from outlast.node.peers import Neighbour
from outlast.p2p.availability import Availability
from outlast.p2p.tuning import Tuning
from outlast.sources.peer_documents import HeldThere
from tests.serve.peers import sha as sha_of

SIZE = 1000
BLOB, OTHER, BASE = sha_of(b"blob"), sha_of(b"other"), sha_of(b"base")
PLAIN = Payload(BLOB, Form.PLAIN, SIZE, sha_of(b"root"))
DELTA = Payload(BLOB, Form.DELTA, 200, sha_of(b"delta"), (BaseRef(BASE, 5000),))
TREE = Tree(SIZE, PLAIN.root, b"")


@dataclass
class Teller:
    """A neighbour; it `has` these payloads, and says so unless it is `silent`."""

    name: str
    has: tuple[Payload, ...] = ()
    have: int = SIZE
    silent: bool = False
    asked: list[Sequence[Digest]] = field(default_factory=list)
    trees: int = 0

    def payloads(self, blobs: Sequence[Digest], timeout: float) -> Mapping[Digest, HeldThere]:
        del timeout
        self.asked.append(blobs)
        if self.silent:
            raise UnreachableError("silent")
        held = HeldThere(SIZE, PLAIN.root, self.have, self.has)
        return {BLOB: held} if self.has and BLOB in blobs else {}

    def layer(self, root: Digest, size: int, timeout: float) -> Tree:
        del root, size, timeout
        self.trees += 1
        if self.silent:
            raise UnreachableError("silent")
        return TREE

    def neighbour(self) -> Neighbour:
        source: Any = self
        node = self.name.encode()
        return Neighbour(node, "127.0.0.1", 1, 2, static=True, source=source)


class Known:
    """The availability, and a way to ask that returns when all have answered."""

    def __init__(self, ask_hurried: float = 0.0) -> None:
        self._answers = threading.Semaphore(0)
        tuning = Tuning(ask_again=3600.0, ask_hurried=ask_hurried)
        self.availability = Availability(self._answers.release, tuning)

    def ask(self, *tellers: Teller, blobs: Sequence[Digest] = (BLOB,), answers: int) -> None:
        """Asks; waits for so many answers."""
        self.availability.ask([one.neighbour() for one in tellers], lambda: blobs)
        for _ in range(answers):
            assert self._answers.acquire(timeout=30)
        assert not self._answers.acquire(blocking=False)


@pytest.fixture
def known() -> Known:
    return Known()


def test_what_they_have(known: Known) -> None:
    one, other = Teller("one", (PLAIN,)), Teller("other")
    before = known.availability.has_asked
    known.ask(one, other, answers=2)
    assert (before, known.availability.has_asked) == (False, True)
    assert [offer.source for offer in known.availability.offers(BLOB)] == ["one"]
    assert known.availability.has_answered(BLOB)
    assert not known.availability.has_answered(OTHER)


def test_a_silent_one_is_not_waited_for(known: Known) -> None:
    known.ask(Teller("one", silent=True), answers=1)
    assert known.availability.has_answered(BLOB)
    assert known.availability.offers(BLOB) == []


def test_bases_are_asked_for_too(known: Known) -> None:
    one = Teller("one", (DELTA,))
    known.ask(one, answers=1)
    assert known.availability.has_answered(BLOB)
    assert not known.availability.has_answered_all(BLOB)
    assert known.availability.bases() == [BASE]
    known.ask(one, blobs=(BLOB, BASE), answers=1)
    assert known.availability.has_answered_all(BLOB)


def test_when_they_are_asked_again(known: Known) -> None:
    """At once for a blob that is news, and if they say that they have it; else later."""
    one = Teller("one", (PLAIN,), have=SIZE - 1)
    known.ask(one, answers=1)
    known.ask(one, answers=0)
    known.ask(one, blobs=(BLOB, OTHER), answers=1)
    known.availability.hurry([b"one", b"unknown"], BLOB)
    one.have = SIZE
    known.ask(one, blobs=(BLOB, OTHER), answers=1)
    assert len(one.asked) == 3
    known.availability.hurry([b"one"], BLOB)
    known.ask(one, blobs=(BLOB, OTHER), answers=0)
    known.availability.hurry([b"one"], OTHER)
    known.ask(one, blobs=(BLOB, OTHER), answers=1)


def test_one_that_has_less_than_it_announces_is_not_asked_without_a_pause() -> None:
    known = Known(ask_hurried=3600.0)
    one = Teller("one", (PLAIN,), have=SIZE - 1)
    known.ask(one, answers=1)
    known.availability.hurry([b"one"], BLOB)
    known.ask(one, answers=0)


def test_one_that_left_is_forgotten(known: Known) -> None:
    known.ask(Teller("one", (PLAIN,)), answers=1)
    known.ask(answers=0)
    assert known.availability.offers(BLOB) == []


class TestTrees:
    def test_the_next_one_is_asked_where_one_fails(self, known: Known) -> None:
        silent, other = Teller("a", (PLAIN,)), Teller("b", (PLAIN,))
        known.ask(silent, other, answers=2)
        silent.silent = True
        assert known.availability.fetch_tree(PLAIN, 60.0)
        assert known.availability.trees == {PLAIN.root: TREE}
        assert known.availability.fetch_tree(PLAIN, 60.0)
        assert (silent.trees, other.trees) == (1, 1)  # it is remembered

    def test_no_neighbour_gives_it(self, known: Known) -> None:
        one = Teller("a", (PLAIN,))
        known.ask(one, answers=1)
        one.silent = True
        assert not known.availability.fetch_tree(PLAIN, 60.0)


class TestRejected:
    def test_those_that_offered_it_whole_are_ignored(self, known: Known) -> None:
        liar, part, honest = (
            Teller("liar", (DELTA,)),
            Teller("part", (DELTA,), 10),
            Teller("honest"),
        )
        known.ask(liar, part, honest, answers=3)
        assert known.availability.reject_payload(DELTA, "it restores another") == ["liar"]
        assert known.availability.rejected == {DELTA.root}
        assert known.availability.liars == {"liar"}
        # The one that was fetching it was deceived itself.
        assert [offer.source for offer in known.availability.offers(BLOB)] == ["part"]
        known.ask(liar, part, honest, blobs=(BLOB, OTHER), answers=2)
        assert len(liar.asked) == 1
