"""What a ref is, where the origin is slow, dark or strict, and neighbours lie."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.digest import Digest, GitOid
from outlast.core.errors import (
    AccessDeniedError,
    Cancelled,
    MalformedError,
    NotFoundError,
    OutlastError,
    RepoNotFoundError,
    UnreachableError,
    WithdrawnError,
)
from outlast.core.events import Event, Note
from outlast.core.manifest import FileEntry
from outlast.core.names import RepoId
from outlast.fetch.source_state import Patience
from outlast.p2p.resolve import describe, locate
from outlast.p2p.tuning import Tuning
from outlast.sources.base import Listing, RepoClaims

REPO = RepoId.parse("org/model")
ONE, OTHER = GitOid("1" * 40), GitOid("2" * 40)


def listing(commit: GitOid, files: int = 1) -> Listing:
    entries = [FileEntry(f"f{n}", 1, sha256=Digest.of(b"%d" % n)) for n in range(files)]
    return Listing(REPO, commit, entries, RepoClaims(False, False, (), {}))


@dataclass
class Teller:
    """A source or neighbour that says one thing, once it is allowed to."""

    name: str
    says: Listing | Exception
    static: bool = False
    asked: bool = False
    may: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may.set()

    def describe(self, repo: RepoId, ref: str, timeout: float | None = None) -> Listing:
        del repo, ref, timeout
        self.asked = True
        self.may.wait(60)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


SOON = Tuning(
    origin_grace=0.2,
    find_first=0.15,
    find_longest=0.6,
    stragglers=0.3,
    poll=0.01,
    next_source_after=0.05,
)
"""The same order of patience, all of it short."""


class Asked:
    """The call, and what it said."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.cancel = Cancel()

    def __call__(
        self,
        origin: Teller | Sequence[Teller] | None,
        *near: Teller,
        expects: bool = False,
        crowded: bool = False,
        later: Sequence[Teller] = (),
        named: bool = False,
        patience: Patience | None = None,
    ) -> Any:
        def neighbours() -> list[Any]:
            return [
                SimpleNamespace(node=b"%d" % n, source=one, static=one.static)
                for n, one in enumerate((*near, *later))
            ]

        contacts = SimpleNamespace(expects=lambda: expects)
        node = SimpleNamespace(contacts=contacts, is_crowded=crowded)
        around = SimpleNamespace(near=neighbours, node=node, named=named, lan=True)
        sources: Any = [origin] if isinstance(origin, Teller) else list(origin or ())
        control = Control(self.events.append, self.cancel)
        patience = patience or Patience(tries=1)
        return locate(sources, around, REPO, "main", control, patience=patience, tuning=SOON)  # type: ignore[arg-type]

    @property
    def notes(self) -> str:
        return " ".join(event.text for event in self.events if isinstance(event, Note))


@pytest.fixture
def ask() -> Asked:
    return Asked()


def silent(name: str, says: Listing | Exception) -> Teller:
    teller = Teller(name, says)
    teller.may.clear()
    return teller


class TestOrigin:
    def test_it_decides(self, ask: Asked) -> None:
        origin = Teller("hub", listing(ONE))
        found, source = ask(origin, Teller("a", listing(OTHER)), Teller("b", listing(OTHER)))
        assert (found.commit, source) == (ONE, origin)

    def test_a_slow_one(self, ask: Asked) -> None:
        peer = Teller("a", listing(OTHER), static=True)
        found, source = ask(silent("hub", listing(ONE)), peer)
        assert (found.commit, source.name) == (OTHER, "a")
        assert "no answer yet" in ask.notes

    def test_a_slow_one_and_no_neighbour(self, ask: Asked) -> None:
        """Then it is waited for."""
        origin = silent("hub", listing(ONE))
        threading.Timer(0.6, origin.may.set).start()
        assert ask(origin)[1] is origin

    def test_a_dark_one(self, ask: Asked) -> None:
        origin = Teller("hub", UnreachableError("dark"))
        found, _ = ask(origin, Teller("a", listing(OTHER), static=True))
        assert (found.commit, found.told_by) == (OTHER, "")
        assert "dark" in ask.notes

    def test_one_that_does_not_know_it(self, ask: Asked) -> None:
        """A model may have been added on the LAN."""
        origin = Teller("hub", RepoNotFoundError("no such model"))
        assert ask(origin, Teller("a", listing(OTHER), static=True))[0].commit == OTHER
        assert ask(origin, Teller("a", listing(OTHER)), named=True)[0].commit == OTHER

    def test_one_that_denies_access(self, ask: Asked) -> None:
        """It is obeyed, whatever neighbours have."""
        with pytest.raises(AccessDeniedError):
            ask(Teller("hub", AccessDeniedError("no")), Teller("a", listing(OTHER)))

    def test_a_dark_one_and_no_neighbour(self, ask: Asked) -> None:
        with pytest.raises(UnreachableError, match="dark"):
            ask(Teller("hub", UnreachableError("dark")))


class TestStrangers:
    """Nodes that announce themselves on the LAN, and that the operator did not name."""

    @pytest.mark.parametrize("ends", [listing(ONE), RepoNotFoundError("no"), MalformedError("?")])
    def test_no_name_is_told_to_them(self, ask: Asked, ends: Listing | Exception) -> None:
        """While a source is slow, and after it has answered whatever."""
        origin, stranger = silent("hub", ends), Teller("a", listing(OTHER))
        threading.Timer(1.0, origin.may.set).start()
        if isinstance(ends, Listing):
            assert ask(origin, stranger)[1] is origin
        else:
            with pytest.raises(type(ends)):
                ask(origin, stranger)
            assert "--from lan" in ask.notes
        assert not stranger.asked

    @pytest.mark.parametrize("why", [UnreachableError("dark"), WithdrawnError("gone")])
    def test_nor_where_no_source_can_be_reached(self, ask: Asked, why: Exception) -> None:
        """The error says how they are asked."""
        stranger = Teller("a", listing(OTHER))
        with pytest.raises(type(why)) as error:
            ask([Teller("hub", why), Teller("other", why)], stranger)
        assert isinstance(error.value, OutlastError)
        assert "--from lan" in error.value.hint
        assert not stranger.asked

    def test_nor_where_there_is_no_source(self, ask: Asked) -> None:
        stranger = Teller("a", listing(OTHER))
        with pytest.raises(NotFoundError):
            ask(None, stranger)
        assert not stranger.asked
        assert "--from lan" in ask.notes

    def test_named_they_are_asked_and_their_word_is_marked(self, ask: Asked) -> None:
        origin = Teller("hub", UnreachableError("dark"))
        found, source = ask(origin, Teller("a", listing(OTHER)), named=True)
        assert (found.commit, found.told_by, source.name) == (OTHER, "a", "a")
        assert "no hub has confirmed it" in ask.notes

    def test_named_they_do_not_decide_while_a_source_may_answer(self, ask: Asked) -> None:
        """However slow it is."""
        origin, stranger = silent("hub", listing(ONE)), Teller("a", listing(OTHER))
        threading.Timer(1.0, origin.may.set).start()
        found, source = ask(origin, stranger, named=True)
        assert (found.commit, found.told_by, source) == (ONE, "", origin)
        assert stranger.asked

    def test_a_dark_source_is_not_waited_for_to_its_last_try(self, ask: Asked) -> None:
        """It is asked again, while the neighbours answer."""
        origin, patience = Teller("hub", UnreachableError("dark")), Patience(tries=100_000)
        found = ask(origin, Teller("a", listing(OTHER)), patience=patience, named=True)
        assert found[0].commit == OTHER

    def test_they_do_not_outvote_static_peers(self, ask: Asked) -> None:
        tellers = [Teller("a", listing(ONE), static=True)]
        tellers += [Teller(name, listing(OTHER, 9)) for name in "bcd"]
        found, _ = ask(Teller("hub", UnreachableError("dark")), *tellers, named=True)
        assert (found.commit, found.told_by) == (ONE, "")

    def test_what_a_static_peer_has_from_one_is_its_word(self, ask: Asked) -> None:
        origin = Teller("hub", UnreachableError("dark"))
        passed_on = replace(listing(OTHER), told_by="peer x")
        with pytest.raises(UnreachableError):
            ask(origin, Teller("a", passed_on, static=True))
        found, _ = ask(origin, Teller("a", passed_on, static=True), named=True)
        assert (found.commit, found.told_by) == (OTHER, "a")
        tellers = Teller("a", passed_on, static=True), Teller("b", listing(ONE), static=True)
        assert ask(origin, *tellers, named=True)[0].commit == ONE


class TestVotes:
    def test_most_of_them(self, ask: Asked) -> None:
        tellers = [Teller("a", listing(ONE)), *(Teller(n, listing(OTHER)) for n in "bc")]
        assert ask(None, *tellers, named=True)[0].commit == OTHER
        assert "1 others name another commit" in ask.notes

    def test_the_longest_list(self, ask: Asked) -> None:
        """One of them may have a part of the manifest only."""
        tellers = [Teller("a", listing(ONE, 2)), Teller("b", listing(ONE, 5))]
        found, source = ask(None, *tellers, named=True)
        assert (len(found.entries), source.name) == (5, "b")

    def test_those_that_fail_do_not_vote(self, ask: Asked) -> None:
        tellers = [Teller("a", UnreachableError("gone")), Teller("b", listing(ONE))]
        assert ask(None, *tellers, named=True)[0].commit == ONE

    def test_one_that_never_answers(self, ask: Asked) -> None:
        """It is not waited for as long as it likes."""
        silent_one = silent("a", listing(OTHER))
        assert ask(None, silent_one, Teller("b", listing(ONE)), named=True)[0].commit == ONE

    def test_no_node(self, ask: Asked) -> None:
        with pytest.raises(NotFoundError, match="no node is reachable"):
            ask(None)

    def test_no_node_has_it(self, ask: Asked) -> None:
        with pytest.raises(NotFoundError, match="no such"):
            ask(None, Teller("a", RepoNotFoundError("no such model")), named=True)

    def test_interrupted(self, ask: Asked) -> None:
        threading.Timer(0.1, ask.cancel.set).start()
        with pytest.raises(Cancelled):
            ask(None, silent("a", listing(ONE)), expects=True, named=True)

    def test_nodes_that_may_come_for_ever_are_not_waited_for(self, ask: Asked) -> None:
        """Another one can be invented before the last one has failed."""
        for origin in (Teller("hub", UnreachableError("dark")), None):
            with pytest.raises(OutlastError):
                ask(origin, expects=True, crowded=True, named=True)

    def test_among_invented_nodes_it_waits_longer_for_the_others(self, ask: Asked) -> None:
        near: list[Teller] = []
        comes = threading.Timer(0.35, near.append, [Teller("a", listing(ONE))])  # > find_first
        comes.start()
        dark = Teller("hub", UnreachableError("dark"))
        assert ask(dark, later=near, crowded=True, named=True)[0].commit == ONE

    @pytest.mark.parametrize("wrong", [ValueError, RuntimeError])
    def test_a_bug_is_not_hidden(self, ask: Asked, wrong: type[Exception]) -> None:
        with pytest.raises(wrong):
            ask(Teller("hub", wrong("bug")), Teller("a", listing(ONE)))


class TestSeveralSources:
    """No node is around."""

    def describe(self, ask: Asked, *sources: Teller, patience: int = 1) -> Any:
        control = Control(ask.events.append, ask.cancel)
        found: list[Any] = [*sources]
        return describe(found, REPO, "main", Patience(tries=patience), control, tuning=SOON)

    def test_one_that_is_silent_for_ever_is_not_waited_for(self, ask: Asked) -> None:
        first, second = silent("a", listing(ONE)), Teller("b", listing(OTHER))
        found, source = self.describe(ask, first, second)
        assert (found.commit, source) == (OTHER, second)
        assert not first.may.is_set()

    def test_nor_are_two(self, ask: Asked) -> None:
        third = Teller("c", listing(OTHER))
        found = self.describe(ask, silent("a", listing(ONE)), silent("b", listing(ONE)), third)
        assert found[1] is third

    def test_it_may_still_be_the_one_that_answers(self, ask: Asked) -> None:
        """The others do not have it."""
        first, second = silent("a", listing(ONE)), Teller("b", RepoNotFoundError("no such model"))
        threading.Timer(0.5, first.may.set).start()
        found, source = self.describe(ask, first, second)
        assert (found.commit, source) == (ONE, first)

    def test_the_first_decides_which_error_it_is(self, ask: Asked) -> None:
        first, second = silent("a", MalformedError("?")), Teller("b", RepoNotFoundError("no"))
        threading.Timer(0.5, first.may.set).start()
        with pytest.raises(MalformedError):
            self.describe(ask, first, second)

    def test_one_that_answers_is_asked_alone(self, ask: Asked) -> None:
        second = Teller("b", listing(OTHER))
        assert self.describe(ask, Teller("a", listing(ONE)), second)[0].commit == ONE
        assert not second.asked

    def test_one_that_is_asked_again_and_again_does_not_keep_the_next_waiting(
        self, ask: Asked
    ) -> None:
        first, second = Teller("a", UnreachableError("dark")), Teller("b", listing(OTHER))
        assert self.describe(ask, first, second, patience=100_000)[1] is second

    def test_interrupted(self, ask: Asked) -> None:
        threading.Timer(0.2, ask.cancel.set).start()
        with pytest.raises(Cancelled):
            self.describe(ask, silent("a", listing(ONE)), silent("b", listing(ONE)))
