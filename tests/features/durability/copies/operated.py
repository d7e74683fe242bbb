"""Nodes of one operator on this machine, in this process, that make rounds when a test says so."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from outlast.app import NodeSettings, Scope, open_node
from outlast.bucket.home import SecondHome
from outlast.core.cancel import Cancel
from outlast.core.control import Control
from outlast.core.events import Event, Note
from outlast.core.status import CopiesStatus
from outlast.features.durability.copies.keeper import Change, Done, Keeper
from outlast.features.durability.copies.rounds import CopiesContext, CopiesRound
from outlast.features.durability.copies.stores import StoreAt
from outlast.features.durability.copies.tuning import TUNING
from outlast.features.durability.settings import CopiesSettings
from outlast.fetch.transfer import Wishes
from outlast.node.node import Node
from outlast.store.archive import Archive
from outlast.swarm.settings import SwarmSettings
from tests.ports import free_port

OpenHome = Callable[[], SecondHome]
HOST = "127.0.0.1"
QUICK = replace(TUNING, rest=1000.0, meeting=20.0)
DAY = 86_400.0


class Uncounted:
    def goals(self, met: int, unmet: int) -> None:
        del met, unmet

    def challenged(self, right: int, failed: int) -> None:
        del right, failed


@dataclass
class Member:
    """A node, and its keeper. `now` is its clock."""

    archive: Archive
    node: Node
    control: Control
    notes: list[str]
    leave: Callable[[], None]
    """Ends the node: others do not reach it any more."""
    now: float = 1.0
    made: list[Keeper] = field(default_factory=list)

    homes: list[SecondHome] = field(default_factory=list)
    """Those that it opened."""

    def clock(self) -> float:
        return self.now

    @property
    def holder(self) -> str:
        """What names it, once it made a round."""
        said = self.node.copies.said
        assert said is not None
        return said.holder

    @property
    def keeper(self) -> Keeper:
        return self.made[0]

    def step(self, passed: float = 1.0) -> tuple[CopiesRound, list[Done]]:
        self.now += passed
        return self.keeper.step()

    def until(self, change: Change, rounds: int = 4) -> Done:
        """Makes rounds until something became of a copy."""
        for _ in range(rounds):
            done = [one for one in self.step()[1] if one.change is change]
            if done:
                return done[0]
        raise AssertionError(f"nothing was {change}: {self.notes}")

    @property
    def goal(self) -> CopiesStatus:
        """What it says of its one goal."""
        [status] = self.node.copies.status
        return status


@contextlib.contextmanager
def operated(
    folder: Path,
    goal: str,
    homes: Sequence[OpenHome | None],
    *,
    every: float = DAY,
    challenges: int = 0,
) -> Iterator[list[Member]]:
    """As many nodes as `homes`: each opens the store at the site s3, or knows of none."""
    ports = [free_port() for _ in homes]
    members = []
    with contextlib.ExitStack() as stack:
        for number, opened in enumerate(homes):
            home = folder / f"n{number}"
            archive = stack.enter_context(Archive(home, create=True))
            keep_list = folder / f"n{number}.txt"
            keep_list.write_text(f"{goal}\n")
            peers = tuple((HOST, port) for port in ports if port != ports[number])
            notes: list[str] = []

            def emit(event: Event, notes: list[str] = notes) -> None:
                if isinstance(event, Note):
                    notes.append(event.text)

            control = Control(emit, Cancel())
            swarm = SwarmSettings(peer_port=ports[number], peers=peers)
            own = stack.enter_context(contextlib.ExitStack())
            node = own.enter_context(
                open_node(
                    archive,
                    NodeSettings(swarm),
                    control,
                    command="serve",
                    scope=Scope(lan=False),
                )
            )
            member = Member(archive, node, control, notes, own.close)
            stores: tuple[StoreAt, ...] = ()
            if opened is not None:

                def open_it(member: Member = member, opened: OpenHome = opened) -> SecondHome:
                    member.homes.append(opened())
                    return member.homes[-1]

                stores = (StoreAt("s3", "s3://models/arch", open_it),)
            settings = CopiesSettings(lists=(keep_list,), every=every, challenges=challenges)
            member.made.append(
                Keeper(
                    CopiesContext(
                        archive,
                        node,
                        settings,
                        control,
                        Wishes(),
                        Uncounted(),
                        Random(7),
                        clock=member.clock,
                        tuning=QUICK,
                        stores=stores,
                    )
                )
            )
            members.append(member)
        yield members
