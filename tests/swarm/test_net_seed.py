"""A seed that goes away while others fetch from it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.campaign import in_torture
from tests.net import Net, needs_lab
from tests.net.node import Model, Node, all_end_well, make_model, of_type
from tests.net.program import Program, until

pytestmark = [pytest.mark.net, needs_lab()]
MB = 1_000_000
_SIZE = 16


@dataclass
class Fetchers:
    """A slow seed and three who fetch from it."""

    seed: Node
    nodes: list[Node]
    model: Model
    pulls: list[Program]

    @property
    def blob(self) -> str:
        return self.model.digests["model-00001.bin"]

    def pieces(self) -> list[frozenset[int]]:
        """What each has of the large file; all, once it is acknowledged."""
        everything = frozenset(range(_SIZE + 1))
        return [
            everything if node.has(self.model, "model-00001.bin") else node.pieces(self.blob)
            for node in self.nodes
        ]

    def share(self) -> float:
        """How much of the file they have together."""
        return len(self.union()) / (_SIZE + 1)

    def union(self) -> frozenset[int]:
        return frozenset().union(*self.pieces())

    def misses_it(self) -> bool:
        """Whether all have said which pieces are missing."""
        return all(of_type(pull, "pieces-missing") for pull in self.pulls)

    def check(self) -> None:
        all_end_well(*self.pulls, seconds=120)
        for node in self.nodes:
            assert node.has_all(self.model)


@contextlib.contextmanager
def crowd(rate: float, *, among: float | None = None) -> Iterator[Fetchers]:
    with Net() as net:
        lan = net.lan()
        model = make_model(net.folder / "model", _SIZE)
        seed = Node(lan.host("seed", up=rate))
        nodes = [Node(lan.host(f"node{number}", up=among)) for number in range(1, 4)]
        seed.add(model)
        seed.serve()
        yield Fetchers(seed, nodes, model, [node.pull() for node in nodes])


@pytest.mark.parametrize("percent", [10, pytest.param(50, marks=in_torture)])
def test_a_seed_is_killed_and_comes_back(percent: int) -> None:
    """No other node has the rest: they wait, and say what is missing."""
    with crowd(4 * MB) as around:
        until(lambda: around.share() >= percent / 100, f"{percent} % are there")
        around.seed.kill()
        until(around.misses_it, "all say what is missing")
        lacking = of_type(around.pulls[0], "pieces-missing")[-1]
        assert lacking["path"] == "model-00001.bin"
        assert 0 < lacking["count"] <= _SIZE + 1
        assert not any(pull.ended for pull in around.pulls)
        assert len(around.union()) <= _SIZE
        around.seed.serve()
        around.check()


def test_a_seed_is_killed_when_the_last_pieces_are_on_their_way() -> None:
    """They arrive, or are fetched when the seed is back."""
    with crowd(4 * MB) as around:
        until(lambda: around.share() >= 0.95, "95 % are there")
        around.seed.kill()
        around.seed.serve()
        around.check()


def test_a_seed_is_not_missed_when_the_others_have_all_of_it_together() -> None:
    with crowd(4 * MB, among=1 * MB) as around:

        def together() -> bool:
            return len(around.union()) > _SIZE and max(map(len, around.pieces())) <= _SIZE

        until(together, "they have it all together, and none of them alone")
        around.seed.kill()
        around.check()
        assert not any(of_type(pull, "failed") for pull in around.pulls)


def test_a_seed_that_falls_silent_is_as_one_that_died() -> None:
    """Its cable is pulled: no connection ends."""
    with crowd(4 * MB) as around:
        until(lambda: around.share() >= 0.4, "40 % are there")
        around.seed.host.unplug()
        until(around.misses_it, "all say what is missing")
        around.seed.host.plug()
        around.check()
